"""A .tflite as a source: float ones are taken, everything else is called by its name."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.build import build
from edgekit.evaluate import runner
from edgekit.plan import BuildOptions, plan
from edgekit.project import Project
from edgekit.target import load_target
from edgekit_converters.errors import SourceError
from edgekit_converters.flatbuffer import read, write
from edgekit_converters.from_tflite import MAX_BYTES, describe_float_model, read_float_model
from edgekit_converters.images import read_image
from edgekit_converters.quantize import quantize
from edgekit_converters.shapes import InputHint
from edgekit_converters.sources import open_source
from edgekit_converters.structure import read_structure
from edgekit_converters.types import FloatModel, Scheme
from tests.min_max import min_max_ranges
from tests.unit.float_networks import dense_network

pytestmark = pytest.mark.unit
DATA = Path(__file__).parent / "data" / "tflite"


def taken(path: Path, batch: int = 1, hints: dict[str, InputHint] | None = None) -> FloatModel:
    return read_float_model(open_source(path), batch=batch, hints=hints or {})


def refused(path: Path, **options: Any) -> str:
    with pytest.raises(SourceError) as caught:
        taken(path, **options)
    assert caught.value.hint
    return caught.value.message


def run(tflite: bytes, *arrays: np.ndarray[Any, Any]) -> list[np.ndarray[Any, Any]]:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=tflite)
    for details, array in zip(interpreter.get_input_details(), arrays, strict=True):
        interpreter.resize_tensor_input(details["index"], array.shape)
    interpreter.allocate_tensors()
    for details, array in zip(interpreter.get_input_details(), arrays, strict=True):
        interpreter.set_tensor(details["index"], array)
    interpreter.invoke()
    return [interpreter.get_tensor(details["index"]) for details in interpreter.get_output_details()]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("coral/keras_lstm_mnist_ptq", "full-integer int8: 6 int8 and 2 uint8 and 1 int16 activations"),
        ("coral/mobilenet_v1_0.25_128_quant", "full-integer uint8, the scheme of before 2019: 32 uint8 activations"),
        ("coral/mobilenet_v1_0.25_128_quant_edgetpu", "compiled for the Edge TPU by edgetpu_compiler"),
        ("negative/person_detect_old_bias_dim", "full-integer int8: 32 int8 activations"),
        ("tflite_ref/ic_resnet8_int8", "full-integer int8: 17 int8 activations"),
        ("tflite_ref/kws_int8", "full-integer int8: 14 int8 activations"),
        ("tflite_ref/vww_int8", "full-integer int8: 32 int8 activations"),
        ("tflite_ref/kws_hybrid_named_float32", "dynamic-range quantized: 5 int8 weights, float32 activations"),
        ("tflm/hello_world_int8", "full-integer int8: 4 int8 activations"),
        ("tflm/mnist_lstm_int8", "full-integer int8: 6 int8 and 1 int16 activations"),
    ],
)
def test_quantized_files_are_refused_and_called_by_their_name(cases: Path, name: str, said: str) -> None:
    path = cases / "models" / f"{name}.tflite"
    assert refused(path) == f"{path} is quantized already ({said}); quantizing it again would lose twice."


@pytest.mark.parametrize(
    ("scheme", "said"),
    [
        (Scheme(precision="int8", io="float32"), "full-integer int8: 3 int8 activations, 2 float32"),
        (Scheme(precision="int16x8", io="int16"), "int16x8: 3 int16 activations"),
        (Scheme(precision="dynamic"), "dynamic-range quantized: 2 int8 weights, float32 activations"),
        (Scheme(precision="float16"), "float16: 3 float16 weights"),
    ],
)
def test_what_edgekit_itself_quantized(tmp_path: Path, scheme: Scheme, said: str) -> None:
    generator = np.random.default_rng(1)
    model = dense_network([generator.normal(size=(64, 32)), generator.normal(size=(8, 64))])
    ranges = min_max_ranges(model.tflite, [{"x": generator.normal(size=(1, 32)).astype(np.float32)}])
    path = tmp_path / "model.tflite"
    path.write_bytes(quantize(model, scheme=scheme, ranges=ranges).tflite)
    assert said in refused(path)


@pytest.mark.parametrize(
    ("code", "said"), [("ethos-u", "compiled for the Ethos-U by Vela"), ("Mine", "unresolved custom op: Mine")]
)
def test_custom_ops(tmp_path: Path, code: str, said: str) -> None:
    from ai_edge_litert import schema_py_generated as schema

    def change(model: Any) -> None:
        model.operatorCodes[0].builtinCode = model.operatorCodes[0].deprecatedBuiltinCode = (
            schema.BuiltinOperator.CUSTOM
        )
        model.operatorCodes[0].customCode = code

    assert said in refused(_changed(tmp_path, change))


def test_fake_quant_is_quantization_aware_training_that_was_not_finished(tmp_path: Path) -> None:
    from ai_edge_litert import schema_py_generated as schema

    def change(model: Any) -> None:
        softmax = model.operatorCodes[1]
        softmax.builtinCode = softmax.deprecatedBuiltinCode = schema.BuiltinOperator.FAKE_QUANT

    assert "not finished: 1 FAKE_QUANT nodes" in refused(_changed(tmp_path, change, softmax=True))


@pytest.mark.parametrize("name", ["tflite_ref/ic_resnet8_float", "tflite_ref/vww_float", "tflm/mnist_lstm_float"])
def test_float_files_compute_what_they_did(cases: Path, name: str) -> None:
    path = cases / "models" / f"{name}.tflite"
    model = taken(path)
    x = np.random.default_rng(2).uniform(0, 1, model.inputs[0].shape).astype(np.float32)
    assert np.array_equal(run(model.tflite, x)[0], run(path.read_bytes(), x)[0])
    assert read_structure(model.tflite).dtype_counts.keys() <= {"float32", "int32"}
    assert b"CONVERSION_METADATA" not in model.tflite
    assert taken(path).tflite == model.tflite


def test_the_unresolved_op_of_a_real_file_is_named(cases: Path) -> None:
    assert "unresolved custom op: fake-op-double" in refused(cases / "models/negative/model_invoking_error.tflite")


def test_an_open_batch_becomes_static_and_its_shape_arithmetic_constant() -> None:
    path = DATA / "open_batch.tflite"
    inputs, outputs = describe_float_model(open_source(path))
    assert inputs == {"image": ((None, 8, 8, 3), "float32")}
    assert outputs == {"output_0": ((None, 3), "float32")}
    model = taken(path)
    assert not {"SHAPE", "STRIDED_SLICE", "PACK"} & read_structure(model.tflite).builtin_counts.keys()
    assert [finding.name for finding in model.findings] == ["static-shapes"]
    x = np.random.default_rng(3).normal(size=(1, 8, 8, 3)).astype(np.float32)
    assert np.array_equal(run(model.tflite, x)[0], run(path.read_bytes(), x)[0])
    whole = quantize(
        model, scheme=Scheme(precision="int8", io="int8"), ranges=min_max_ranges(model.tflite, [{"image": x}])
    )
    assert "float32" not in read_structure(whole.tflite).dtype_counts


def test_a_batch_is_derived_by_the_runtime_and_every_row_is_checked() -> None:
    model = taken(DATA / "open_batch.tflite", batch=4)
    assert [spec.shape for spec in (*model.inputs, *model.outputs)] == [(4, 8, 8, 3), (4, 3)]
    x = np.random.default_rng(4).normal(size=(4, 8, 8, 3)).astype(np.float32)
    rows = [run((DATA / "open_batch.tflite").read_bytes(), x[row : row + 1])[0][0] for row in range(4)]
    assert np.allclose(run(model.tflite, x)[0], rows, atol=1e-5)


def test_a_batch_that_mixes_its_rows_is_refused(tmp_path: Path) -> None:
    def change(model: Any) -> None:  # softmax over what is declared as the batch
        graph = model.subgraphs[0]
        for tensor in (graph.tensors[int(graph.inputs[0])], graph.tensors[int(graph.outputs[0])]):
            tensor.shape, tensor.shapeSignature = [1], [-1]
        graph.operators = graph.operators[-1:]
        graph.operators[0].inputs = [int(graph.inputs[0])]

    path = _changed(tmp_path, change, softmax=True)
    assert "cannot be given the input shapes (4,): its rows influence each other" in refused(path, batch=4)


def test_a_fixed_batch_stays_and_is_said(cases: Path) -> None:
    model = taken(cases / "models/tflm/mnist_lstm_float.tflite", batch=4)
    assert model.inputs[0].shape == (1, 28, 28)
    assert [finding.name for finding in model.findings] == ["fixed-batch"]


def test_an_open_dimension_needs_a_shape(tmp_path: Path) -> None:
    def change(model: Any) -> None:
        model.subgraphs[0].tensors[int(model.subgraphs[0].inputs[0])].shapeSignature = [-1, -1]

    path = _changed(tmp_path, change)
    assert "Dimension 1 of input 'x' is open" in refused(path)
    hint = InputHint(shape=(1, 12), dtype=None, declared=True)
    assert taken(path, hints={"x": hint}).inputs[0].shape == (1, 12)


def test_names_without_a_signature(tmp_path: Path) -> None:
    def change(model: Any) -> None:
        model.signatureDefs = None
        graph = model.subgraphs[0]
        graph.tensors[int(graph.inputs[0])].name = "serving_default_x:0"
        graph.tensors[int(graph.outputs[0])].name = "StatefulPartitionedCall:0"

    model = taken(_changed(tmp_path, change))
    assert [spec.name for spec in (*model.inputs, *model.outputs)] == ["x", "output_0"]


def test_an_output_called_like_an_input_keeps_its_name_and_a_tensor_of_its_own(tmp_path: Path) -> None:
    def change(model: Any) -> None:
        model.signatureDefs[0].inputs[0].name = model.signatureDefs[0].outputs[0].name = "state"

    model = taken(_changed(tmp_path, change))
    assert [spec.name for spec in (*model.inputs, *model.outputs)] == ["state", "state"]
    names = [bytes(tensor.name) for tensor in read(model.tflite).subgraphs[0].tensors]
    assert len(set(names)) == len(names)


def _second_signature(model: Any) -> None:
    import copy

    model.signatureDefs.append(copy.copy(model.signatureDefs[0]))
    model.signatureDefs[1].signatureKey = "train"


def _later_subgraph(model: Any) -> None:
    model.subgraphs.append(model.subgraphs[0])
    model.signatureDefs[0].subgraphIndex = 1


def _same_output_twice(model: Any) -> None:
    model.subgraphs[0].outputs = [int(model.subgraphs[0].outputs[0])] * 2


def _no_output(model: Any) -> None:
    model.subgraphs[0].outputs = []
    model.signatureDefs[0].outputs = []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_second_signature, "has 2 entry points (serving_default, train); edgekit builds a model with one"),
        (_later_subgraph, "is not its first subgraph"),
        (_same_output_twice, "Two outputs of"),
        (_no_output, "has no output"),
    ],
)
def test_entries_that_are_not_one(tmp_path: Path, change: Callable[[Any], None], said: str) -> None:
    assert said in refused(_changed(tmp_path, change))


def test_a_layout_is_refused(cases: Path) -> None:
    source = open_source(cases / "models/tflm/hello_world_float.tflite", layout="nchw")
    with pytest.raises(SourceError, match="its layout is what it is"):
        read_float_model(source, batch=1, hints={})


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "huge.tflite"
    with path.open("wb") as stream:
        stream.write(b"\0\0\0\0TFL3")
        stream.truncate(MAX_BYTES + 1)  # a hole: no disk is used
    assert "no flatbuffer is that large" in refused(path)


@pytest.mark.parametrize("length", [8, 100, 2000])
def test_files_that_are_cut_off(cases: Path, tmp_path: Path, length: int) -> None:
    path = tmp_path / "cut.tflite"
    path.write_bytes((cases / "models/tflm/hello_world_float.tflite").read_bytes()[:length])
    assert "damaged" in refused(path)


def test_a_real_float_file_is_built_to_int8_with_real_images(cases: Path, tmp_path: Path) -> None:
    crops = _crops(cases, 120)
    np.savez(tmp_path / "crops.npz", x=crops[:100])
    source = cases / "models/tflite_ref/ic_resnet8_float.tflite"
    options = BuildOptions(
        model=str(source), calibration="crops.npz", calibrator="min-max", precision="int8", output=tmp_path / "artifact"
    )
    artifact = build(plan(Project(), load_target("rpi4"), options, tmp_path))
    assert artifact.manifest.source.format == "tflite"
    assert set(artifact.manifest.audit.tensor_dtypes) == {"int8", "int32"}
    assert artifact.manifest.audit.model_bytes < 98_496, "no larger than MLPerf's own int8 file"
    upstream = cases / "models/tflite_ref/ic_resnet8_int8.tflite"
    exact, found, theirs = (
        np.concatenate([next(iter(run({name: crop[None]}).values())) for crop in crops[100:]])
        for run, name in (
            (runner(source.read_bytes()), "input_1"),
            (runner(artifact.model.read_bytes()), "input_1"),
            (runner(upstream.read_bytes()), "input_1_int8"),
        )
    )
    assert np.square(found - exact).sum() < np.square(theirs - exact).sum(), "better than MLPerf's own int8 file"


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz") / "fuzzed.tflite"


@pytest.mark.slow
@settings(max_examples=150)
@given(
    name=st.sampled_from(["open_batch", "variables"]),
    changes=st.lists(st.tuples(st.integers(0, 2**20), st.integers(0, 255)), min_size=1, max_size=12),
)
def test_changed_bytes_are_a_source_error_or_nothing(scratch: Path, name: str, changes: list[tuple[int, int]]) -> None:
    data = bytearray((DATA / f"{name}.tflite").read_bytes())
    for position, value in changes:
        data[position % len(data)] = value
    scratch.write_bytes(data)
    with suppress(SourceError):
        taken(scratch)


def _crops(cases: Path, count: int) -> np.ndarray[Any, Any]:
    """(count, 32, 32, 3) float32, 0..255: pieces of photographs."""
    generator = np.random.default_rng(11)
    names = ("cat.bmp", "bird.bmp", "grace_hopper.bmp", "hot_dog.jpg", "face.jpg")
    images = [read_image(cases / "data" / "images" / name) for name in names]
    pieces = []
    for number in range(count):
        image = images[number % len(images)]
        top, left = (int(generator.integers(0, size - 32)) for size in image.shape[:2])
        pieces.append(image[top : top + 32, left : left + 32, :3].astype(np.float32))
    return np.stack(pieces)


def _changed(folder: Path, change: Callable[[Any], None], *, softmax: bool = False) -> Path:
    """A small network, changed."""
    generator = np.random.default_rng(5)
    network = dense_network([generator.normal(size=(16, 12)), generator.normal(size=(8, 16))], softmax=softmax)
    model = read(network.tflite)
    change(model)
    path = folder / "changed.tflite"
    path.write_bytes(write(model))
    return path

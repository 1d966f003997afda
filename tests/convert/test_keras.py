"""Keras, .h5 and SavedModel through the child process, against Keras itself."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit_converters.calibration import open_dataset
from edgekit_converters.child import convert, describe
from edgekit_converters.errors import QuantizationError, SourceError
from edgekit_converters.estimators import estimate_ranges
from edgekit_converters.flatbuffer import read, signature_specs
from edgekit_converters.quantize import quantize
from edgekit_converters.shapes import InputHint
from edgekit_converters.sources import open_source
from edgekit_converters.statistics import collect_statistics
from edgekit_converters.structure import read_structure
from edgekit_converters.types import FloatModel, Scheme
from tests.convert.conftest import reference, run, run_bytes
from tests.min_max import min_max_ranges

pytestmark = [pytest.mark.convert, pytest.mark.xdist_group("keras")]  # conversions are shared

INT8 = Scheme(precision="int8", io="int8")

Converted = Callable[[Path], FloatModel]


def inputs_of(model: FloatModel, count: int, high: float = 1.0, seed: int = 0) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    return {spec.name: (rng.random((count, *spec.shape[1:])) * high).astype(np.float32) for spec in model.inputs}


def one_by_one(inputs: dict[str, Any]) -> Any:
    count = len(next(iter(inputs.values())))
    return ({name: array[i : i + 1] for name, array in inputs.items()} for i in range(count))


def assert_like_keras(model: FloatModel, answers: Path, atol: float) -> None:
    kept = np.load(answers)
    inputs = {spec.name: kept[spec.name] for spec in model.inputs}
    for position, found in enumerate(run(model, inputs)):
        np.testing.assert_allclose(found, kept[f"output_{position}"], atol=atol)


@pytest.mark.slow
def test_resnet8(cases: Path, converted: Converted, keras_answers: Path) -> None:
    source = cases / "models/keras_h5/ic_resnet8.h5"
    model = converted(source)
    assert (model.source_format, model.route, model.findings) == ("keras-h5", "frozen-concrete-function", ())
    assert [(spec.name, spec.shape) for spec in model.inputs] == [("input_1", (1, 32, 32, 3))]
    assert [(spec.name, spec.shape) for spec in model.outputs] == [("dense", (1, 10))]
    assert set(model.tools) == {"tensorflow", "keras"}
    assert_like_keras(model, keras_answers / "ic_resnet8.h5.npz", 3e-6)
    upstream = (cases / "models/tflite_ref/ic_resnet8_float.tflite").read_bytes()
    (image,), (scores,) = signature_specs(read(upstream))
    inputs = inputs_of(model, 20, 255)
    from tests.unit.float_models import float_model

    like = float_model(cases / "models/tflite_ref/ic_resnet8_float.tflite")
    theirs = run(like, {"in0": inputs["input_1"]})
    np.testing.assert_allclose(run(model, inputs)[0], theirs[0], atol=3e-6)
    assert (image.dtype, scores.dtype) == ("float32", "float32")


@pytest.mark.slow
def test_vww_with_groups_in_its_depthwise_layers(cases: Path, converted: Converted, keras_answers: Path) -> None:
    source = cases / "models/keras_h5/vww_mobilenetv1_025_96.h5"
    model = converted(source)
    assert model.inputs[0].shape == (1, 96, 96, 3)
    assert_like_keras(model, keras_answers / "vww_mobilenetv1_025_96.h5.npz", 5e-6)


def kws_real(_name: str, values: Any) -> Any:
    return (values.astype(np.float32) - 83) * np.float32(0.5847029)


def test_kws_saved_model_int8(cases: Path, converted: Converted) -> None:
    model = converted(cases / "models/saved_model/kws_ref_model")
    assert (model.source_format, set(model.tools)) == ("saved-model", {"tensorflow", "tf-keras"})
    assert [(spec.name, spec.shape) for spec in model.inputs] == [("input_1", (1, 49, 10, 1))]
    assert [spec.name for spec in model.outputs] == ["dense"]
    data = open_dataset("data/kws/kws_mfcc_int8.npz", model.inputs, transform=kws_real, base=cases, targets="class")
    samples = list(data.samples())
    ranges = min_max_ranges(model.tflite, (sample.inputs for sample in samples[:100]))
    quantized = quantize(model, scheme=INT8, ranges=ranges)
    assert len(quantized.tflite) <= 54_000
    assert set(read_structure(quantized.tflite).dtype_counts) == {"int8", "int32"}
    assert quantized.tflite == quantize(model, scheme=INT8, ranges=ranges).tflite
    held_out = {"input_1": np.concatenate([sample.inputs["input_1"] for sample in samples[100:]])}
    labels = np.array([sample.label for sample in samples[100:]])
    accuracy = [(run(each, held_out)[0].argmax(axis=1) == labels).mean() for each in (model, quantized)]
    assert accuracy[0] > 0.89
    assert accuracy[0] - accuracy[1] <= 0.005


@pytest.mark.slow
def test_two_conversions_give_the_same_bytes(keras_models: Path, converted: Converted, tmp_path: Path) -> None:
    for name in ("sequential.keras", "exported"):
        again = convert(open_source(keras_models / name), log_folder=tmp_path)
        assert again.tflite == converted(keras_models / name).tflite, name
    assert list(tmp_path.iterdir()) == [], "a conversion that worked leaves no log"


def sqnr_db(expected: Any, found: Any) -> float:
    noise = np.square(expected - found, dtype=np.float64).sum()
    return float(10 * np.log10(np.square(expected, dtype=np.float64).sum() / noise))


@pytest.mark.slow
def test_resnet8_int8_is_at_least_as_good_as_tflite_converter(
    cases: Path, converted: Converted, tmp_path: Path
) -> None:
    source = cases / "models/keras_h5/ic_resnet8.h5"
    model = converted(source)
    calibration = inputs_of(model, 100, 255, seed=1)
    # Smooth images are closer to photographs than white noise: noise is averaged over 4 x 4 pixels.
    for name, array in calibration.items():
        calibration[name] = np.kron(array[:, ::4, ::4], np.ones((1, 4, 4, 1))).astype(np.float32)
    held_out = {name: array[::-1, ::-1, ::-1].copy() for name, array in calibration.items()}
    ours = quantize(model, scheme=INT8, ranges=min_max_ranges(model.tflite, one_by_one(calibration)))
    np.savez(tmp_path / "inputs.npz", **calibration)
    reference("int8", source, tmp_path / "inputs.npz", tmp_path / "int8.tflite")
    theirs = (tmp_path / "int8.tflite").read_bytes()
    inputs, outputs = signature_specs(read(theirs))
    (expected,) = run(model, held_out)
    (our,) = run(ours, held_out)
    (their,) = run_bytes(theirs, inputs, outputs, {inputs[0].name: held_out["input_1"]})
    assert sqnr_db(expected, our) >= sqnr_db(expected, their) - 0.1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "inputs", "outputs"),
    [
        ("sequential.keras", ["image"], ["scores"]),
        ("keras3.h5", ["image"], ["scores"]),
        ("multi.keras", ["second", "first"], ["left", "right"]),
        ("dicts.keras", ["first", "second"], ["p", "q"]),
        ("lstm.keras", ["sequence"], None),
        ("gru.keras", ["sequence"], None),
    ],
)
def test_generated_models(
    keras_models: Path,
    keras_answers: Path,
    converted: Converted,
    name: str,
    inputs: list[str],
    outputs: list[str] | None,
) -> None:
    model = converted(keras_models / name)
    assert [spec.name for spec in model.inputs] == inputs
    if outputs is not None:
        assert [spec.name for spec in model.outputs] == outputs
    assert_like_keras(model, keras_answers / f"{name}.npz", 2e-5)


@pytest.mark.slow
def test_exported_saved_model_needs_no_tf_keras(keras_models: Path, converted: Converted) -> None:
    model, same = converted(keras_models / "exported"), converted(keras_models / "sequential.keras")
    assert set(model.tools) == {"tensorflow"}
    inputs = inputs_of(model, 3)
    np.testing.assert_allclose(run(model, inputs)[0], run(same, inputs)[0], atol=1e-6)


@pytest.mark.parametrize("name", ["lstm.keras", pytest.param("gru.keras", marks=pytest.mark.slow)])
def test_recurrent_layers(keras_models: Path, converted: Converted, name: str) -> None:
    model = converted(keras_models / name)
    halved = quantize(model, scheme=Scheme(precision="float16"))
    inputs = inputs_of(model, 5)
    np.testing.assert_allclose(run(halved, inputs)[0], run(model, inputs)[0], atol=5e-3)
    assert "float16" in read_structure(halved.tflite).dtype_counts
    with pytest.raises(QuantizationError, match=r"recurrent layer \(WHILE\), which cannot be brought to int8"):
        quantize(model, scheme=INT8, ranges=min_max_ranges(model.tflite, one_by_one(inputs)))


@pytest.mark.slow
def test_loops_are_written_out_for_integers(keras_models: Path, tmp_path: Path) -> None:
    model = convert(open_source(keras_models / "loops.keras", unroll=True), log_folder=tmp_path)
    assert "WHILE" not in read_structure(model.tflite).builtin_counts
    (finding,) = model.findings
    assert finding.name == "unrolled"
    assert finding.message.count("over 10 steps") == 3  # forward, backward, and the one that follows
    assert model.fidelity is not None  # compared with the loops as they were saved
    assert all(output.sqnr_db is None or output.sqnr_db > 100 for output in model.fidelity.outputs)
    inputs = inputs_of(model, 30)
    statistics = collect_statistics(model.tflite, lambda: one_by_one(inputs), histograms=False)
    quantized = quantize(model, scheme=INT8, ranges=estimate_ranges(statistics, "min-max"))
    assert set(read_structure(quantized.tflite).dtype_counts) == {"int8", "int32"}
    wanted, got = run(model, inputs)[0], run(quantized, inputs)[0]  # under XNNPACK, which takes the SPLITs
    assert 10 * np.log10(np.square(wanted).sum() / np.square(got - wanted).sum()) > 20


@pytest.mark.parametrize(
    ("name", "message", "hint"),
    [
        ("unbuilt.keras", "was saved before it was built", "Input"),
        ("lambda.keras", "has a Lambda layer", "ordinary|Rescaling"),
        ("lambda.h5", "has a Lambda layer", "Rescaling"),
        ("spaced.keras", "A layer is called 'a layer', which TensorFlow cannot use", "Rename it"),
        ("only.weights.h5", "holds weights without a network", "model.save"),
        ("open.keras", r"Dimension 1 of input 'sequence' is open", r"\[input.sequence\] shape = \[1, \?, 5\]"),
    ],
)
def test_refused_with_a_reason(keras_models: Path, tmp_path: Path, name: str, message: str, hint: str) -> None:
    with pytest.raises(SourceError, match=message) as caught:
        convert(open_source(keras_models / name), log_folder=tmp_path)
    import re

    assert re.search(hint, caught.value.hint)
    assert list(tmp_path.iterdir()) == [], "the message says it all"


def test_an_open_dimension_is_settled_by_a_shape(keras_models: Path, tmp_path: Path) -> None:
    model = convert(
        open_source(keras_models / "open.keras"),
        hints={"sequence": InputHint(shape=(2, 7, 5), dtype=None, declared=True)},
        log_folder=tmp_path,
    )
    assert model.inputs[0].shape == (2, 7, 5)


def test_describe(keras_models: Path, tmp_path: Path) -> None:
    inputs, outputs = describe(open_source(keras_models / "open.keras"), log_folder=tmp_path)
    assert inputs == {"sequence": ((None, None, 5), "float32")}
    assert [shape for shape, _ in outputs.values()] == [(None, 2)]


@pytest.mark.parametrize("name", ["ic_resnet8.h5", "sequential.keras"])
@pytest.mark.parametrize("share", [0.3, 0.95])
def test_truncated_models(cases: Path, keras_models: Path, tmp_path: Path, name: str, share: float) -> None:
    source = cases / "models/keras_h5" / name
    data = (source if source.exists() else keras_models / name).read_bytes()
    (tmp_path / name).write_bytes(data[: int(len(data) * share)])
    with pytest.raises(SourceError, match="damaged"):
        convert(open_source(tmp_path / name), log_folder=tmp_path / "logs")
    assert not (tmp_path / "logs").exists()

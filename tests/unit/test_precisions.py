"""Every scheme on a real network: the file runs with XNNPACK and without, is close to float, and passes the audit."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from edgekit.precision import check_precision
from edgekit_converters.errors import QuantizationError
from edgekit_converters.flatbuffer import read, text, write
from edgekit_converters.quantize import quantize
from edgekit_converters.recipes import layer_choices
from edgekit_converters.structure import OpInfo, Structure, read_structure
from edgekit_converters.types import FloatModel, LayerPrecision, QuantizedModel, Scheme
from tests.min_max import min_max_ranges
from tests.unit.float_models import float_model

pytestmark = pytest.mark.unit

INT8 = Scheme(precision="int8", io="int8")
INT16 = Scheme(precision="int16x8", io="int16")
DYNAMIC = Scheme(precision="dynamic")


def samples(model: FloatModel) -> Iterator[dict[str, Any]]:
    """Smooth images: noise is averaged over 8 x 8 pixels and brought back to 0..1."""
    rng = np.random.default_rng(0)
    shape = model.inputs[0].shape
    for _ in range(8):
        blocks = rng.random((1, shape[1] // 8, shape[2] // 8, shape[3]))
        yield {"in0": np.kron(blocks, np.ones((1, 8, 8, 1))).astype(np.float32)}


def run(model: FloatModel | QuantizedModel, given: list[dict[str, Any]], *, plain: bool = False) -> Any:
    """Real values in, real values out, shape (samples, outputs)."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    kind = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES if plain else OpResolverType.AUTO
    interpreter = Interpreter(model_content=model.tflite, experimental_op_resolver_type=kind)
    runner = interpreter.get_signature_runner("serving_default")
    (source,), (target,) = model.inputs, model.outputs
    found = []
    for sample in given:
        value = sample[source.name]
        if source.scale is not None:
            limits = np.iinfo(source.dtype)
            value = np.clip(np.round(value / source.scale) + source.zero_point, limits.min, limits.max)
        found.append(runner(**{source.name: value.astype(source.dtype)})[target.name].astype(np.float64)[0])
    scores = np.stack(found)
    return scores if target.scale is None else (scores - target.zero_point) * target.scale


def sqnr_db(expected: Any, found: Any) -> float:
    return float(10 * np.log10(np.square(expected).sum() / np.square(expected - found).sum()))


@pytest.fixture(scope="module")
def vww(cases: Path) -> FloatModel:
    """MobileNet v1 0.25, 96 x 96: convolutions, depthwise ones, a dense layer, softmax."""
    return float_model(cases / "models/tflite_ref/vww_float.tflite")


@pytest.fixture(scope="module")
def ranges(vww: FloatModel) -> Any:
    return min_max_ranges(vww.tflite, samples(vww))


@pytest.fixture(scope="module")
def expected(vww: FloatModel) -> Any:
    return run(vww, list(samples(vww)))


def broken(model: QuantizedModel, scheme: Scheme) -> list[str]:
    return [item.message for item in check_precision(read_structure(model.tflite), scheme) if item.severity == "error"]


def layers(model: FloatModel, kind: str) -> list[str]:
    """First outputs of the operators of one kind."""
    return [op.outputs[0].name for op in read_structure(model.tflite).ops if op.name == kind]


def op_of(structure: Structure, name: str) -> OpInfo:
    (found,) = (op for op in structure.ops if op.outputs[0].name == name)
    return found


@pytest.mark.parametrize(
    ("scheme", "least_db"),
    [
        (DYNAMIC, 20),
        (replace(DYNAMIC, per_channel=False), 15),
        (replace(DYNAMIC, weight_bits=4), 5),
        (INT8, 20),
        (replace(INT8, io="uint8"), 20),
        (replace(INT8, io="float32"), 20),
        (replace(INT8, per_channel=False), 10),
        (replace(INT8, symmetric_activations=True), 15),
        (replace(INT8, weight_bits=4), 5),
        (INT16, 24),
        (replace(INT16, io="float32"), 24),
        (replace(INT16, per_channel=False), 10),
        (replace(INT16, weight_bits=4), 5),
    ],
    ids=lambda value: "-".join(str(item) for item in vars(value).values()) if isinstance(value, Scheme) else None,
)
def test_every_scheme_runs_and_is_close_to_float(
    vww: FloatModel, ranges: Any, expected: Any, scheme: Scheme, least_db: float
) -> None:
    model = quantize(vww, scheme=scheme, ranges=ranges)
    given = list(samples(vww))
    for plain in (False, True):
        assert sqnr_db(expected, run(model, given, plain=plain)) > least_db, f"plain: {plain}"
    assert broken(model, scheme) == []
    assert {spec.dtype for spec in (*model.inputs, *model.outputs)} == {scheme.io}


def test_int16_halves_the_noise_and_keeps_biases_in_64_bits(vww: FloatModel, ranges: Any, expected: Any) -> None:
    model, coarse = (quantize(vww, scheme=scheme, ranges=ranges) for scheme in (INT16, INT8))
    given = list(samples(vww))
    assert sqnr_db(expected, run(model, given)) > sqnr_db(expected, run(coarse, given)) + 1
    structure = read_structure(model.tflite)
    assert set(structure.dtype_counts) == {"int8", "int16", "int32", "int64"}  # int32: the shape of a reshape
    assert {op.inputs[2].dtype for op in structure.ops if op.name == "CONV_2D" and op.inputs[2]} == {"int64"}
    assert {tensor.zero_point for tensor in structure.tensors if tensor.dtype == "int16"} == {0}


def test_int4_weights_where_there_are_kernels(vww: FloatModel, ranges: Any) -> None:
    model = quantize(vww, scheme=replace(INT8, weight_bits=4), ranges=ranges)
    (finding,) = model.findings
    assert finding.name == "int4-not-everywhere"
    assert "13 DEPTHWISE_CONV_2D stay int8" in finding.message
    weights = {
        op.name: op.inputs[1].dtype for op in read_structure(model.tflite).ops if len(op.inputs) > 1 and op.inputs[1]
    }
    assert (weights["CONV_2D"], weights["FULLY_CONNECTED"], weights["DEPTHWISE_CONV_2D"]) == ("int4", "int4", "int8")
    assert len(model.tflite) < 0.75 * len(quantize(vww, scheme=INT8, ranges=ranges).tflite)


def test_a_per_tensor_dynamic_file_says_what_stays_float(vww: FloatModel) -> None:
    """The hybrid depthwise kernel reads a scale per channel; with one scale it gives NaN."""
    (finding,) = quantize(vww, scheme=replace(DYNAMIC, per_channel=False)).findings
    assert (finding.name, finding.severity) == ("depthwise-kept-float", "info")
    assert "13 DEPTHWISE_CONV_2D" in finding.message


@pytest.mark.parametrize("io", ["int8", "uint8", "float32"])
@pytest.mark.parametrize("rescue", ["int16x8", "float32"])
@pytest.mark.parametrize("where", ["inner", "first, inner, last"])
def test_rescued_layers(
    vww: FloatModel, ranges: Any, expected: Any, io: Any, rescue: LayerPrecision, where: str
) -> None:
    first, inner, last = layers(vww, "CONV_2D")[0], layers(vww, "DEPTHWISE_CONV_2D")[4], layers(vww, "SOFTMAX")[0]
    chosen = [inner] if where == "inner" else [first, inner, last]
    scheme = Scheme(precision="int8", io=io, layers=dict.fromkeys(chosen, rescue))
    if (io, rescue) == ("uint8", "int16x8") and where != "inner":
        with pytest.raises(QuantizationError, match="no kernel between uint8 and int16"):
            quantize(vww, scheme=scheme, ranges=ranges)
        return
    model = quantize(vww, scheme=scheme, ranges=ranges)
    assert model.tflite == quantize(vww, scheme=scheme, ranges=ranges).tflite
    structure = read_structure(model.tflite)
    dtype = "int16" if rescue == "int16x8" else "float32"
    for name in chosen:
        assert op_of(structure, name).outputs[0].dtype == dtype
    findings = {item.name: item for item in check_precision(structure, scheme)}
    assert set(findings) == {"rescued-layers"}
    assert all(repr(name) in findings["rescued-layers"].message for name in chosen)
    assert {spec.dtype for spec in (*model.inputs, *model.outputs)} == {io}
    given = list(samples(vww))
    for plain in (False, True):
        assert sqnr_db(expected, run(model, given, plain=plain)) > 18, f"plain: {plain}"


def test_a_layer_is_named_exactly(vww: FloatModel, ranges: Any) -> None:
    """Names may hold what means something in a regular expression, and the ``;`` that ends a scope."""
    chosen, beside = layers(vww, "DEPTHWISE_CONV_2D")[4:6]
    odd = {chosen: ".*", beside: ".*;(a+|[b);$"}
    parsed = read(vww.tflite)
    for tensor in parsed.subgraphs[0].tensors:
        tensor.name = odd.get(text(tensor.name), text(tensor.name))
    renamed = replace(vww, tflite=write(parsed))
    for name in odd.values():
        scheme = replace(INT8, layers={name: "int16x8"})
        model = quantize(renamed, scheme=scheme, ranges={odd.get(key, key): value for key, value in ranges.items()})
        assert broken(model, scheme) == []


def test_a_rescue_that_nobody_asked_for_fails_the_audit(vww: FloatModel, ranges: Any) -> None:
    inner = layers(vww, "DEPTHWISE_CONV_2D")[4]
    for rescue, finding in (("int16x8", "int16-in-int8"), ("float32", "float-in-int8")):
        model = quantize(vww, scheme=replace(INT8, layers={inner: rescue}), ranges=ranges)  # type: ignore[dict-item]
        structure = read_structure(model.tflite)
        assert {item.name for item in check_precision(structure, INT8)} == {finding}
        floats = replace(INT8, io="float32")
        assert finding in {item.name for item in check_precision(structure, floats)}, "glue inside is no edge"
    plain = read_structure(quantize(vww, scheme=INT8, ranges=ranges).tflite)
    promised = replace(INT8, layers={inner: "float32"})
    assert "layer-not-rescued" in {item.name for item in check_precision(plain, promised)}


@pytest.mark.parametrize(
    ("made", "promised", "finding"),
    [
        (INT8, replace(INT8, per_channel=False), "per-channel-weights"),
        (replace(INT8, per_channel=False), INT8, "per-tensor-weights"),
        (replace(INT8, per_channel_fully_connected=False), INT8, "per-tensor-weights"),
        (INT8, replace(INT8, symmetric_activations=True), "asymmetric-activation"),
        (INT8, replace(INT8, weight_bits=4), "no-int4"),
        (replace(INT8, weight_bits=4), INT8, "int4-weights"),
        (INT8, INT16, "int8-in-int16x8"),
        (replace(INT16, io="float32"), replace(INT8, io="float32"), "int16-in-int8"),
    ],
)
def test_a_promise_that_is_not_kept(vww: FloatModel, ranges: Any, made: Scheme, promised: Scheme, finding: str) -> None:
    structure = read_structure(quantize(vww, scheme=made, ranges=ranges).tflite)
    assert finding in {item.name for item in check_precision(structure, promised) if item.severity == "error"}


def test_what_layers_can_be(vww: FloatModel) -> None:
    choices = layer_choices(vww)
    assert list(choices) == [op.outputs[0].name for op in read_structure(vww.tflite).ops]
    assert set(choices.values()) == {("int16x8", "float32")}
    assert set(layer_choices(vww, "int16x8").values()) == {("float32",)}
    assert set(layer_choices(vww, "float16").values()) == {()}


@pytest.mark.parametrize(
    ("scheme", "message"),
    [
        (replace(INT8, layers={"no such layer": "float32"}), "has no layer whose first output is 'no such layer'"),
        (replace(INT8, layers={".*": "int16x8"}), r"has no layer whose first output is '\.\*'"),
        (replace(DYNAMIC, layers={"x": "int16x8"}), "of a dynamic model cannot be computed as int16x8"),
        (replace(INT8, io="int16"), "int8 models take and give int8 or uint8 or float32; int16 was asked for"),
        (replace(INT16, io="int8"), "int16x8 models take and give int16 or float32"),
        (Scheme(precision="float16", weight_bits=4), "int4 weights were asked for in a float16 model"),
    ],
)
def test_what_cannot_be(vww: FloatModel, ranges: Any, scheme: Scheme, message: str) -> None:
    with pytest.raises(QuantizationError, match=message) as caught:
        quantize(vww, scheme=scheme, ranges=ranges)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("kind", "scheme"),
    [
        ("CONV_2D", INT8),
        ("DEPTHWISE_CONV_2D", replace(INT8, per_channel=False)),
        ("FULLY_CONNECTED", replace(INT8, symmetric_activations=True)),
    ],
)
def test_outputs_below_what_int8_resolves_still_prepare(
    vww: FloatModel, ranges: Any, kind: str, scheme: Scheme
) -> None:
    """XNNPACK refuses a requantization scale of 256 and more, and with it the whole file."""
    name = layers(vww, kind)[-1]
    model = quantize(vww, scheme=scheme, ranges={**ranges, name: (0.0, 2e-6)})
    assert np.isfinite(run(model, list(samples(vww))[:1])).all()
    (finding,) = model.findings
    assert finding.name == "faint-outputs"
    assert repr(name) in finding.message


def test_narrow_int16_ranges_still_prepare(vww: FloatModel, ranges: Any) -> None:
    """A clamp at 6 must fit int32 in steps of an int16 activation too."""
    parsed = read(vww.tflite)
    graph = parsed.subgraphs[0]
    name = layers(vww, "CONV_2D")[3]
    (operator,) = (op for op in graph.operators if text(graph.tensors[int(op.outputs[0])].name) == name)
    operator.builtinOptions.fusedActivationFunction = schema.ActivationFunctionType.RELU6
    clamped = replace(vww, tflite=write(parsed))
    model = quantize(clamped, scheme=INT16, ranges={**ranges, name: (0.0, 2e-6)})
    assert np.isfinite(run(model, list(samples(vww))[:1], plain=True)).all()
    assert model.findings == (), "two millionths are little, not nothing"

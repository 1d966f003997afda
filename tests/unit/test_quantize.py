"""Ranges and quantization on real float models, without a framework."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from edgekit_converters.errors import QuantizationError
from edgekit_converters.flatbuffer import read, write
from edgekit_converters.quantize import MIN_WIDTH, quantize
from edgekit_converters.types import FloatModel, IoDtype, Precision, QuantizedModel, Scheme
from tests.min_max import min_max_ranges
from tests.unit.float_models import float_model

pytestmark = pytest.mark.unit

INT8 = Scheme(precision="int8", io="int8")


def samples(model: FloatModel, count: int, high: float = 1.0) -> Iterator[dict[str, Any]]:
    rng = np.random.default_rng(0)
    for _ in range(count):
        yield {spec.name: (rng.random(spec.shape) * high).astype(spec.dtype) for spec in model.inputs}


def dtypes(model: QuantizedModel) -> Counter[str]:
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    plain = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter = Interpreter(model_content=model.tflite, experimental_op_resolver_type=plain)
    interpreter.allocate_tensors()
    return Counter(np.dtype(details["dtype"]).name for details in interpreter.get_tensor_details())


def run(model: FloatModel | QuantizedModel, sample: dict[str, Any]) -> Any:
    """Real values in, real values out."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=model.tflite)
    interpreter.allocate_tensors()
    arrays = {}
    for spec in model.inputs:
        arrays[spec.name] = sample[spec.name]
        if spec.scale is not None and spec.zero_point is not None:
            limits = np.iinfo(spec.dtype)
            steps = np.round(sample[spec.name] / spec.scale) + spec.zero_point
            arrays[spec.name] = np.clip(steps, limits.min, limits.max).astype(spec.dtype)
    outputs = interpreter.get_signature_runner("serving_default")(**arrays)
    (spec,) = model.outputs
    values = outputs[spec.name].astype(np.float32)
    return values if spec.scale is None else (values - spec.zero_point) * spec.scale


@pytest.fixture(scope="module")
def resnet(cases: Path) -> FloatModel:
    return float_model(cases / "models/tflite_ref/ic_resnet8_float.tflite")


@pytest.fixture(scope="module")
def resnet_ranges(resnet: FloatModel) -> Any:
    return min_max_ranges(resnet.tflite, samples(resnet, 20, 255))


def test_int8_is_integer_through_and_through(resnet: FloatModel, resnet_ranges: Any) -> None:
    model = quantize(resnet, scheme=INT8, ranges=resnet_ranges)
    assert set(dtypes(model)) == {"int8", "int32"}
    assert [spec.name for spec in (*model.inputs, *model.outputs)] == ["in0", "out0"]
    assert model.inputs[0].zero_point == -128
    assert model.tflite == quantize(resnet, scheme=INT8, ranges=resnet_ranges).tflite
    assert len(model.tflite) < 98_464, "the size plain TFLiteConverter reaches"


@pytest.mark.parametrize("io", ["uint8", "float32"])
def test_other_inputs_and_outputs(resnet: FloatModel, resnet_ranges: Any, io: str) -> None:
    model = quantize(resnet, scheme=Scheme(precision="int8", io=cast("IoDtype", io)), ranges=resnet_ranges)
    assert {spec.dtype for spec in (*model.inputs, *model.outputs)} == {io}
    assert dtypes(model)[io] == 2
    same = quantize(resnet, scheme=INT8, ranges=resnet_ranges)
    for sample in samples(resnet, 3, 255):
        np.testing.assert_allclose(run(model, sample), run(same, sample), atol=2.5 / 256)


@pytest.mark.parametrize(("precision", "tolerance"), [("float16", 2e-2), ("dynamic", 0.2)])
def test_weights_only(resnet: FloatModel, precision: Precision, tolerance: float) -> None:
    model = quantize(resnet, scheme=Scheme(precision=precision))
    assert {spec.dtype for spec in (*model.inputs, *model.outputs)} == {"float32"}
    assert len(model.tflite) < 0.6 * len(resnet.tflite)
    assert model.tflite == quantize(resnet, scheme=Scheme(precision=precision)).tflite
    for sample in samples(resnet, 5, 255):
        np.testing.assert_allclose(run(model, sample), run(resnet, sample), atol=tolerance)


def test_float32_passes_through(resnet: FloatModel) -> None:
    assert quantize(resnet, scheme=Scheme(precision="float32")).tflite is resnet.tflite


def test_fully_connected_per_tensor_where_the_target_needs_it(resnet: FloatModel, resnet_ranges: Any) -> None:
    from edgekit_converters.structure import read_structure

    def scales(*, per_channel: bool) -> int:
        model = quantize(resnet, scheme=replace(INT8, per_channel_fully_connected=per_channel), ranges=resnet_ranges)
        (dense,) = (op for op in read_structure(model.tflite).ops if op.name == "FULLY_CONNECTED")
        weights = dense.inputs[1]
        assert weights is not None
        return weights.scales

    assert (scales(per_channel=True), scales(per_channel=False)) == (10, 1)


def test_a_large_model_keeps_its_weights_with_uint8_io(cases: Path) -> None:
    """From 256 KiB on, ai-edge-quantizer keeps buffers behind the flatbuffer."""
    vww = float_model(cases / "models/tflite_ref/vww_float.tflite")
    ranges = min_max_ranges(vww.tflite, samples(vww, 10))
    ios: tuple[IoDtype, ...] = ("int8", "uint8")
    for io in ios:
        model = quantize(vww, scheme=replace(INT8, io=io), ranges=ranges)
        assert 250_000 < len(model.tflite) < 333_288
        for sample in samples(vww, 2):
            np.testing.assert_allclose(run(model, sample), run(vww, sample), atol=0.1)


@pytest.mark.parametrize("ranges", [None, {}])
def test_int8_without_data(resnet: FloatModel, ranges: Any) -> None:
    with pytest.raises(QuantizationError, match="int8 needs calibration data") as caught:
        quantize(resnet, scheme=INT8, ranges=ranges)
    assert "--calibration" in caught.value.hint


def test_ranges_of_another_model(resnet: FloatModel) -> None:
    with pytest.raises(QuantizationError, match="ai-edge-quantizer cannot quantize this model"):
        quantize(resnet, scheme=INT8, ranges={"other": (0.0, 1.0)})


def test_dead_activations_are_said_and_still_run(resnet: FloatModel, resnet_ranges: Any) -> None:
    logits = list(resnet_ranges)[-2]
    model = quantize(resnet, scheme=INT8, ranges={**resnet_ranges, logits: (0.0, 1e-12)})
    finding, faint = model.findings
    assert (finding.name, faint.name) == ("dead-activations", "faint-outputs")
    assert f"below {MIN_WIDTH[8]:g}" in finding.message
    assert logits in finding.message
    assert set(dtypes(model)) == {"int8", "int32"}
    assert np.isfinite(run(model, next(samples(resnet, 1, 255)))).all(), "XNNPACK prepares it too"


def test_a_bias_over_vanishing_weights_keeps_its_sign(cases: Path) -> None:
    """A dead channel: ai-edge-quantizer alone turns a bias of +5 into the smallest int32."""
    tiny = float_model(cases / "models/tflm/hello_world_float.tflite")
    parsed = read(tiny.tflite)
    graph = parsed.subgraphs[0]
    first = graph.operators[0]
    weights, bias = (parsed.buffers[graph.tensors[index].buffer] for index in first.inputs[1:3])
    values = np.frombuffer(bytes(weights.data), np.float32).copy()
    offsets = np.frombuffer(bytes(bias.data), np.float32).copy()
    values[3], offsets[3] = 1e-12, 5.0
    weights.data, bias.data = (np.frombuffer(item.tobytes(), np.uint8) for item in (values, offsets))
    dead = replace(tiny, tflite=write(parsed))
    given = [{"in0": np.array([[x]], np.float32)} for x in np.linspace(0, 6.28, 50)]
    model = quantize(dead, scheme=INT8, ranges=min_max_ranges(dead.tflite, given))
    errors = [abs(run(model, sample) - run(dead, sample)).max() for sample in given]
    assert max(errors) < 0.05 * max(abs(run(dead, sample)).max() for sample in given)


@pytest.mark.parametrize("precision", ["int8", "dynamic"])
def test_recurrent_layers_are_refused(cases: Path, precision: Precision) -> None:
    lstm = float_model(cases / "models/tflm/mnist_lstm_float.tflite")
    with pytest.raises(QuantizationError, match=rf"recurrent layer .* cannot be brought to {precision}") as caught:
        quantize(lstm, scheme=Scheme(precision=precision), ranges={"in0": (0, 1)})
    assert "float16" in caught.value.hint


def test_a_tiny_model(cases: Path) -> None:
    tiny = float_model(cases / "models/tflm/hello_world_float.tflite")
    assert set(dtypes(quantize(tiny, scheme=Scheme(precision="dynamic")))) == {"float32", "int8", "int32"}
    halved = quantize(tiny, scheme=Scheme(precision="float16"))
    assert "float16" in dtypes(halved)

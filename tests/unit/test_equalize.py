"""Cross-layer equalization and bias correction on real float models."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit_converters.bias_correction import correct_biases, mean_output
from edgekit_converters.comparison import compare, take_reference
from edgekit_converters.equalize import equalize
from edgekit_converters.estimators import estimate_ranges
from edgekit_converters.flatbuffer import read, write
from edgekit_converters.layers import Layer, constant, read_layers, tensor_name
from edgekit_converters.quantize import quantize
from edgekit_converters.refinement import Switch, refine
from edgekit_converters.statistics import Statistics, collect_statistics
from edgekit_converters.tensor_runner import TensorRunner
from edgekit_converters.trials import start_trials
from edgekit_converters.types import FloatModel, Scheme
from tests.unit.float_models import float_model

pytestmark = pytest.mark.unit

INT8 = Scheme(precision="int8", io="int8")
PER_TENSOR = Scheme(precision="int8", io="int8", per_channel=False, per_channel_fully_connected=False)


@pytest.fixture(scope="module")
def vww(cases: Path) -> FloatModel:
    """13 depthwise and 14 other convolutions with ReLU."""
    return float_model(cases / "models/tflite_ref/vww_float.tflite")


@pytest.fixture(scope="module")
def samples() -> list[dict[str, Any]]:
    """Smooth patterns: noise would leave most of the network silent."""
    rng = np.random.default_rng(0)
    coarse = rng.random((16, 1, 6, 6, 3), np.float32)
    return [{"in0": np.repeat(np.repeat(picture, 16, axis=1), 16, axis=2)} for picture in coarse]


@pytest.fixture(scope="module")
def statistics(vww: FloatModel, samples: list[dict[str, Any]]) -> Statistics:
    return collect_statistics(vww.tflite, lambda: samples, histograms=True)


def test_equalization_keeps_the_function(vww: FloatModel, samples: list[dict[str, Any]]) -> None:
    equalized, (finding,) = equalize(vww)
    assert (finding.name, finding.severity) == ("cross-layer-equalization", "info")
    assert finding.message == "26 pairs of layers were equalized."
    found = compare(equalized.tflite, take_reference(vww, samples, most=4))
    assert (found.sqnr_db["out0"] or 0) > 100, "1e-5 of the output"
    assert equalized.tflite != vww.tflite
    assert equalized.tflite == equalize(vww)[0].tflite


def test_channels_get_like_sizes_on_both_sides(cases: Path) -> None:
    """hello_world: three fully connected layers with ReLU between them."""
    sine = float_model(cases / "models/tflm/hello_world_float.tflite")
    parsed = read(equalize(sine)[0].tflite)
    first, second, third = read_layers(parsed)
    for giver, taker in ((first, second), (second, third)):
        gives = np.abs(constant(parsed, giver.weights)).max(axis=1)
        takes = np.abs(constant(parsed, taker.weights)).max(axis=0)
        np.testing.assert_allclose(gives, takes, rtol=0.05)


def test_what_is_not_exact_is_left_and_said(cases: Path) -> None:
    resnet = float_model(cases / "models/tflite_ref/ic_resnet8_float.tflite")
    assert equalize(resnet)[1][0].message.endswith("1 left, whose middle has several readers.")
    parsed = read(resnet.tflite)
    for layer in read_layers(parsed):
        layer.options.fusedActivationFunction = 3
    unmoved = FloatModel(
        tflite=write(parsed), inputs=resnet.inputs, outputs=resnet.outputs, source_format="test", route="none", tools={}
    )
    same, (finding,) = equalize(unmoved)
    assert same is unmoved
    assert "0 pairs" in finding.message
    assert "with RELU6 between them" in finding.message


def brute_force(weights: Any, inputs: Any, stride: int, dilation: int, *, same: bool, depthwise: bool) -> Any:
    """Mean output of a convolution, position by position."""
    kernel = weights.shape[1]
    reach = (kernel - 1) * dilation + 1
    size = inputs.shape[1]
    output = -(-size // stride) if same else (size - reach) // stride + 1
    total = max(0, (output - 1) * stride + reach - size) if same else 0
    padded = np.pad(inputs, ((0, 0), (total // 2, total - total // 2), (total // 2, total - total // 2), (0, 0)))
    results = []
    for row in range(output):
        for column in range(output):
            top, left = row * stride, column * stride
            patch = padded[:, top : top + reach : dilation, left : left + reach : dilation]
            if depthwise:
                wide = np.repeat(patch, weights.shape[3] // patch.shape[3], axis=3)
                results.append((wide * weights).sum(axis=(1, 2)))
            else:
                results.append(np.einsum("nhwi,ohwi->no", patch, weights))
    return np.mean(results, axis=(0, 1)), output


@pytest.mark.parametrize("same", [True, False])
@pytest.mark.parametrize(("stride", "dilation"), [(1, 1), (2, 1), (1, 2), (3, 1)])
@pytest.mark.parametrize("depthwise", [True, False])
def test_the_mean_output_of_a_layer(same: bool, stride: int, dilation: int, depthwise: bool) -> None:
    from ai_edge_litert import schema_py_generated as schema

    rng = np.random.default_rng(3)
    inputs = rng.normal(1, 1, (2, 9, 9, 4))
    weights = rng.normal(size=(1, 3, 3, 8) if depthwise else (5, 3, 3, 4))
    options = schema.DepthwiseConv2DOptionsT() if depthwise else schema.Conv2DOptionsT()
    options.padding = schema.Padding.SAME if same else schema.Padding.VALID
    options.strideH = options.strideW = stride
    options.dilationHFactor = options.dilationWFactor = dilation
    kind = "DEPTHWISE_CONV_2D" if depthwise else "CONV_2D"
    layer = Layer(kind=kind, data=0, weights=1, bias=2, output=3, options=options)  # type: ignore[arg-type]
    expected, size = brute_force(weights, inputs, stride, dilation, same=same, depthwise=depthwise)
    np.testing.assert_allclose(mean_output(layer, weights, inputs, size, size), expected)


def mean_errors(vww: FloatModel, model: FloatModel, scheme: Scheme, ranges: Any, samples: Any) -> Any:
    """Largest difference of a channel's mean from the float model's, layer by layer."""
    parsed = read(vww.tflite)
    names = [tensor_name(parsed, layer.output) for layer in read_layers(parsed)]
    means = []
    for data in (vww.tflite, quantize(model, scheme=scheme, ranges=ranges).tflite):
        runner = TensorRunner(data, like=vww.tflite)
        sums = dict.fromkeys(names, np.zeros(1))
        for sample in samples:
            runner.run(sample)
            for name in names:
                values = runner.value(name)
                sums[name] = sums[name] + values.reshape(-1, values.shape[-1]).mean(axis=0) / len(samples)
        means.append(sums)
    return np.array([np.abs(means[0][name] - means[1][name]).max() for name in names])


def test_corrected_biases_give_the_right_means(
    vww: FloatModel, samples: list[dict[str, Any]], statistics: Statistics
) -> None:
    ranges = estimate_ranges(statistics, "min-max")
    plain = quantize(vww, scheme=PER_TENSOR, ranges=ranges)
    corrected, (finding,) = correct_biases(vww, plain, lambda: samples)
    assert finding.message.startswith("The biases of 28 layers were corrected")
    before = mean_errors(vww, vww, PER_TENSOR, ranges, samples)
    after = mean_errors(vww, corrected, PER_TENSOR, ranges, samples)
    assert np.median(after / before) < 0.7
    assert correct_biases(vww, plain, list)[0] is vww, "no sample, no mean"


@pytest.mark.parametrize("switch", ["auto", "on", "off"])
def test_a_step_is_kept_where_it_surely_helps(
    vww: FloatModel, samples: list[dict[str, Any]], statistics: Statistics, switch: Switch
) -> None:
    refined = refine(
        vww, statistics, lambda: samples, start_trials(vww, PER_TENSOR, lambda: samples),
        calibrator="min-max", equalization=switch, bias_correction=switch,
    )  # fmt: skip
    assert refined.trials == ()
    assert (refined.model is vww) == (switch == "off")
    names = [] if switch == "off" else ["cross-layer-equalization", "bias-correction"]
    assert [finding.name for finding in refined.findings] == names
    for finding in refined.findings:
        assert "standard error" in finding.message
        assert finding.message.startswith("Tried and not kept: ") == ("--no-" not in finding.fix)
    if switch == "auto":
        reference = take_reference(vww, samples, most=100)
        plain = quantize(vww, scheme=PER_TENSOR, ranges=estimate_ranges(statistics, "min-max"))
        best = quantize(refined.model, scheme=PER_TENSOR, ranges=refined.ranges)
        assert compare(best.tflite, reference).mean_db > compare(plain.tflite, reference).mean_db + 2


def test_per_channel_weights_are_not_equalized_unasked(
    vww: FloatModel, samples: list[dict[str, Any]], statistics: Statistics
) -> None:
    refined = refine(vww, statistics, lambda: samples, start_trials(vww, INT8, lambda: samples), bias_correction="off")
    assert refined.model is vww
    assert refined.findings == ()
    assert len(refined.trials) > 1
    assert refined.calibrator in {trial.calibrator for trial in refined.trials}

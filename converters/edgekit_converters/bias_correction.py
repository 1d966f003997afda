"""Bias correction: rounding weights shifts a layer's mean output; its bias takes the shift back.

Nagel, van Baalen, Blankevoort and Welling (ICCV 2019, arXiv:1906.04721), section 4.2: E[W x] - E[W~ x] = (W - W~) E[x].
E[x] is measured, not derived from batch norms, in one pass over the float model: at every position of every layer's
input, so that padding and strides are exact. What activations lose is not corrected: rounding to nearest has no mean.
"""

from dataclasses import replace
from typing import Any

from edgekit_converters.flatbuffer import read, write
from edgekit_converters.layers import OUTPUT_AXIS, Layer, constant, put_constant, read_layers, tensor_name
from edgekit_converters.quantized_tensors import read_quantized
from edgekit_converters.statistics import Samples
from edgekit_converters.tensor_runner import TensorRunner
from edgekit_converters.types import Finding, FloatModel, QuantizedModel


def correct_biases(
    model: FloatModel, quantized: QuantizedModel, samples: Samples
) -> tuple[FloatModel, tuple[Finding, ...]]:
    """The float model with biases that make the means of the quantized one right, and what was done.

    ``quantized`` is made of ``model``; the result is for quantizing in the same way only: as a float model it is off
    by what its weights lose later. Layers without a bias and weights that keep their precision stay as they are. Memory
    is that of the layers' inputs, whatever the number of samples. Raises QuantizationError, ConversionError.
    """
    parsed = read(model.tflite, what="the float model")
    stored = read_quantized(quantized.tflite).weights
    layers = [
        layer
        for layer in read_layers(parsed)
        if layer.bias is not None and tensor_name(parsed, layer.weights) in stored
    ]
    means = _mean_inputs(model, [tensor_name(parsed, layer.data) for layer in layers], samples)
    corrected = 0
    for layer in layers if means else ():
        lost = constant(parsed, layer.weights) - stored[tensor_name(parsed, layer.weights)]
        height, width = _output_size(parsed, layer)
        shift = mean_output(layer, lost, means[tensor_name(parsed, layer.data)], height, width)
        put_constant(parsed, layer.bias or 0, constant(parsed, layer.bias or 0) + shift)
        corrected += 1
    finding = Finding(
        name="bias-correction",
        severity="info",
        message=f"The biases of {corrected} layers were corrected for what their weights lose.",
        fix="Nothing to do; --no-correct-biases builds without it, to compare.",
    )
    return (replace(model, tflite=write(parsed)) if corrected else model), (finding,)


def _mean_inputs(model: FloatModel, names: list[str], samples: Samples) -> dict[str, Any]:
    """Tensor -> float64 mean over the samples, in its shape; empty for no sample."""
    import numpy as np

    runner = TensorRunner(model.tflite, like=model.tflite)
    sums: dict[str, Any] = {}
    count = 0
    for sample in samples():
        count += 1
        runner.run(sample)
        for name in dict.fromkeys(names):
            values = np.asarray(runner.value(name), np.float64)
            sums[name] = sums[name] + values if name in sums else values
    return {name: total / count for name, total in sums.items()}


def _output_size(model: Any, layer: Layer) -> tuple[int, int]:
    shape = model.subgraphs[0].tensors[layer.output].shape
    return (int(shape[1]), int(shape[2])) if layer.kind != "FULLY_CONNECTED" else (1, 1)


def mean_output(layer: Layer, weights: Any, inputs: Any, height: int, width: int) -> Any:
    """(O,) mean over batch and ``height`` x ``width`` positions of what ``weights`` make of ``inputs``, before bias.

    ``inputs`` is (N, H, W, I), or (..., I) for FULLY_CONNECTED. A linear layer's mean output is its output of the mean
    input of each tap of the kernel, so no convolution is computed.
    """
    import numpy as np

    if layer.kind == "FULLY_CONNECTED":
        return weights @ inputs.reshape(-1, weights.shape[1]).mean(axis=0)
    taps = _tap_means(layer, inputs, weights.shape[1:3], (height, width))
    if layer.kind == "CONV_2D":
        groups = taps.shape[-1] // weights.shape[3]
        if groups == 1:
            return np.einsum("ohwi,hwi->o", weights, taps)
        parts = np.split(taps, groups, axis=-1)
        rows = np.split(weights, groups, axis=OUTPUT_AXIS[layer.kind])
        return np.concatenate([np.einsum("ohwi,hwi->o", row, part) for row, part in zip(rows, parts, strict=True)])
    # Channel c of the input feeds the outputs c * multiplier and following.
    return (weights[0] * np.repeat(taps, weights.shape[3] // taps.shape[-1], axis=-1)).sum(axis=(0, 1))


def _tap_means(layer: Layer, inputs: Any, kernel: tuple[int, int], output: tuple[int, int]) -> Any:
    """(kernel height, kernel width, I): mean input that each tap sees over all output positions, padding included."""
    import numpy as np
    from ai_edge_litert import schema_py_generated as schema

    strides = layer.options.strideH, layer.options.strideW
    dilations = layer.options.dilationHFactor, layer.options.dilationWFactor
    same = layer.options.padding == schema.Padding.SAME
    spans = [(size - 1) * stride + 1 for size, stride in zip(output, strides, strict=True)]
    total = [
        span + (size - 1) * dilation - available
        for span, size, dilation, available in zip(spans, kernel, dilations, inputs.shape[1:3], strict=True)
    ]
    # SAME puts the odd row or column behind; VALID may leave some of the input unused.
    before = [max(0, rows) // 2 if same else 0 for rows in total]
    after = [max(0, rows - first) for rows, first in zip(total, before, strict=True)]
    padded = np.pad(inputs, ((0, 0), (before[0], after[0]), (before[1], after[1]), (0, 0)))
    means = np.empty((*kernel, inputs.shape[3]))
    for row in range(kernel[0]):
        for column in range(kernel[1]):
            top, left = row * dilations[0], column * dilations[1]
            seen = padded[:, top : top + spans[0] : strides[0], left : left + spans[1] : strides[1]]
            means[row, column] = seen.mean(axis=(0, 1, 2))
    return means

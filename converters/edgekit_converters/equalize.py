"""Cross-layer equalization: the channels between two layers get weights of like size on both sides.

Nagel, van Baalen, Blankevoort and Welling, "Data-Free Quantization Through Weight Equalization and Bias Correction"
(ICCV 2019, arXiv:1906.04721), section 4.1. ReLU is homogeneous, f(s x) = s f(x) for s > 0, so a channel can be divided
by s where one layer gives it and multiplied by s where the next takes it; the float model computes the same.
"""

from collections import Counter
from dataclasses import replace
from typing import Any

from edgekit_converters.flatbuffer import read, write
from edgekit_converters.layers import INPUT_AXIS, OUTPUT_AXIS, Layer, constant, put_constant, read_layers
from edgekit_converters.types import Finding, FloatModel

ROUNDS = 100
CONVERGED = 1e-3
"""A round that changes no scale by more than this share is the last."""
LARGEST_SCALE = 32.0
"""A channel is moved by no more in all. The biases of nearly dead channels grow with their scale and stretch the range
of the activations: without a limit, MLPerf Tiny's visual wake words model falls from 28 to 3 dB."""

Pair = tuple[Layer, Layer]


def equalize(model: FloatModel) -> tuple[FloatModel, tuple[Finding, ...]]:
    """The same function with equalized weights, and what was done and left.

    Pairs are CONV_2D, DEPTHWISE_CONV_2D or FULLY_CONNECTED with RELU or no activation, whose output one other such
    layer alone takes. RELU6, swish and other activations are not homogeneous, and an output with several readers has
    no one partner: those stay as they are. Float outputs change by rounding only (1e-5 relative).
    """
    parsed = read(model.tflite, what="the float model")
    pairs, left = _find_pairs(parsed)
    _equalize(parsed, pairs)
    said = "".join(f"; {count} left, {reason}" for reason, count in sorted(left.items()))
    finding = Finding(
        name="cross-layer-equalization",
        severity="info",
        message=f"{len(pairs)} pairs of layers were equalized{said}.",
        fix="Nothing to do; --no-equalize builds without it, to compare.",
    )
    return (replace(model, tflite=write(parsed)) if pairs else model), (finding,)


def _find_pairs(model: Any) -> tuple[list[Pair], Counter[str]]:
    """Pairs that can be equalized exactly, and why others between neighbouring layers cannot."""
    graph = model.subgraphs[0]
    layers = read_layers(model)
    givers = {layer.output: layer for layer in layers}
    readers = Counter(int(index) for operator in graph.operators for index in operator.inputs)
    readers.update(int(index) for index in graph.outputs)
    pairs, left = [], Counter[str]()
    for second in layers:
        first = givers.get(second.data)
        if first is None:
            continue
        if first.activation not in {"NONE", "RELU"}:
            left[f"with {first.activation} between them"] += 1
        elif readers[first.output] != 1:
            left["whose middle has several readers"] += 1
        elif _channels(model, first, OUTPUT_AXIS) != _channels(model, second, INPUT_AXIS):
            left["whose channels are regrouped"] += 1
        else:
            pairs.append((first, second))
    return pairs, left


def _channels(model: Any, layer: Layer, axes: Any) -> int:
    return int(model.subgraphs[0].tensors[layer.weights].shape[axes[layer.kind]])


def _equalize(model: Any, pairs: list[Pair]) -> None:
    """Iterate over the pairs until no scale moves; weights are written once, from the product of all scales."""
    import numpy as np

    weights = {layer.weights: constant(model, layer.weights) for pair in pairs for layer in pair}
    scales = [np.ones(_channels(model, first, OUTPUT_AXIS)) for first, _ in pairs]
    sizes = {index: np.abs(values).astype(np.float64) for index, values in weights.items()}
    for _ in range(ROUNDS):
        largest_step = 0.0
        for position, (first, second) in enumerate(pairs):
            gives = _largest(sizes[first.weights], OUTPUT_AXIS[first.kind])
            takes = _largest(sizes[second.weights], INPUT_AXIS[second.kind])
            alive = (gives > 0) & (takes > 0)
            step = np.sqrt(np.divide(gives, takes, out=np.ones_like(gives), where=alive))
            total = np.clip(scales[position] * step, 1 / LARGEST_SCALE, LARGEST_SCALE)
            step = total / scales[position]
            scales[position] = total
            sizes[first.weights] /= _along(step, sizes[first.weights].ndim, OUTPUT_AXIS[first.kind])
            sizes[second.weights] *= _along(step, sizes[second.weights].ndim, INPUT_AXIS[second.kind])
            largest_step = max(largest_step, float(np.abs(np.log(step)).max(initial=0.0)))
        if largest_step < CONVERGED:
            break
    for (first, second), scale in zip(pairs, scales, strict=True):
        weights[first.weights] = weights[first.weights] / _along(
            scale, weights[first.weights].ndim, OUTPUT_AXIS[first.kind]
        )
        weights[second.weights] = weights[second.weights] * _along(
            scale, weights[second.weights].ndim, INPUT_AXIS[second.kind]
        )
        if first.bias is not None:
            put_constant(model, first.bias, constant(model, first.bias) / scale)
    for index, values in weights.items():
        put_constant(model, index, values)


def _largest(sizes: Any, axis: int) -> Any:
    return sizes.max(axis=tuple(other for other in range(sizes.ndim) if other != axis))


def _along(scale: Any, dimensions: int, axis: int) -> Any:
    """A scale a channel, in a shape that broadcasts over weights."""
    shape = [1] * dimensions
    shape[axis] = -1
    return scale.reshape(shape)

"""Room for biases: a bias is an int32 count of ``input scale x weight scale``, which overflows where weights vanish.

A trained network has dead channels, whose weights are nearly 0 and whose bias is not. Their weight scale is then so
small that the bias does not fit, and ai-edge-quantizer wraps it to the other sign. Raising the channel's largest
weight to where the bias fits moves the output by less than 1/10,000 of the bias with int8 activations, far below one
step; by less than 1/120 with int16 ones, in channels whose weights contribute even less than that.

Where the input is what vanishes (a frame that is 0 in every sample), the channel is not dead for the other readers of
the weights, such as the other steps of an unrolled recurrent layer: the operator then gets a copy of its own.
"""

from collections.abc import Callable
from copy import copy
from math import prod
from typing import Any

from edgekit_converters.flatbuffer import builtin_name, text
from edgekit_converters.types import Ranges

CHANNEL_AXIS = {"CONV_2D": 0, "DEPTHWISE_CONV_2D": 3, "FULLY_CONNECTED": 0}
"""Operators with (data, weights, bias) -> the axis of output channels in their weights."""
LARGEST_BIAS = 2**29
"""Steps a bias may take: int32 with room for what same-scale constraints do to the input's range."""
ActivationBits = Callable[[str], int | None]
"""Bits of the activations of the operator with this first output; None where it stays float."""
_WEIGHT_STEPS = 127


def make_room(model: Any, ranges: Ranges, *, activation_bits: ActivationBits) -> int:
    """Raise weights in place where a bias would overflow; returns the number of channels."""
    names = [builtin_name(code) for code in model.operatorCodes]
    return sum(
        _make_room(model, graph, operator, CHANNEL_AXIS[names[operator.opcodeIndex]], ranges, activation_bits)
        for graph in model.subgraphs
        for operator in graph.operators
        if names[operator.opcodeIndex] in CHANNEL_AXIS
    )


def _make_room(
    model: Any, graph: Any, operator: Any, axis: int, ranges: Ranges, activation_bits: ActivationBits
) -> int:
    import numpy as np

    indices = [int(index) for index in operator.inputs]
    bits = activation_bits(text(graph.tensors[int(operator.outputs[0])].name))
    if bits is None or len(indices) < 3 or indices[2] < 0:  # noqa: PLR2004 - (data, weights, bias)
        return 0
    data, weights, bias = (graph.tensors[index] for index in indices[:3])
    values, offsets = constant(model, weights), constant(model, bias)
    low, high = ranges.get(text(data.name), (0.0, 0.0))
    input_scale = _input_scale(low, high, bits)
    if values is None or offsets is None or input_scale == 0:
        return 0
    channels = np.moveaxis(values, axis, 0).reshape(values.shape[axis], -1).copy()
    needed = np.abs(offsets) * (_WEIGHT_STEPS / (input_scale * LARGEST_BIAS))
    tight = np.flatnonzero(np.abs(channels).max(axis=1) < needed)
    for channel in tight:
        largest = np.abs(channels[channel]).argmax()
        channels[channel, largest] = np.copysign(needed[channel], channels[channel, largest])
    if tight.size:
        moved = np.moveaxis(values, axis, 0).shape
        changed = np.ascontiguousarray(np.moveaxis(channels.reshape(moved), 0, axis))
        own = _own_weights(model, graph, operator)
        model.buffers[own.buffer].data = np.frombuffer(changed.tobytes(), np.uint8)
    return int(tight.size)


def _own_weights(model: Any, graph: Any, operator: Any) -> Any:
    """The operator's weights; a copy, put in their place, where something else reads them too."""
    index = int(operator.inputs[1])
    weights = graph.tensors[index]
    readers = sum(
        each.tensors[int(place)].buffer == weights.buffer
        for each in model.subgraphs
        for reader in each.operators
        for place in reader.inputs
        if place >= 0
    )
    if readers == 1:
        return weights
    own = copy(weights)
    own.name = f"{text(weights.name)}_of_{text(graph.tensors[int(operator.outputs[0])].name)}".encode()
    own.buffer = len(model.buffers)
    model.buffers.append(copy(model.buffers[weights.buffer]))
    operator.inputs = [len(graph.tensors) if place == index else int(place) for place in operator.inputs]
    graph.tensors.append(own)
    return own


def _input_scale(low: float, high: float, bits: int) -> float:
    """The smallest that the range can get: int8 is affine at best, int16 always symmetric."""
    if bits == 8:  # noqa: PLR2004 - int8
        return (max(high, 0.0) - min(low, 0.0)) / 255
    return max(abs(low), abs(high)) / 32767


def constant(model: Any, tensor: Any) -> Any:
    """float32 array of a constant in its shape, else None."""
    import numpy as np
    from ai_edge_litert import schema_py_generated as schema

    data = model.buffers[tensor.buffer].data
    shape = tuple(int(size) for size in tensor.shape)
    if tensor.type != schema.TensorType.FLOAT32 or data is None or len(data) != 4 * prod(shape):
        return None
    return np.frombuffer(bytes(data), np.float32).reshape(shape)

"""Room for outputs: XNNPACK refuses a whole file where ``input scale x weight scale / output scale`` reaches 256.

That happens where a layer's outputs stay far below one step of what it multiplies: a dead or untrained layer, whose
calibrated range is then widened. Nothing is lost: one count of the accumulator is still some 255 steps of the output.
"""

from typing import Any

from edgekit_converters.bias_room import CHANNEL_AXIS, ActivationBits, constant
from edgekit_converters.flatbuffer import builtin_name, text
from edgekit_converters.same_scale import SAME_SCALE
from edgekit_converters.types import Ranges

_LARGEST = 127
"""Of int8, symmetric: no activation's scale is coarser than ``largest magnitude / 127``."""


def widen_outputs(model: Any, ranges: Ranges, *, activation_bits: ActivationBits) -> Ranges:
    """The ranges that have to be wider, by tensor name; of layers with int8 activations only."""
    names = [builtin_name(code) for code in model.operatorCodes]
    widened: Ranges = {}
    largest = {name: max(abs(low), abs(high)) for name, (low, high) in ranges.items()}
    for graph in model.subgraphs:
        for operator in graph.operators:  # in the order of execution: a wider output is the next one's input
            kind = names[operator.opcodeIndex]
            outputs = [text(graph.tensors[int(index)].name) for index in operator.outputs]
            if kind in SAME_SCALE:
                source = max(largest.get(text(graph.tensors[int(index)].name), 0.0) for index in operator.inputs)
                largest.update(dict.fromkeys(outputs, source))
            elif kind in CHANNEL_AXIS and outputs[0] in ranges and activation_bits(outputs[0]) == 8:  # noqa: PLR2004
                least = _least_width(model, graph, operator, largest)
                low, high = min(ranges[outputs[0]][0], 0.0), max(ranges[outputs[0]][1], 0.0)
                if high - low < least:
                    widened[outputs[0]] = (low, low + least)
                    largest[outputs[0]] = max(abs(low), abs(low + least))
    return widened


def _least_width(model: Any, graph: Any, operator: Any, largest: dict[str, float]) -> float:
    """Of the output's range: one step of the inputs times one of the weights; 0 where the weights are not known."""
    import numpy as np

    data, weights = (graph.tensors[int(index)] for index in operator.inputs[:2])
    values = constant(model, weights)
    if values is None or not values.size:
        return 0.0
    return largest.get(text(data.name), 0.0) / _LARGEST * float(np.abs(values).max()) / _LARGEST

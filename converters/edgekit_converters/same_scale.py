"""Operators that only move values: their output is on the grid of their input, whatever values it holds.

The first row of an image may be 0 in every sample; on the grid of the image it is no dead activation.
"""

from typing import Any

from edgekit_converters.flatbuffer import builtin_name, text
from edgekit_converters.types import Ranges

SAME_SCALE = frozenset({
    "AVERAGE_POOL_2D", "BROADCAST_TO", "GATHER", "GATHER_ND", "MAX_POOL_2D", "PAD", "REDUCE_MIN", "RESHAPE",
    "RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR", "SLICE", "SPLIT", "STRIDED_SLICE", "TRANSPOSE", "UNPACK",
})  # fmt: skip
"""Operators whose output takes the scale of their input, whatever its own range is."""


def inherit_ranges(model: Any, ranges: Ranges) -> Ranges:
    """``ranges`` with the input's for every output of such an operator, through chains of them."""
    names = [builtin_name(code) for code in model.operatorCodes]
    inherited = dict(ranges)
    for graph in model.subgraphs:
        for operator in graph.operators:  # in the order of execution
            if names[operator.opcodeIndex] not in SAME_SCALE:
                continue
            # Indices, shapes and paddings are constants or integers, and have no range.
            given = [text(graph.tensors[int(index)].name) for index in operator.inputs if index >= 0]
            source = next((inherited[name] for name in given if name in inherited), None)
            outputs = [text(graph.tensors[int(index)].name) for index in operator.outputs]
            if source is not None:
                inherited.update({name: source for name in outputs if name in inherited})
    return inherited

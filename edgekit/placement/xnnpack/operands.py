"""The inputs of an op by their place."""

from edgekit_converters.structure import OpInfo, TensorInfo

EIGHT_BITS = frozenset({"int8", "uint8"})
WEIGHTS_AT = 1
WEIGHTED = frozenset({"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV", "BATCH_MATMUL"})
"""Ops whose second input may have a scale per channel."""


def input_at(op: OpInfo, at: int) -> TensorInfo | None:
    return op.inputs[at] if at < len(op.inputs) else None

"""Weights, biases, and constants that the delegate widens when it is made."""

import sys
from collections.abc import Iterator

from edgekit.placement.context import Context
from edgekit.placement.xnnpack.operands import WEIGHTS_AT, input_at
from edgekit_converters.structure import OpInfo, TensorInfo

HALF_READERS = frozenset({"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"})
"""Ops that read float16 weights as they are."""


def constant_weights(op: OpInfo, context: Context) -> str | None:
    """The weights do not change from one inference to the next."""
    weights = input_at(op, WEIGHTS_AT)
    return None if _settled(weights, context) else "weights that another op or the caller gives, taken are constants"


def channel_weights(op: OpInfo, context: Context) -> str | None:  # noqa: ARG001 - a check
    """Scales of the weights stand along the axis that the kernels have them for."""
    weights = input_at(op, WEIGHTS_AT)
    if weights is None or weights.dtype not in {"int8", "int4", "uint8"}:
        return None
    axis = _channel_axis(op, len(weights.shape))
    if weights.scales == 0:
        return f"{weights.dtype} weights without a scale"
    if weights.dtype == "uint8" and (weights.scales > 1 or weights.quantized_dimension):
        return "uint8 weights with a scale per channel, taken is one"
    if weights.scales > 1 and weights.quantized_dimension != axis:
        return f"scales of the weights along axis {weights.quantized_dimension}, taken are scales along axis {axis}"
    return None


def symmetric_weights(op: OpInfo, context: Context) -> str | None:  # noqa: ARG001 - a check
    """int8 weights have the zero point 0; those of a BATCH_MATMUL of integers one scale, too."""
    first, weights = input_at(op, 0), input_at(op, WEIGHTS_AT)
    if weights is None or weights.dtype != "int8":
        return None
    shift = next(filter(None, weights.zero_points), 0)
    if shift and (weights.scales > 1 or op.name in {"FULLY_CONNECTED", "BATCH_MATMUL"}):
        return f"int8 weights with the zero point {shift}, taken is 0"
    if op.name == "BATCH_MATMUL" and first is not None and first.dtype == "int8" and weights.scales != 1:
        return "an int8 operand with a scale per channel, taken is one"
    return None


def even_depth(op: OpInfo, context: Context) -> str | None:  # noqa: ARG001 - a check
    """FULLY_CONNECTED with int4 weights: two of them fill a byte."""
    weights = input_at(op, WEIGHTS_AT)
    odd = weights is not None and weights.dtype == "int4" and bool(weights.shape[-1] % 2)
    return "int4 weights for an odd number of inputs" if odd else None


def constant_bias(op: OpInfo, context: Context) -> str | None:
    """CONV_2D and DEPTHWISE_CONV_2D: there is a bias, and it is a constant."""
    bias = input_at(op, 2)
    if bias is None:
        return "no bias"
    return _bias(bias, context)


def optional_bias(op: OpInfo, context: Context) -> str | None:
    """FULLY_CONNECTED and TRANSPOSE_CONV: a bias that is there is a constant."""
    bias = input_at(op, 3 if op.name == "TRANSPOSE_CONV" else 2)
    return None if bias is None else _bias(bias, context)


def half_bias(op: OpInfo, context: Context) -> str | None:
    """A bias that is kept in float16 has weights that are, too."""
    alone = _stays_half(input_at(op, 2), context) and not _stays_half(input_at(op, WEIGHTS_AT), context)
    return "a float16 bias beside weights that are not float16, or that other ops read, too" if alone else None


def unpacked(op: OpInfo, context: Context) -> str | None:
    """DEQUANTIZE and DENSIFY of a constant: done once, where every op that reads the result is taken."""
    if not _unpacks(op, context):
        first = input_at(op, 0)
        return f"{first.dtype if first else 'no'} data that is no constant"
    left = next(
        (reader for reader in _readers(op, context) if not _unpacks(reader, context) and not context.fits(reader)), None
    )
    return None if left is None else f"{left.name} reads it and is not taken"


def not_unpacked(op: OpInfo, context: Context) -> str | None:
    """DEQUANTIZE of what flows: a constant is unpacked, or stays with the op that reads it."""
    return "a constant" if _unpacks(op, context) else None


def _bias(bias: TensorInfo, context: Context) -> str | None:
    if not _settled(bias, context):
        return "a bias that another op or the caller gives, taken are constants"
    if bias.dtype not in {"float32", "float16", "int32"}:
        return f"a bias of dtype {bias.dtype}"
    if bias.dtype == "int32" and (bias.scales == 0 or bias.quantized_dimension):
        return "an int32 bias without a scale"
    return None


def _stays_half(tensor: TensorInfo | None, context: Context) -> bool:
    """A float16 constant that is not widened, as only convolutions and FULLY_CONNECTED read it, and not as data."""
    maker = context.maker(tensor)
    if tensor is None or maker is None or not _unpacks(maker, context):
        return False
    packed = input_at(maker, 0)
    if packed is None or packed.dtype != "float16":
        return False
    readers = context.readers.get(tensor.index, ())
    return all(reader.name in HALF_READERS and reader.inputs[0] != tensor for reader in readers)


def _readers(op: OpInfo, context: Context) -> Iterator[OpInfo]:
    for tensor in op.outputs:
        yield from context.readers.get(tensor.index, ())


def _unpacks(op: OpInfo, context: Context) -> bool:
    """A constant of fewer bits that the delegate turns into one of more when it is made."""
    first = input_at(op, 0)
    if op.name not in {"DEQUANTIZE", "DENSIFY"} or first is None or not _settled(first, context, before=op.index):
        return False
    return op.name == "DENSIFY" or first.dtype == "float16" or (first.dtype == "int8" and first.scales > 0)


def _settled(tensor: TensorInfo | None, context: Context, *, before: int = sys.maxsize) -> bool:
    """A constant, or made from one by an op that the delegate does away with."""
    if tensor is None or tensor.constant:
        return tensor is not None
    maker = context.maker(tensor)
    return maker is not None and maker.index < before and _unpacks(maker, context)


def _channel_axis(op: OpInfo, rank: int) -> int:
    if op.name == "BATCH_MATMUL":
        return rank - (2 if op.options.get("adjY") else 1)
    return 3 if op.name == "DEPTHWISE_CONV_2D" else 0

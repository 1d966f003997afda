"""Scales and zero points of data: what the kernels' fixed-point arithmetic reaches."""

import math
import sys

from edgekit.placement.context import Context
from edgekit.placement.xnnpack.operands import EIGHT_BITS, WEIGHTED, WEIGHTS_AT
from edgekit_converters.structure import OpInfo

ADD_RATIO, MULTIPLY_RATIO = (1 / 1024, 256.0), (1 / 65536, 256.0)
"""What scale of input / scale of output may be: from, up to but without."""
CONVERT_RATIO = (1 / 256, 128.0)
"""The same for QUANTIZE of integers and LEAKY_RELU, here with the upper bound."""
LOWEST_SLOPE = -127.99609375
"""Of LEAKY_RELU, in steps of the output: what its fixed-point multiplier reaches."""


def per_tensor(op: OpInfo, context: Context) -> str | None:  # noqa: ARG001 - a check
    """Eight-bit data has one scale."""
    inputs = [tensor for at, tensor in enumerate(op.inputs) if not (op.name in WEIGHTED and at == WEIGHTS_AT)]
    for tensor in (*inputs, *op.outputs):
        if tensor is not None and tensor.dtype in EIGHT_BITS and (tensor.scales != 1 or tensor.quantized_dimension):
            return f"{tensor.dtype} data with {tensor.scales or 'no'} scales, taken is one"
    return None


def same_scale(op: OpInfo, context: Context) -> str | None:  # noqa: ARG001 - a check
    """RESHAPE: the same scale and zero point before and after."""
    first, result = op.inputs[0], op.outputs[0]
    if first is None or result.dtype not in EIGHT_BITS:
        return None
    same = (first.scale, first.zero_point) == (result.scale, result.zero_point)
    return None if same else "another scale or zero point after it than before"


def same_unsigned_scale(op: OpInfo, context: Context) -> str | None:  # noqa: ARG001 - a check
    """CONCATENATION of uint8: one scale and zero point for all."""
    result = op.outputs[0]
    if result.dtype != "uint8":
        return None
    found = {(tensor.scale, tensor.zero_point) for tensor in op.inputs if tensor is not None}
    return None if found == {(result.scale, result.zero_point)} else "uint8 inputs of other scales than its output"


def add_ratio(op: OpInfo, context: Context) -> str | None:  # noqa: ARG001 - a check
    """ADD and SUB: scales of inputs and output lie within a factor."""
    result = op.outputs[0]
    for tensor in op.inputs:
        if tensor is not None and tensor.scale and result.scale and result.dtype in EIGHT_BITS:
            ratio = _float32(tensor.scale / result.scale)
            if not ADD_RATIO[0] <= ratio < ADD_RATIO[1]:
                return f"a scale {ratio:.3g} times that of its output, taken is 1/1024 to 256"
    return None


def multiply_ratio(op: OpInfo, context: Context) -> str | None:  # noqa: ARG001 - a check
    """MUL: the product of the scales of the inputs lies within a factor of the output's."""
    result = op.outputs[0]
    scales = [tensor.scale for tensor in op.inputs if tensor is not None and tensor.scale]
    if result.dtype not in EIGHT_BITS or not result.scale or len(scales) != len(op.inputs):
        return None
    ratio = _float32(math.prod(scales) / result.scale)
    if MULTIPLY_RATIO[0] <= ratio < MULTIPLY_RATIO[1]:
        return None
    return f"scales whose product is {ratio:.3g} times that of its output, taken is 1/65536 to 256"


def convert_ratio(op: OpInfo, context: Context) -> str | None:  # noqa: ARG001 - a check
    """QUANTIZE of integers and LEAKY_RELU: scales of input and output lie within a factor."""
    first, result = op.inputs[0], op.outputs[0]
    if first is None or first.dtype not in EIGHT_BITS or not first.scale or not result.scale:
        return None
    ratio = _float32(first.scale / result.scale)
    low, high = CONVERT_RATIO
    if not low <= ratio <= high:
        return f"a scale {ratio:.3g} times that of its output, taken is 1/256 to 128"
    below = _float32(ratio * op.options.get("alpha", 1.0))
    if not LOWEST_SLOPE <= below <= high or abs(below) < low:
        return f"a slope of {below:.3g} steps below zero, taken is 1/256 to 128"
    return None


def slope(op: OpInfo, context: Context) -> str | None:  # noqa: ARG001 - a check
    """LEAKY_RELU: the slope is a normal number."""
    alpha = float(op.options.get("alpha", 0.0))
    normal = math.isfinite(alpha) and abs(alpha) >= sys.float_info.min and abs(alpha) >= 2.0**-126
    return None if normal else f"alpha {alpha:g}"


def _float32(value: float) -> float:
    """As the delegate computes: in single precision, which decides at the very edge of a range."""
    import numpy as np

    return float(np.float32(value))

"""What the Edge TPU's compiler asks of an op beyond dtypes and options: the checks of ``targets/rules/edgetpu.toml``.

Source: the table "Supported operations" of https://coral.ai/docs/edgetpu/models-intro/, its column for the runtime 14,
and its copy https://developer.axis.com/computer-vision/on-device/system-on-chip/artpec-7/supported-ops/. Where it says
"batch", the first axis is meant whatever the rank: a prediction for the CPU that is wrong costs less than one for the
Edge TPU.
"""

import math
from itertools import dropwhile

from edgekit.placement.context import Context
from edgekit.placement.operands import axes_of, computed_parameters
from edgekit_converters.structure import OpInfo, TensorInfo

INNERMOST = 3
MAX_SOFTMAX = 16_000
DEPTH_UNIT = 4
"""A reduction over channels works on so many at once."""


def innermost(op: OpInfo, context: Context) -> str | None:  # noqa: ARG001 - a check
    """Of a tensor's dimensions only the three innermost may be larger than 1."""
    for tensor in (*op.inputs, *op.outputs):
        if tensor is not None and not tensor.constant and math.prod(tensor.shape[:-INNERMOST]) > 1:
            return f"a tensor {list(tensor.shape)}, of which only the three innermost dimensions may be larger than 1"
    return None


def constant_parameters(op: OpInfo, context: Context) -> str | None:  # noqa: ARG001 - a check
    """Weights, biases and parameters are in the file."""
    return computed_parameters(op)


def even_dilation(op: OpInfo, context: Context) -> str | None:
    """Constant weights and bias, and one dilation for height and width."""
    height, width = op.options.get("dilationHFactor", 1), op.options.get("dilationWFactor", 1)
    if height != width:
        return f"a dilation of {height} by {width}, taken is the same in both"
    return constant_parameters(op, context)


def padding_by_zeros(op: OpInfo, context: Context) -> str | None:  # noqa: ARG001 - a check
    """CONCATENATION: a constant only as one of two inputs, and all of it zero."""
    constants = [tensor for tensor in op.inputs if tensor is not None and tensor.constant]
    if constants and len(op.inputs) > _PAIR:
        return "a constant among more than two inputs"
    known = all(tensor.values is not None and set(tensor.values) <= {tensor.zero_point or 0} for tensor in constants)
    return None if known else "a constant that is not known to be zeros"


def flat_output(op: OpInfo, context: Context) -> str | None:
    """FULLY_CONNECTED: one vector at a time, constant weights."""
    result = op.outputs[0]
    if math.prod(result.shape[:-1]) > 1:
        return f"an output {list(result.shape)}, taken is one vector"
    return constant_parameters(op, context)


def no_batch_axis(op: OpInfo, context: Context) -> str | None:
    """Reductions: over constant axes, not the batch."""
    axes = axes_of(op)
    if axes is None:
        return constant_parameters(op, context) or "axes that are not in the file"
    return "a reduction over the batch" if 0 in axes else None


def mean(op: OpInfo, context: Context) -> str | None:
    """MEAN: not over the batch; over channels only where their number is a multiple of 4."""
    first, axes = op.inputs[0], axes_of(op)
    if first is not None and axes is not None and len(first.shape) - 1 in axes and first.shape[-1] % DEPTH_UNIT:
        return f"MEAN over {first.shape[-1]} channels, taken are multiples of {DEPTH_UNIT}"
    return no_batch_axis(op, context)


def one_vector(op: OpInfo, context: Context) -> str | None:  # noqa: ARG001 - a check
    """SOFTMAX: one vector of at most 16000 elements."""
    shape = () if op.inputs[0] is None else op.inputs[0].shape
    if math.prod(shape[:-1]) > 1:
        return f"a softmax of {math.prod(shape[:-1])} vectors at once, taken is one"
    return None if math.prod(shape) <= MAX_SOFTMAX else f"a softmax of {math.prod(shape)} elements"


def slope_a_channel(op: OpInfo, context: Context) -> str | None:
    """PRELU: constant slopes, one a channel."""
    slopes = op.inputs[1] if len(op.inputs) > 1 else None
    if slopes is not None and math.prod(slopes.shape[:-1]) > 1:
        return f"slopes of shape {list(slopes.shape)}, taken is one a channel"
    return constant_parameters(op, context)


def unpadded_batch(op: OpInfo, context: Context) -> str | None:
    """PAD: constant, and not of the batch."""
    paddings: TensorInfo | None = op.inputs[1] if len(op.inputs) > 1 else None
    if paddings is not None and paddings.values and any(paddings.values[:_PAIR]):
        return "a padding of the batch"
    return constant_parameters(op, context)


def unpacked_batch(op: OpInfo, context: Context) -> str | None:  # noqa: ARG001 - a check
    """PACK: not along the batch."""
    axis, rank = op.options.get("axis", 0), len(op.outputs[0].shape)
    return "packing along the batch" if axis in {0, -rank} else None


def leading_ones(op: OpInfo, context: Context) -> str | None:  # noqa: ARG001 - a check
    """SQUEEZE: only ones in front of every larger dimension go, so that nothing moves in memory."""
    before, after = () if op.inputs[0] is None else op.inputs[0].shape, op.outputs[0].shape
    if _without_leading_ones(before) == _without_leading_ones(after):
        return None
    return f"a dimension behind a larger one squeezed out of {list(before)}"


def unit_strides(op: OpInfo, context: Context) -> str | None:
    """STRIDED_SLICE: every stride is 1."""
    strides = op.inputs[3] if len(op.inputs) > INNERMOST else None
    if strides is not None and strides.values is not None and set(strides.values) != {1}:
        return f"strides {list(strides.values)}, taken is 1"
    return constant_parameters(op, context)


def _without_leading_ones(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(dropwhile(lambda size: size == 1, shape))


_PAIR = 2

EDGETPU_CHECKS = {
    "edgetpu-innermost": innermost,
    "edgetpu-constant-parameters": constant_parameters,
    "edgetpu-even-dilation": even_dilation,
    "edgetpu-padding-by-zeros": padding_by_zeros,
    "edgetpu-flat-output": flat_output,
    "edgetpu-no-batch-axis": no_batch_axis,
    "edgetpu-mean": mean,
    "edgetpu-one-vector": one_vector,
    "edgetpu-slope-a-channel": slope_a_channel,
    "edgetpu-unpadded-batch": unpadded_batch,
    "edgetpu-unpacked-batch": unpacked_batch,
    "edgetpu-leading-ones": leading_ones,
    "edgetpu-unit-strides": unit_strides,
}
"""Name in ``targets/rules/edgetpu.toml`` -> check."""

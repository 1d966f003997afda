"""Operands of ops as more than one delegate's checks look at them."""

from edgekit_converters.structure import OpInfo, TensorInfo

NHWC_RANK = 4


def axes_of(op: OpInfo) -> tuple[int, ...] | None:
    """Axes that the second input names, counted from the front; None where the file does not hold them."""
    first, axes = op.inputs[0], op.inputs[1] if len(op.inputs) > 1 else None
    if first is None or axes is None or axes.values is None:
        return None
    return tuple(axis % len(first.shape) if first.shape else 0 for axis in axes.values)


def nhwc(tensor: TensorInfo | None) -> tuple[int, int, int, int]:
    """(N, H, W, C) of a shape, with ones in front where its rank is less than 4; the last four axes of a longer one."""
    shape = () if tensor is None else tensor.shape
    batch, height, width, channels = ((1,) * NHWC_RANK + shape)[-NHWC_RANK:]
    return batch, height, width, channels


def computed_parameters(op: OpInfo) -> str | None:
    """A reason where an input after the first is no constant: axes, begins, sizes, paddings, permutations."""
    computed = any(tensor is not None and not tensor.constant for tensor in op.inputs[1:])
    return "parameters that another op computes" if computed else None

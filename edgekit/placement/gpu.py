"""What TFLite's GPU delegate asks of an op beyond dtypes and options: the checks of ``targets/rules/gpu.toml``.

Source: ``CheckGpuDelegateCompatibility`` of LiteRT, tflite/tools/versioning/gpu_compatibility.cc, which the delegate
itself asks. What a GPU driver then refuses is not known before it runs.
"""

from edgekit.placement.context import Context
from edgekit.placement.operands import NHWC_RANK
from edgekit_converters.structure import OpInfo

PAIR = 2


def one_input(op: OpInfo, context: Context) -> str | None:  # noqa: ARG001 - a check
    """One input that is no constant."""
    count = _flowing(op)
    return None if count == 1 else f"{count} inputs that are no constants, taken is one"


def up_to_two_inputs(op: OpInfo, context: Context) -> str | None:  # noqa: ARG001 - a check
    """One or two inputs that are no constants, and one output."""
    count = _flowing(op)
    return None if count <= PAIR and len(op.outputs) == 1 else f"{count} inputs that are no constants"


def two_operands(op: OpInfo, context: Context) -> str | None:  # noqa: ARG001 - a check
    """Two inputs, at most one of them a constant."""
    if len(op.inputs) != PAIR or _flowing(op) == 0:
        return f"{len(op.inputs)} operands, taken are two"
    return None


def broadcast(op: OpInfo, context: Context) -> str | None:
    """ADD and MUL: operands of one rank, or one that stretches over the other's channels, or a single number."""
    if two_operands(op, context) or None in op.inputs:
        return two_operands(op, context) or "an operand that is left out"
    longer, shorter = sorted((t.shape for t in op.inputs if t is not None), key=len, reverse=True)
    if len(longer) == len(shorter) or len(shorter) <= 1:
        return None
    fits = len(longer) == NHWC_RANK and (
        (len(shorter) == NHWC_RANK - 1 and longer[0] == 1)
        or shorter == (1, 1)
        or (len(shorter) == PAIR and shorter == (longer[0], longer[-1]))
    )
    return None if fits else f"operands of shapes {list(longer)} and {list(shorter)}"


def constant_axes(op: OpInfo, context: Context) -> str | None:
    """Reductions: over axes in the file, int32."""
    axes = op.inputs[1] if len(op.inputs) > 1 else None
    if axes is None or not axes.constant or axes.dtype != "int32":
        return "axes that are no int32 constant"
    return one_input(op, context)


def padded_shape(op: OpInfo, context: Context) -> str | None:
    """PAD: paddings for three or four axes."""
    paddings = op.inputs[1] if len(op.inputs) > 1 else None
    if paddings is None or paddings.shape not in {(3, 2), (4, 2)}:
        return "paddings of another rank than 3 or 4"
    return one_input(op, context)


def depthwise(op: OpInfo, context: Context) -> str | None:
    """DEPTHWISE_CONV_2D: tensors of rank 4 whose channels follow from the multiplier."""
    tensors = [op.inputs[0], op.inputs[1], op.outputs[0]]
    if any(tensor is None or len(tensor.shape) != NHWC_RANK for tensor in tensors):
        return "an input, weights or output of another rank than 4"
    return up_to_two_inputs(op, context)


def _flowing(op: OpInfo) -> int:
    return sum(1 for tensor in op.inputs if tensor is not None and not tensor.constant)


GPU_CHECKS = {
    "gpu-one-input": one_input,
    "gpu-up-to-two-inputs": up_to_two_inputs,
    "gpu-two-operands": two_operands,
    "gpu-broadcast": broadcast,
    "gpu-constant-axes": constant_axes,
    "gpu-padded-shape": padded_shape,
    "gpu-depthwise": depthwise,
}
"""Name in ``targets/rules/gpu.toml`` -> check."""

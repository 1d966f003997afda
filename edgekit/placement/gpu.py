"""What TFLite's GPU delegate asks of an op beyond dtypes and options: the checks of ``targets/rules/gpu.toml``.

Source: ``NewOperationParser`` and ``GetOpsToReplace`` of LiteRT, tflite/delegates/gpu/common/model_builder.cc, and
``CheckGpuDelegateCompatibility``, tflite/tools/versioning/gpu_compatibility.cc, which they ask. What a GPU driver then
refuses is not known before it runs.
"""

import math

from edgekit.placement.context import Context
from edgekit.placement.operands import NHWC_RANK
from edgekit_converters.structure import OpInfo

PAIR = 2
FLOATS = frozenset({"float32", "float16"})


def four_axes(op: OpInfo, context: Context) -> str | None:  # noqa: ARG001 - a check
    """Every op: no tensor of rank 5 or more, constants too."""
    ranks = [len(tensor.shape) for tensor in (*op.inputs, *op.outputs) if tensor is not None]
    return f"a tensor of rank {max(ranks)}, taken are at most {NHWC_RANK}" if max(ranks) > NHWC_RANK else None


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
    data, weights, *bias = op.inputs
    shapes = [() if tensor is None else tensor.shape for tensor in (data, weights, op.outputs[0])]
    if any(len(shape) != NHWC_RANK for shape in shapes):
        return "an input, weights or output of another rank than 4"
    channels = shapes[-1][-1]
    counts = [shapes[1][-1], shapes[0][-1] * int(str(op.options.get("depthMultiplier", 1)))]
    counts += [math.prod(tensor.shape) for tensor in bias if tensor is not None]
    if set(counts) != {channels}:
        return f"{channels} channels, which the input, the weights and the bias do not have"
    return up_to_two_inputs(op, context)


def dense(op: OpInfo, context: Context) -> str | None:
    """FULLY_CONNECTED: a rank that stays, where it is asked to keep it."""
    data, result = op.inputs[0], op.outputs[0]
    if op.options.get("keepNumDims") and data is not None and len(data.shape) != len(result.shape):
        return f"keepNumDims with ranks {len(data.shape)} and {len(result.shape)}"
    return up_to_two_inputs(op, context)


def products(op: OpInfo, context: Context) -> str | None:  # noqa: ARG001 - a check
    """BATCH_MATMUL: of a constant only as the second operand, a matrix; any other fails when the graph is built."""
    first, second = op.inputs
    if first is None or first.constant or second is None or (second.constant and len(second.shape) != PAIR):
        return "a constant operand that is not a matrix on the right"
    return None


def feeds_floats(op: OpInfo, context: Context) -> str | None:
    """Comparisons: of two operands, floats or 8 bits, read once, by a CAST or SELECT that makes floats."""
    if any(tensor is not None and tensor.dtype == "bool" for tensor in op.inputs):
        return "bool operands"
    readers = context.readers.get(op.outputs[0].index, ())
    if len(readers) != 1 or readers[0].name not in {"CAST", "SELECT", "SELECT_V2"}:
        return "a result that is not read by one CAST or SELECT"
    made = readers[0].outputs[0].dtype
    return None if made in FLOATS else f"a result that becomes {made}"


def cast(op: OpInfo, context: Context) -> str | None:
    """CAST: between bool and floats, or among int32 and float32; a bool that is read once, for floats read once."""
    data, result = op.inputs[0], op.outputs[0]
    if data is None or one_input(op, context):
        return one_input(op, context)
    if data.dtype == "bool" and result.dtype in FLOATS:
        once = len(context.readers.get(data.index, ())) == 1 == len(context.readers.get(result.index, ()))
        return None if once and context.maker(data) else "a bool or its floats that are not read by one op"
    if data.dtype in FLOATS and result.dtype == "bool":
        return None
    taken = {data.dtype, result.dtype} <= {"int32", "float32"}
    return None if taken else f"a cast of {data.dtype} to {result.dtype}"


def chosen(op: OpInfo, context: Context) -> str | None:  # noqa: ARG001 - a check
    """SELECT: both sides of the output's shape, or single numbers; no constant matrix."""
    for side in op.inputs[1:]:
        if side is None or (side.constant and len(side.shape) == PAIR):
            return "a constant matrix to choose from"
        if side.shape not in {(), (1,), op.outputs[0].shape}:
            return f"data of shape {list(side.shape)} for an output {list(op.outputs[0].shape)}"
    return None


def indices(op: OpInfo, context: Context) -> str | None:  # noqa: ARG001 - a check
    """GATHER: data that is no constant, a vector of int32 indices."""
    data, at = op.inputs
    if data is None or data.constant or at is None or len(at.shape) != 1 or at.dtype != "int32":
        return "constant data, or indices that are no vector of int32"
    return None


def _flowing(op: OpInfo) -> int:
    return sum(1 for tensor in op.inputs if tensor is not None and not tensor.constant)


GPU_CHECKS = {
    "gpu-four-axes": four_axes,
    "gpu-one-input": one_input,
    "gpu-up-to-two-inputs": up_to_two_inputs,
    "gpu-two-operands": two_operands,
    "gpu-broadcast": broadcast,
    "gpu-constant-axes": constant_axes,
    "gpu-padded-shape": padded_shape,
    "gpu-depthwise": depthwise,
    "gpu-dense": dense,
    "gpu-products": products,
    "gpu-feeds-floats": feeds_floats,
    "gpu-cast": cast,
    "gpu-chosen": chosen,
    "gpu-indices": indices,
}
"""Name in ``targets/rules/gpu.toml`` -> check."""

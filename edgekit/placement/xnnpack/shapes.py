"""Shapes, axes, windows and parameters."""

from edgekit.placement.context import Context
from edgekit.placement.xnnpack.operands import WEIGHTS_AT, input_at
from edgekit_converters.structure import OpInfo

CLAMPS = ("NONE", "RELU", "RELU_N1_TO_1", "RELU6")
SPARSE_VERSION = 8
MAX_RANK = 6
"""XNN_MAX_TENSOR_DIMS."""
PARAMETERS = {
    **dict.fromkeys(("MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN", "PAD", "RESHAPE", "RESIZE_BILINEAR"), (1,)),
    "TRANSPOSE": (1,),
    "SLICE": (1, 2),
    "STRIDED_SLICE": (1, 2, 3),
    "SPLIT": (0,),
    "TRANSPOSE_CONV": (0,),
}
"""Op -> positions of the inputs that are parameters."""
PARAMETER_DTYPES = {"SLICE": {"int32", "int64"}}


def extent(op: OpInfo, context: Context) -> str | None:  # noqa: ARG001 - a check
    """At most six dimensions, none of them empty."""
    for tensor in (*op.inputs, *op.outputs):
        if tensor is not None and len(tensor.shape) > MAX_RANK:
            return f"a tensor of rank {len(tensor.shape)}, taken are up to {MAX_RANK}"
        if tensor is not None and 0 in tensor.shape:
            return "a tensor without elements"
    return None


def clamp(op: OpInfo, context: Context) -> str | None:  # noqa: ARG001 - a check
    """A fused activation is one that only clamps; a file that names none means NONE."""
    fused = op.options.get("fusedActivationFunction", "NONE")
    return None if fused in CLAMPS else f"the fused activation {fused}, taken are {', '.join(CLAMPS)}"


def dense(op: OpInfo, context: Context) -> str | None:  # noqa: ARG001 - a check
    """FULLY_CONNECTED: not the version that stands for sparse weights."""
    return (
        f"version {SPARSE_VERSION} of the operator, which has sparse weights" if op.version == SPARSE_VERSION else None
    )


def pool_window(op: OpInfo, context: Context) -> str | None:  # noqa: ARG001 - a check
    """Every element is in some window."""
    options = op.options
    for length, stride in (("filterWidth", "strideW"), ("filterHeight", "strideH")):
        if options.get(stride, 0) > options.get(length, 0):
            return f"{stride} {options.get(stride)} over {length} {options.get(length)}: it leaves elements out"
    return None


def constant_parameters(op: OpInfo, context: Context) -> str | None:  # noqa: ARG001 - a check
    """Axes, sizes, paddings, a permutation: in the file, not computed."""
    for at in PARAMETERS[op.name]:
        tensor = input_at(op, at)
        if tensor is not None and not tensor.constant:
            return "a parameter that is computed when it runs, taken are constants"
        if tensor is not None and tensor.dtype not in PARAMETER_DTYPES.get(op.name, {"int32"}):
            return f"a parameter of dtype {tensor.dtype}, taken is int32"
    return None


def axes_count(op: OpInfo, context: Context) -> str | None:  # noqa: ARG001 - a check
    """MEAN, SUM, REDUCE_MAX, REDUCE_MIN: over at most six axes."""
    axes = input_at(op, 1)
    count = 0 if axes is None or axes.values is None else len(axes.values)
    return None if count <= MAX_RANK else f"{count} axes, taken are up to {MAX_RANK}"


def some_known_size(op: OpInfo, context: Context) -> str | None:  # noqa: ARG001 - a check
    """RESHAPE: the new shape is more than a single -1."""
    shape = input_at(op, 1)
    new = op.options.get("newShape") if shape is None else shape.values
    return "a new shape that is -1 alone" if new is not None and tuple(new) == (-1,) else None


def positive_sizes(op: OpInfo, context: Context) -> str | None:  # noqa: ARG001 - a check
    """SLICE: sizes are written out, none is -1."""
    sizes = input_at(op, 2)
    open_ones = sizes is not None and sizes.values is not None and any(size <= 0 for size in sizes.values)
    return "a size of -1" if open_ones else None


def unit_strides(op: OpInfo, context: Context) -> str | None:  # noqa: ARG001 - a check
    """STRIDED_SLICE: every stride is 1."""
    strides = input_at(op, 3)
    other = strides is not None and strides.values is not None and any(stride != 1 for stride in strides.values)
    return "a stride other than 1" if other else None


def input_count(op: OpInfo, context: Context) -> str | None:  # noqa: ARG001 - a check
    """CONCATENATION of two to five tensors."""
    return None if 2 <= len(op.inputs) <= 5 else f"{len(op.inputs)} inputs, taken are 2 to 5"  # noqa: PLR2004


def output_count(op: OpInfo, context: Context) -> str | None:  # noqa: ARG001 - a check
    """SPLIT into two to four tensors."""
    return None if 2 <= len(op.outputs) <= 4 else f"{len(op.outputs)} outputs, taken are 2 to 4"  # noqa: PLR2004


def divides(op: OpInfo, context: Context) -> str | None:  # noqa: ARG001 - a check
    """SPACE_TO_DEPTH: height and width are whole blocks."""
    first, block = op.inputs[0], int(op.options.get("blockSize", 0))
    whole = first is not None and block > 0 and all(size % block == 0 for size in first.shape[1:3])
    return None if whole else "a height or width that is no multiple of the block"


def whole_strides(op: OpInfo, context: Context) -> str | None:  # noqa: ARG001 - a check
    """TRANSPOSE_CONV: the input is as large as its padding says, and no stride leaves a gap."""
    shape, weights, data = input_at(op, 0), input_at(op, WEIGHTS_AT), input_at(op, 2)
    if shape is None or shape.values is None or weights is None or data is None:
        return None
    for axis, name in ((1, "strideH"), (2, "strideW")):
        kernel, stride, size = weights.shape[axis], op.options.get(name, 1), shape.values[axis]
        if op.options.get("padding") == "VALID" and kernel > size:
            return f"a kernel of {kernel} over an output of {size}"
        if op.options.get("padding") == "SAME" and -(-size // stride) != data.shape[axis]:
            return f"an output of {size} from an input of {data.shape[axis]} with {name} {stride}"
        if op.options.get("padding") == "SAME" and kernel < stride:
            return f"{name} {stride} over a kernel of {kernel}"
    return None

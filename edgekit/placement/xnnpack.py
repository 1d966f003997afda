"""What XNNPACK asks of an op beyond its dtypes and options: the checks that ``targets/rules/xnnpack.toml`` names.

Read from the delegate of LiteRT (tflite/delegates/xnnpack/xnnpack_delegate.cc) and held against what ai-edge-litert
2.3.0 reports, op for op, by ``benchmarks/placement_truth.py``. Each check returns None where the op holds to it, else
the reason it does not, as the end of a sentence about the op.
"""

import math
import sys
from collections.abc import Iterator

from edgekit.errors import ModelError
from edgekit.placement.context import Context
from edgekit_converters.structure import OpInfo, TensorInfo

EIGHT_BITS = frozenset({"int8", "uint8"})
WEIGHTS_AT = 1
WEIGHTED = frozenset({"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV", "BATCH_MATMUL"})
"""Ops whose second input may have a scale per channel."""
HALF_READERS = frozenset({"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"})
CLAMPS = ("NONE", "RELU", "RELU_N1_TO_1", "RELU6")
SPARSE_VERSION = 8
MAX_RANK = 6
"""XNN_MAX_TENSOR_DIMS."""
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


def constant_weights(op: OpInfo, context: Context) -> str | None:
    """The weights do not change from one inference to the next."""
    weights = _input(op, WEIGHTS_AT)
    return None if _settled(weights, context) else "weights that another op or the caller gives, taken are constants"


def channel_weights(op: OpInfo, context: Context) -> str | None:  # noqa: ARG001 - a check
    """Scales of the weights stand along the axis that the kernels have them for."""
    weights = _input(op, WEIGHTS_AT)
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
    first, weights = _input(op, 0), _input(op, WEIGHTS_AT)
    if weights is None or weights.dtype != "int8":
        return None
    shift = next(filter(None, weights.zero_points), 0)
    if shift and (weights.scales > 1 or op.name in {"FULLY_CONNECTED", "BATCH_MATMUL"}):
        return f"int8 weights with the zero point {shift}, taken is 0"
    if op.name == "BATCH_MATMUL" and first is not None and first.dtype == "int8" and weights.scales != 1:
        return "an int8 operand with a scale per channel, taken is one"
    return None


def constant_bias(op: OpInfo, context: Context) -> str | None:
    """CONV_2D and DEPTHWISE_CONV_2D: there is a bias, and it is a constant."""
    bias = _input(op, 2)
    if bias is None:
        return "no bias"
    return _bias(bias, context)


def optional_bias(op: OpInfo, context: Context) -> str | None:
    """FULLY_CONNECTED and TRANSPOSE_CONV: a bias that is there is a constant."""
    bias = _input(op, 3 if op.name == "TRANSPOSE_CONV" else 2)
    return None if bias is None else _bias(bias, context)


def half_bias(op: OpInfo, context: Context) -> str | None:
    """A bias that is kept in float16 has weights that are, too."""
    alone = _stays_half(_input(op, 2), context) and not _stays_half(_input(op, WEIGHTS_AT), context)
    return "a float16 bias beside weights that are not float16, or that other ops read, too" if alone else None


def _stays_half(tensor: TensorInfo | None, context: Context) -> bool:
    """A float16 constant that is not widened, as only convolutions and FULLY_CONNECTED read it, and not as data."""
    maker = context.maker(tensor)
    if tensor is None or maker is None or not _unpacks(maker, context) or maker.inputs[0].dtype != "float16":
        return False
    readers = context.readers.get(tensor.index, ())
    return all(reader.name in HALF_READERS and reader.inputs[0] != tensor for reader in readers)


def even_depth(op: OpInfo, context: Context) -> str | None:  # noqa: ARG001 - a check
    """FULLY_CONNECTED with int4 weights: two of them fill a byte."""
    weights = _input(op, WEIGHTS_AT)
    odd = weights is not None and weights.dtype == "int4" and bool(weights.shape[-1] % 2)
    return "int4 weights for an odd number of inputs" if odd else None


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
        tensor = _input(op, at)
        if tensor is not None and not tensor.constant:
            return "a parameter that is computed when it runs, taken are constants"
        if tensor is not None and tensor.dtype not in PARAMETER_DTYPES.get(op.name, {"int32"}):
            return f"a parameter of dtype {tensor.dtype}, taken is int32"
    return None


def axes_count(op: OpInfo, context: Context) -> str | None:  # noqa: ARG001 - a check
    """MEAN, SUM, REDUCE_MAX, REDUCE_MIN: over at most six axes."""
    axes = _input(op, 1)
    count = 0 if axes is None or axes.values is None else len(axes.values)
    return None if count <= MAX_RANK else f"{count} axes, taken are up to {MAX_RANK}"


def some_known_size(op: OpInfo, context: Context) -> str | None:  # noqa: ARG001 - a check
    """RESHAPE: the new shape is more than a single -1."""
    shape = _input(op, 1)
    new = op.options.get("newShape") if shape is None else shape.values
    return "a new shape that is -1 alone" if new is not None and tuple(new) == (-1,) else None


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


def positive_sizes(op: OpInfo, context: Context) -> str | None:  # noqa: ARG001 - a check
    """SLICE: sizes are written out, none is -1."""
    sizes = _input(op, 2)
    open_ones = sizes is not None and sizes.values is not None and any(size <= 0 for size in sizes.values)
    return "a size of -1" if open_ones else None


def unit_strides(op: OpInfo, context: Context) -> str | None:  # noqa: ARG001 - a check
    """STRIDED_SLICE: every stride is 1."""
    strides = _input(op, 3)
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
    shape, weights, data = _input(op, 0), _input(op, WEIGHTS_AT), _input(op, 2)
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


def variable(op: OpInfo, context: Context) -> str | None:
    """READ_VARIABLE and ASSIGN_VARIABLE: float or eight bits, and of one dtype and shape for each variable."""
    handle = context.maker(_input(op, 0))
    if handle is None or handle.name != "VAR_HANDLE":
        return "a variable that another subgraph or the caller gives"
    users = [user for user in context.readers[handle.outputs[0].index] if _holds(user)]
    if op not in users:
        return "a variable that is neither float32 nor 8 bits, or has no dimension where it is read"
    first, value = _value(users[0]), _value(op)
    same = (first.dtype, first.shape) == (value.dtype, value.shape)
    return None if same else f"a variable of shape {value.shape}, where {users[0].name} has {first.shape}"


def used_variable(op: OpInfo, context: Context) -> str | None:
    """VAR_HANDLE: goes with the ops that read and write the variable."""
    return None if any(map(context.fits, _readers(op, context))) else "no op that is taken reads or writes it"


def _holds(op: OpInfo) -> bool:
    if op.name not in {"READ_VARIABLE", "ASSIGN_VARIABLE"}:
        return False
    return _value(op).dtype in {"float32", *EIGHT_BITS} and (op.name == "ASSIGN_VARIABLE" or bool(_value(op).shape))


def _value(op: OpInfo) -> TensorInfo:
    value = op.outputs[0] if op.name == "READ_VARIABLE" else op.inputs[1]
    if value is None:
        raise ModelError(
            f"Op {op.index} ({op.name}) of the model has no value.", hint="The file is damaged; convert it again."
        )
    return value


def unpacked(op: OpInfo, context: Context) -> str | None:
    """DEQUANTIZE and DENSIFY of a constant: done once, where every op that reads the result is taken."""
    if not _unpacks(op, context):
        return "data that is no constant"
    left = next(
        (reader for reader in _readers(op, context) if not _unpacks(reader, context) and not context.fits(reader)), None
    )
    return None if left is None else f"{left.name} reads it and is not taken"


def not_unpacked(op: OpInfo, context: Context) -> str | None:
    """DEQUANTIZE of what flows: a constant is unpacked, or stays with the op that reads it."""
    return "a constant" if _unpacks(op, context) else None


def _readers(op: OpInfo, context: Context) -> Iterator[OpInfo]:
    for tensor in op.outputs:
        yield from context.readers.get(tensor.index, ())


def _unpacks(op: OpInfo, context: Context) -> bool:
    """A constant of fewer bits that the delegate turns into one of more when it is made."""
    first = _input(op, 0)
    if op.name not in {"DEQUANTIZE", "DENSIFY"} or first is None or not _settled(first, context, before=op.index):
        return False
    return op.name == "DENSIFY" or first.dtype == "float16" or (first.dtype == "int8" and first.scales > 0)


def _settled(tensor: TensorInfo | None, context: Context, *, before: int = sys.maxsize) -> bool:
    """A constant, or made from one by an op that the delegate does away with."""
    if tensor is None or tensor.constant:
        return tensor is not None
    maker = context.maker(tensor)
    return maker is not None and maker.index < before and _unpacks(maker, context)


def _bias(bias: TensorInfo, context: Context) -> str | None:
    if not _settled(bias, context):
        return "a bias that another op or the caller gives, taken are constants"
    if bias.dtype not in {"float32", "float16", "int32"}:
        return f"a bias of dtype {bias.dtype}"
    if bias.dtype == "int32" and (bias.scales == 0 or bias.quantized_dimension):
        return "an int32 bias without a scale"
    return None


def _channel_axis(op: OpInfo, rank: int) -> int:
    if op.name == "BATCH_MATMUL":
        return rank - (2 if op.options.get("adjY") else 1)
    return 3 if op.name == "DEPTHWISE_CONV_2D" else 0


def _input(op: OpInfo, at: int) -> TensorInfo | None:
    return op.inputs[at] if at < len(op.inputs) else None


def _float32(value: float) -> float:
    """As the delegate computes: in single precision, which decides at the very edge of a range."""
    import numpy as np

    return float(np.float32(value))


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

XNNPACK_CHECKS = {
    "per-tensor": per_tensor,
    "extent": extent,
    "clamp": clamp,
    "dense": dense,
    "symmetric-weights": symmetric_weights,
    "whole-strides": whole_strides,
    "constant-weights": constant_weights,
    "channel-weights": channel_weights,
    "constant-bias": constant_bias,
    "optional-bias": optional_bias,
    "half-bias": half_bias,
    "even-depth": even_depth,
    "pool-window": pool_window,
    "constant-parameters": constant_parameters,
    "axes-count": axes_count,
    "some-known-size": some_known_size,
    "same-scale": same_scale,
    "same-unsigned-scale": same_unsigned_scale,
    "add-ratio": add_ratio,
    "multiply-ratio": multiply_ratio,
    "convert-ratio": convert_ratio,
    "slope": slope,
    "positive-sizes": positive_sizes,
    "unit-strides": unit_strides,
    "input-count": input_count,
    "output-count": output_count,
    "divides": divides,
    "variable": variable,
    "used-variable": used_variable,
    "not-unpacked": not_unpacked,
    "unpacked": unpacked,
}

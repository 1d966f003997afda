"""What Arm's Vela asks of an op beyond its dtypes and options: the checks that ``targets/rules/ethos-u*.toml`` name.

Read from ``vela --supported-ops-report`` of Vela 5.2.0 and tried against what that version places on the NPU. Axes are
named as there: a shape counts as (N, H, W, C), with ones in front where its rank is less than 4. Limits on the values
of weights and of int64 biases are left out: a model that reaches them is broken for other reasons.
"""

import math

from edgekit.placement.context import Context
from edgekit.placement.operands import NHWC_RANK, axes_of, computed_parameters, nhwc
from edgekit.placement.vela_resize import upscale, upscale_u85
from edgekit_converters.structure import OpInfo, TensorInfo

QUANTIZED = frozenset({"int8", "uint8", "int16"})
MAX_POOL_KERNEL, MAX_POOL_HEIGHT, MAX_PADDED_KERNEL = 256 * 256, 256, 8
MAX_REDUCED = {"int8": 2**24, "uint8": 2**23, "int16": 2**16}
"""Elements that one MEAN may reduce."""
MAX_REDUCED_AXIS = 4096
MAX_AXIS = 2**16


def shaped(op: OpInfo, context: Context) -> str | None:  # noqa: ARG001 - a check
    """No tensor is a scalar, unless it is a constant; Vela calls it shapeless."""
    data = [tensor for tensor in (*op.inputs, *op.outputs) if tensor is not None and not tensor.constant]
    return "a scalar, taken are tensors of rank 1 or more" if any(not tensor.shape for tensor in data) else None


def quantized(op: OpInfo, context: Context) -> str | None:
    """Every integer tensor that carries real numbers has a positive scale, and none is a scalar."""
    scalar = shaped(op, context)
    if scalar is not None:
        return scalar
    for tensor in (*op.inputs[:2], *op.outputs):
        if tensor is not None and tensor.dtype in QUANTIZED and not _positive(tensor):
            return f"{tensor.dtype} data without a positive scale"
    return None


def no_activation(op: OpInfo, context: Context) -> str | None:  # noqa: ARG001 - a check
    """None is fused into the op."""
    fused = op.options.get("fusedActivationFunction", "NONE")
    return None if fused == "NONE" else f"{fused} fused into an op on int32 data"


def per_tensor(op: OpInfo, context: Context) -> str | None:  # noqa: ARG001 - a check
    """No scale per channel outside of weights."""
    tensors = [tensor for tensor in (*op.inputs, *op.outputs) if tensor is not None]
    return "a scale per channel" if any(tensor.scales > 1 for tensor in tensors) else None


def constant_bias(op: OpInfo, context: Context) -> str | None:  # noqa: ARG001 - a check
    """A bias that is there is constant, int32 or int64, one number a channel."""
    bias = op.inputs[_bias_at(op)] if len(op.inputs) > _bias_at(op) else None
    if bias is None:
        return None
    if not bias.constant:
        return "a bias that another op makes, taken are constants"
    if bias.dtype not in {"int32", "int64"}:
        return f"a bias of dtype {bias.dtype}"
    return None if math.prod(bias.shape) == max(bias.shape, default=1) else f"a bias of shape {list(bias.shape)}"


def constant_parameters(op: OpInfo, context: Context) -> str | None:  # noqa: ARG001 - a check
    """Axes, begins, sizes, paddings, permutations are in the file."""
    return computed_parameters(op)


def same_quantization(op: OpInfo, context: Context) -> str | None:  # noqa: ARG001 - a check
    """Inputs and output have one scale and zero point."""
    found = {(t.scales_values, t.zero_point) for t in (*op.inputs, *op.outputs) if t is not None}
    return "inputs with another scale or zero point than the output" if len(found) > 1 else None


def same_shape(op: OpInfo, context: Context) -> str | None:  # noqa: ARG001 - a check
    """One dtype and one shape in and out."""
    first, result = op.inputs[0], op.outputs[0]
    if first is None or (first.dtype, first.shape) != (result.dtype, result.shape):
        return "an output of another dtype or shape than the input"
    return None


def pool_kernel(op: OpInfo, context: Context) -> str | None:
    """Average pooling: at most 256 high and 65536 in all; with SAME padding 8 by 8."""
    height, width = int(op.options.get("filterHeight", 0)), int(op.options.get("filterWidth", 0))
    if op.options.get("padding") == "SAME" and max(height, width) > MAX_PADDED_KERNEL:
        return f"a window of {height} by {width} with SAME padding, taken is up to 8 by 8"
    return max_pool_kernel(op, context)


def max_pool_kernel(op: OpInfo, context: Context) -> str | None:  # noqa: ARG001 - a check
    """At most 256 high and 65536 in all."""
    height, width = int(op.options.get("filterHeight", 0)), int(op.options.get("filterWidth", 0))
    if height > MAX_POOL_HEIGHT or height * width > MAX_POOL_KERNEL:
        return f"a window of {height} by {width}, taken is up to 256 high and 65536 in all"
    return None


def dense_weights(op: OpInfo, context: Context) -> str | None:  # noqa: ARG001 - a check
    """FULLY_CONNECTED: constant weights of (outputs, 1, ..., inputs)."""
    weights = op.inputs[1] if len(op.inputs) > 1 else None
    if weights is None:
        return "no weights"
    return None if math.prod(weights.shape[1:-1]) == 1 else f"weights of shape {list(weights.shape)}"


def products_of_int8(op: OpInfo, context: Context) -> str | None:  # noqa: ARG001 - a check
    """A product of two activations: int8, no axis beyond 65536."""
    second = op.inputs[1] if len(op.inputs) > 1 else None
    if second is None or (second.constant and op.name == "FULLY_CONNECTED"):
        return None
    if any(tensor is not None and tensor.dtype != "int8" for tensor in op.inputs[:2]):
        return "a product of two activations that are not int8"
    if max((*op.outputs[0].shape[-1:], *second.shape[-2:]), default=0) > MAX_AXIS:
        return "a product of more than 65536 columns"
    return None


def gather_axis(op: OpInfo, context: Context) -> str | None:  # noqa: ARG001 - a check
    """GATHER: along the first axis that is no batch dimension."""
    axis, batches = op.options.get("axis", 0), op.options.get("batchDims", 0)
    return None if axis == batches else f"GATHER along axis {axis} with {batches} batch dimensions"


def softmax_area(op: OpInfo, context: Context) -> str | None:  # noqa: ARG001 - a check
    """Height times width of the input below 65536."""
    _, height, width, _ = nhwc(op.inputs[0])
    return None if height * width < MAX_AXIS else f"{height * width} vectors at once, taken are fewer than 65536"


def mean(op: OpInfo, context: Context) -> str | None:
    """One batch, constant axes, no axis of 4096 or more; over channels only where two of H, W, C are 1."""
    first, axes = op.inputs[0], axes_of(op)
    if first is None or axes is None:
        return constant_parameters(op, context) or "axes that are not in the file"
    batch, height, width, channels = nhwc(first)
    if batch != 1 or len(first.shape) > NHWC_RANK:
        return f"a batch of {batch}"
    sizes = [first.shape[axis] for axis in axes if axis < len(first.shape)]
    if max(sizes, default=1) >= MAX_REDUCED_AXIS:
        return f"MEAN over an axis of {max(sizes)}, taken are fewer than {MAX_REDUCED_AXIS}"
    if math.prod(sizes) > MAX_REDUCED.get(first.dtype, 0):
        return f"MEAN over {math.prod(sizes)} elements"
    if len(first.shape) - 1 in axes and 1 not in (height, width, channels):
        return f"MEAN over the channels of an input {list(first.shape)}"
    return None


def permutation_of_int32(op: OpInfo, context: Context) -> str | None:  # noqa: ARG001 - a check
    """TRANSPOSE of int32: of the orders of H, W and C only those that the Ethos-U55 moves by itself."""
    first, order = op.inputs[0], op.inputs[1]
    if first is None or order is None or order.values is None:
        return "a permutation that is not in the file"
    grown = NHWC_RANK - len(order.values)
    full = (*range(grown), *(axis % len(order.values) + grown for axis in order.values))
    batch, height, width, channels = nhwc(first)
    limits = {
        (0, 1, 2, 3): channels <= MAX_AXIS,
        (0, 2, 1, 3): batch == 1 and max(height, width) <= MAX_AXIS and channels <= MAX_AXIS // 4,
        (0, 1, 3, 2): max(batch * height, width, channels) <= MAX_AXIS,
    }
    return None if limits.get(full, False) else f"the permutation {list(order.values)} of int32 data"


def last_axis(op: OpInfo, context: Context) -> str | None:
    """ARG_MAX: over the channels, of which there are at most 127."""
    first, axes = op.inputs[0], axes_of(op)
    if first is None or axes is None:
        return constant_parameters(op, context) or "an axis that is not in the file"
    if axes != (len(first.shape) - 1,):
        return "another axis than the last"
    return None if first.shape[-1] <= _MAX_ARGMAX_DEPTH else f"{first.shape[-1]} channels, taken are up to 127"


def unit_slices(op: OpInfo, context: Context) -> str | None:
    """STRIDED_SLICE: constant, no stride below 1, and one above only over height and width."""
    if constant_parameters(op, context):
        return constant_parameters(op, context)
    strides = op.inputs[3].values if len(op.inputs) > _STRIDES_AT and op.inputs[3] is not None else None
    if strides is None or min(strides) < 1:
        return "a negative stride"
    others = (*strides[:-_HWC], *strides[-1:])
    return None if set(others) <= {1} else "a stride over another axis than height and width"


def transposed_size(op: OpInfo, context: Context) -> str | None:  # noqa: ARG001 - a check
    """TRANSPOSE_CONV: the output is the input times the stride, plus what the kernel adds with VALID padding."""
    weights, data = op.inputs[1], op.inputs[2]
    strides = (int(op.options.get("strideH", 0)), int(op.options.get("strideW", 0)))
    if weights is None or data is None or 0 in strides:
        return "a kernel that is not known"
    for size, kernel, stride, out in zip(
        data.shape[1:3], weights.shape[1:3], strides, op.outputs[0].shape[1:3], strict=False
    ):
        grown = 0 if op.options.get("padding") == "SAME" else max(kernel - stride, 0)
        if out != size * stride + grown:
            return f"an output of {out} from an input of {size} with the stride {stride}"
    return None


def transposed_stride(op: OpInfo, context: Context) -> str | None:  # noqa: ARG001 - a check
    """TRANSPOSE_CONV on Ethos-U55 and U65: a stride of 1 or 2; one of each only where the other axis is 1."""
    weights, data = op.inputs[1], op.inputs[2]
    height, width = int(op.options.get("strideH", 0)), int(op.options.get("strideW", 0))
    if weights is None or data is None:
        return "a kernel that is not known"
    flat = {(1, 2): data.shape[1] == weights.shape[1] == 1, (2, 1): data.shape[2] == weights.shape[2] == 1}
    taken = (height, width) in {(1, 1), (2, 2)} or flat.get((height, width), False)
    return None if taken else f"a stride of {height} by {width}, taken are 1 by 1 and 2 by 2"


def plain_lstm(op: OpInfo, context: Context) -> str | None:  # noqa: ARG001 - a check
    """No coupled gates, peepholes, projection or normalization."""
    given = [tensor is not None for tensor in op.inputs]
    for name, places in _LSTM_EXTRAS.items():
        if any(given[at] for at in places if at < len(given)):
            return f"an LSTM with {name}"
    return None if len(given) > 1 and given[1] else "an LSTM with coupled input and forget gates"


def _positive(tensor: TensorInfo) -> bool:
    return bool(tensor.scales_values) and all(scale > 0 for scale in tensor.scales_values)


def _bias_at(op: OpInfo) -> int:
    return 3 if op.name == "TRANSPOSE_CONV" else 2


_STRIDES_AT = 3
_HWC = 3
_MAX_ARGMAX_DEPTH = 127
_LSTM_EXTRAS = {"peepholes": (9, 10, 11), "a projection": (16, 17), "normalized gates": (20, 21, 22, 23)}
"""Positions of inputs of UNIDIRECTIONAL_SEQUENCE_LSTM."""

VELA_CHECKS = {
    "ethos-shaped": shaped,
    "ethos-quantized": quantized,
    "ethos-no-activation": no_activation,
    "ethos-per-tensor": per_tensor,
    "ethos-constant-bias": constant_bias,
    "ethos-constant-parameters": constant_parameters,
    "ethos-same-quantization": same_quantization,
    "ethos-same-shape": same_shape,
    "ethos-pool-kernel": pool_kernel,
    "ethos-max-pool-kernel": max_pool_kernel,
    "ethos-dense-weights": dense_weights,
    "ethos-products-of-int8": products_of_int8,
    "ethos-gather-axis": gather_axis,
    "ethos-softmax-area": softmax_area,
    "ethos-mean": mean,
    "ethos-permutation-of-int32": permutation_of_int32,
    "ethos-last-axis": last_axis,
    "ethos-unit-slices": unit_slices,
    "ethos-upscale": upscale,
    "ethos-upscale-u85": upscale_u85,
    "ethos-transposed-size": transposed_size,
    "ethos-transposed-stride": transposed_stride,
    "ethos-plain-lstm": plain_lstm,
}
"""Name in ``targets/rules/ethos-u*.toml`` -> check."""

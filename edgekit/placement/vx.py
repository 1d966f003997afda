"""What the VX delegate of VeriSilicon NPUs asks of an op beyond dtypes and options: the checks of ``vx.toml``.

Source: ``IsSupported`` and ``IsOpSupported`` of NXP's fork, which i.MX boards have: op_map.cc of
https://github.com/nxp-imx/tflite-vx-delegate-imx. What the NPU's driver then refuses is not known before it runs.
"""

from edgekit.placement.context import Context
from edgekit.placement.operands import NHWC_RANK
from edgekit_converters.structure import OpInfo, TensorInfo

MAX_RANK, MAX_SIZE = 6, 65_535
OUTPUT_STATE, CELL_STATE = 18, 19
"""Inputs of an LSTM in TFLite's order, tflite/kernels/lstm_shared.h."""
BITS8 = frozenset({"int8", "uint8"})


def tensors(op: OpInfo, context: Context) -> str | None:  # noqa: ARG001 - a check
    """Every op: the dtypes, ranks and sizes of its tensors, constants too."""
    for tensor in (each for each in op.inputs if each is not None):
        if tensor.dtype in {"int64", "string"}:
            return f"an input of {tensor.dtype}"
        if len(tensor.shape) > MAX_RANK:
            return f"an input of rank {len(tensor.shape)}, taken are at most {MAX_RANK}"
        if any(size > MAX_SIZE for size in tensor.shape[1:]):
            return f"an input {list(tensor.shape)}, of which only the first dimension may be larger than {MAX_SIZE}"
    if any(tensor.dtype in {"int16", "int64"} for tensor in op.outputs):
        return f"an output of {op.outputs[0].dtype}"
    empty = any(0 in tensor.shape for tensor in (*op.inputs, *op.outputs) if tensor is not None)
    return "a tensor without elements" if empty else None


def shaped_output(op: OpInfo, context: Context) -> str | None:
    """No scalar comes out: the delegate takes its shape for one that is not known yet."""
    return tensors(op, context) or (None if op.outputs[0].shape else "a scalar output")


def one_dtype(op: OpInfo, context: Context) -> str | None:
    """Convolutions and dense layers: weights of the data's dtype."""
    data, weights = op.inputs[0], op.inputs[1]
    if data is not None and weights is not None and data.dtype != weights.dtype:
        return f"{weights.dtype} weights with {data.dtype} data"
    return tensors(op, context)


def convolution(op: OpInfo, context: Context) -> str | None:
    """CONV_2D: groups only with a batch of 1."""
    data, weights = op.inputs[0], op.inputs[1]
    groups = data is not None and weights is not None and data.shape[-1:] != weights.shape[-1:]
    if data is not None and groups and data.shape[:1] != (1,):
        return f"groups with a batch of {data.shape[0]}"
    return one_dtype(op, context)


def constant_weights(op: OpInfo, context: Context) -> str | None:
    """CONV_3D: weights in the file."""
    weights = op.inputs[1]
    if weights is not None and not weights.constant:
        return "weights that another op computes"
    return one_dtype(op, context)


def no_relu1_of_int32(op: OpInfo, context: Context) -> str | None:
    """ADD, SUB, MUL, DIV: not RELU_N1_TO_1 on int32."""
    data = op.inputs[0]
    if op.options.get("fusedActivationFunction") == "RELU_N1_TO_1" and data is not None and data.dtype == "int32":
        return "RELU_N1_TO_1 fused into an op on int32 data"
    return tensors(op, context)


def power(op: OpInfo, context: Context) -> str | None:
    """POW: not of two int32."""
    both = all(tensor is not None and tensor.dtype == "int32" for tensor in op.inputs)
    return "int32 base and exponent" if both else tensors(op, context)


def constant_second(op: OpInfo, context: Context) -> str | None:
    """Axes, sizes, depths: the second input is in the file."""
    second = op.inputs[1] if len(op.inputs) > 1 else None
    if second is None or not second.constant:
        return "parameters that another op computes"
    return tensors(op, context)


def constant_parameters(op: OpInfo, context: Context) -> str | None:
    """STRIDED_SLICE: every input after the first is in the file."""
    if any(tensor is not None and not tensor.constant for tensor in op.inputs[1:]):
        return "parameters that another op computes"
    return tensors(op, context)


def within_batch(op: OpInfo, context: Context) -> str | None:
    """SLICE: of four axes, not along the batch."""
    data = op.inputs[0]
    if data is not None and len(data.shape) >= NHWC_RANK and data.shape[0] != op.outputs[0].shape[0]:
        return "a slice of the batch"
    return constant_parameters(op, context)


def quantized(op: OpInfo, context: Context) -> str | None:
    """Resizes, splits, depth and space: 8-bit data has a scale."""
    if any(tensor is not None and tensor.dtype in BITS8 and not tensor.scales for tensor in op.inputs):
        return "8-bit data without a scale"
    return tensors(op, context)


def resized(op: OpInfo, context: Context) -> str | None:
    """RESIZE_*: a size in the file; 8-bit data has a scale."""
    return constant_second(op, context) or quantized(op, context)


def per_tensor(op: OpInfo, context: Context) -> str | None:
    """QUANTIZE and DEQUANTIZE: one scale on the quantized side."""
    if any(tensor is not None and tensor.scales > 1 for tensor in (*op.inputs, *op.outputs)):
        return "a scale per channel"
    return tensors(op, context)


def products(op: OpInfo, context: Context) -> str | None:
    """BATCH_MATMUL: no int8 on either side, not both adjoint."""
    if any(tensor is not None and tensor.dtype == "int8" for tensor in op.inputs):
        return "int8 operands"
    return "both operands adjoint" if op.options.get("adjX") and op.options.get("adjY") else tensors(op, context)


def two_blocks(op: OpInfo, context: Context) -> str | None:
    """BATCH_TO_SPACE_ND, SPACE_TO_BATCH_ND: two spatial dimensions."""
    block = op.inputs[1]
    if block is None or block.shape[:1] != (2,):
        return "another number of spatial dimensions than 2"
    return shaped_output(op, context)


def chosen(op: OpInfo, context: Context) -> str | None:
    """SELECT: a condition of the data's rank, no 8-bit data."""
    condition, data = op.inputs[0], op.inputs[1]
    if condition is None or data is None or len(condition.shape) != len(data.shape):
        return "a condition of another rank than the data"
    wrong = [t.dtype for t in (*op.inputs[1:], *op.outputs) if t is not None and t.dtype in {"bool", *BITS8}]
    return f"{wrong[0]} data" if wrong else tensors(op, context)


def packed(op: OpInfo, context: Context) -> str | None:
    """PACK: no 8-bit vectors."""
    first: TensorInfo | None = op.inputs[0]
    if first is not None and first.dtype in BITS8 and len(first.shape) == 1:
        return "8-bit vectors"
    return tensors(op, context)


def lstm(op: OpInfo, context: Context) -> str | None:
    """UNIDIRECTIONAL_SEQUENCE_LSTM: 8-bit data, a state of the output's dtype, cells of int16 or float16."""
    data, state, cells = op.inputs[0], *((*op.inputs, *[None] * (CELL_STATE + 1))[OUTPUT_STATE : CELL_STATE + 1])
    if data is None or data.dtype not in BITS8:
        return "data that is not of 8 bits"
    if state is None or state.dtype != op.outputs[0].dtype:
        return "a state of another dtype than the output"
    if cells is None or cells.dtype not in {"int16", "float16"}:
        return "cells that are neither int16 nor float16"
    return tensors(op, context)


VX_CHECKS = {
    "vx-tensors": tensors,
    "vx-shaped-output": shaped_output,
    "vx-one-dtype": one_dtype,
    "vx-convolution": convolution,
    "vx-constant-weights": constant_weights,
    "vx-no-relu1-of-int32": no_relu1_of_int32,
    "vx-power": power,
    "vx-constant-second": constant_second,
    "vx-constant-parameters": constant_parameters,
    "vx-within-batch": within_batch,
    "vx-quantized": quantized,
    "vx-resized": resized,
    "vx-per-tensor": per_tensor,
    "vx-products": products,
    "vx-two-blocks": two_blocks,
    "vx-chosen": chosen,
    "vx-packed": packed,
    "vx-lstm": lstm,
}
"""Name in ``targets/rules/vx.toml`` -> check."""

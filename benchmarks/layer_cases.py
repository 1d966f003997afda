"""Convolutions, matrix products, pooling in many forms: weights constant or not, many dtypes and scales."""

from __future__ import annotations

import math
from random import Random

from benchmarks.case_parts import ACTIVATIONS, Case, activation, constant, like, maybe_open, one_op
from benchmarks.small_models import Tensor


def weights(random: Random, shape: tuple[int, ...], *, activation: Tensor, channel: int) -> Tensor:
    """Constant weights that go with the activation's dtype, mostly."""
    usual = {"float32": "float32", "int8": "int8", "uint8": "uint8", "int16": "int8", "int32": "float32"}
    dtype = usual[activation.dtype]
    if random.random() < 0.3:
        dtype = random.choice(["float32", "float16", "int8", "int4", "uint8"])
    held = random.random() > 0.1
    if dtype in {"float32", "float16"}:
        return Tensor(shape=shape, dtype=dtype, constant=held)
    count = shape[channel] if random.random() < 0.6 and dtype != "uint8" else 1
    point = random.choice([0, 0, 0, 3]) if dtype != "uint8" else random.choice([0, 127])
    dimension = channel if count > 1 or random.random() < 0.3 else 0
    scale = random.choice([0.01, 0.01, 0.01, 0.02])
    return Tensor(
        shape=shape,
        dtype=dtype,
        constant=held,
        scales=tuple(scale * (1 + i / 8) for i in range(count)),
        zero_points=(point,) * count,
        dimension=dimension,
    )


def bias(random: Random, filters: Tensor, activation: Tensor, count: int) -> Tensor | None:
    """A bias that goes with both, mostly; None: left out."""
    if random.random() < 0.1:
        return None
    held = random.random() > 0.07
    if activation.dtype in {"float32", "int32"} or not filters.scales:
        return Tensor(shape=(count,), constant=held)
    scales = tuple(scale * (activation.scales[0] if activation.scales else 1.0) for scale in filters.scales)
    dtype = "int64" if activation.dtype == "int16" else "int32"
    return Tensor(shape=(count,), dtype=dtype, constant=held, scales=scales)


def convolution(random: Random) -> Case:
    op = random.choice(["CONV_2D", "DEPTHWISE_CONV_2D"])
    source = activation(random, dtypes="float32 float32 int8 int8 uint8 int16", rank=4, most=6)
    batch, height, width, channels = source.shape
    kernel = (random.randint(1, 3), random.randint(1, 3))
    stride, dilation = (random.randint(1, 3), random.randint(1, 3)), (random.choice([1, 1, 1, 2]),) * 2
    padding = random.randint(0, 1)  # SAME, VALID
    options: dict[str, object] = {
        "padding": padding,
        "strideH": stride[0],
        "strideW": stride[1],
        "dilationHFactor": dilation[0],
        "dilationWFactor": dilation[1],
        "fusedActivationFunction": random.choice(ACTIVATIONS),
    }
    if op == "CONV_2D":
        count = random.randint(1, 5)
        groups = random.choice([1, 1, 1, channels])
        count *= groups
        filters = weights(random, (count, *kernel, channels // groups), activation=source, channel=0)
    else:
        multiplier = random.choice([1, 1, 2])
        options["depthMultiplier"] = multiplier
        count = channels * multiplier
        filters = weights(random, (1, *kernel, count), activation=source, channel=3)
    size = [
        _out(length, k, s, d, padding)
        for length, k, s, d in zip((height, width), kernel, stride, dilation, strict=True)
    ]
    result = like(random, source, shape=(batch, *size, count))
    table = "Conv2DOptions" if op == "CONV_2D" else "DepthwiseConv2DOptions"
    inputs = [source, filters, bias(random, filters, source, count)]
    return op, one_op(op, inputs, [result], table=table, version=3, **options)


def _out(length: int, kernel: int, stride: int, dilation: int, padding: int) -> int:
    reach = 1 if padding == 0 else (kernel - 1) * dilation + 1
    return max(0, -(-(length - reach + 1) // stride))


def fully_connected(random: Random) -> Case:
    source = activation(random, dtypes="float32 float32 int8 int8 uint8 int16", rank=random.randint(1, 4), most=8)
    units, depth = random.randint(1, 6), source.shape[-1]
    keep = random.random() < 0.5
    filters = weights(random, (units, depth), activation=source, channel=0)
    rows = math.prod(source.shape[:-1])
    result = like(random, source, shape=(*source.shape[:-1], units) if keep else (rows, units))
    inputs = [source, filters, bias(random, filters, source, units)]
    if inputs[-1] is None and random.random() < 0.5:
        inputs.pop()
    return "FULLY_CONNECTED", one_op(
        "FULLY_CONNECTED",
        inputs,
        [result],
        table="FullyConnectedOptions",
        version=random.choice([5, 5, 9, 8]),
        keepNumDims=keep,
        fusedActivationFunction=random.choice(ACTIVATIONS),
        asymmetricQuantizeInputs=random.random() < 0.5,
    )


def transpose_convolution(random: Random) -> Case:
    source = activation(random, dtypes="float32 float32 int8 int8 uint8 int16", rank=4)
    batch, height, width, channels = source.shape
    kernel, stride, padding = (random.randint(1, 4), random.randint(1, 4)), random.randint(1, 3), random.randint(0, 1)
    count = random.randint(1, 4)
    grown = [
        length * stride if padding == 0 else (length - 1) * stride + max(k, stride if random.random() < 0.2 else k)
        for length, k in zip((height, width), kernel, strict=True)
    ]
    shape = (batch, *grown, count)
    filters = weights(random, (count, *kernel, channels), activation=source, channel=0)
    inputs: list[Tensor | None] = [maybe_open(random, constant(list(shape))), filters, source]
    if random.random() < 0.7:
        inputs.append(bias(random, filters, source, count))
    return "TRANSPOSE_CONV", one_op(
        "TRANSPOSE_CONV",
        inputs,
        [like(random, source, shape=shape)],
        table="TransposeConvOptions",
        version=4,
        padding=padding,
        strideW=stride,
        strideH=stride,
        fusedActivationFunction=random.choice(ACTIVATIONS),
    )


def pooling(random: Random) -> Case:
    op = random.choice(["AVERAGE_POOL_2D", "MAX_POOL_2D", "L2_POOL_2D"])
    source = activation(random, dtypes="float32 float32 int8 uint8 int16", rank=4)
    kernel, stride, padding = (random.randint(1, 3), random.randint(1, 3)), random.randint(1, 3), random.randint(0, 1)
    size = [_out(length, k, stride, 1, padding) for length, k in zip(source.shape[1:3], kernel, strict=True)]
    result = like(random, source, shape=(source.shape[0], *size, source.shape[3]), same=random.random() < 0.8)
    return op, one_op(
        op,
        [source],
        [result],
        table="Pool2DOptions",
        version=2,
        padding=padding,
        strideW=stride,
        strideH=stride,
        filterHeight=kernel[0],
        filterWidth=kernel[1],
        fusedActivationFunction=random.choice(ACTIVATIONS),
    )


def matrix_product(random: Random) -> Case:
    first = activation(random, dtypes="float32 float32 int8 int16", rank=random.randint(2, 5))
    rows, depth, columns = *first.shape[-2:], random.randint(1, 5)
    flip = [random.random() < 0.3, random.random() < 0.5]
    batch = first.shape[:-2]
    if flip[0]:
        first = like(random, first, shape=(*batch, depth, rows))
    other = (columns, depth) if flip[1] else (depth, columns)
    batch2 = tuple(1 if random.random() < 0.3 else n for n in batch)[random.choice([0, 0, len(batch)]) :]
    shape = (*batch2, *other)
    channel = len(shape) - (2 if flip[1] else 1)
    second = weights(random, shape, activation=first, channel=channel)
    if random.random() < 0.5:
        second = like(random, first, shape=shape)
    result = like(random, first, shape=(*batch, rows, columns))
    return "BATCH_MATMUL", one_op(
        "BATCH_MATMUL",
        [first, second],
        [result],
        table="BatchMatMulOptions",
        version=4,
        adjX=flip[0],
        adjY=flip[1],
    )

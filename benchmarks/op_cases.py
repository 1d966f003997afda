"""Single ops in many forms, from a seed: dtypes, ranks, options, constants or not, scales per tensor or per channel."""

from __future__ import annotations

import math
from collections.abc import Callable
from random import Random

from benchmarks.small_models import Node, Tensor, small_model

Case = tuple[str, bytes]
ACTIVATIONS = (0, 0, 0, 1, 2, 3, 4, 5)
"""NONE most often, then RELU, RELU_N1_TO_1, RELU6, TANH, SIGN_BIT, as the schema counts them."""
SCALES = (0.1, 0.1, 0.1, 0.05, 0.03125, 0.5, 1e-5, 40.0)


def activation(random: Random, *, dtypes: str = "", rank: int | None = None, most: int = 5) -> Tensor:
    """A tensor that no file holds, of a random dtype and shape, with scales where the dtype has them."""
    dtype = random.choice(dtypes.split() or ["float32", "float32", "int8", "int8", "uint8", "int16", "int32"])
    rank = random.choice([0, 1, 2, 2, 3, 3, 4, 4, 4, 5, 6, 7]) if rank is None else rank
    return like(random, Tensor(shape=tuple(random.randint(1, most) for _ in range(rank)), dtype=dtype))


def like(
    random: Random, tensor: Tensor, *, shape: tuple[int, ...] | None = None, dtype: str = "", same: bool = False
) -> Tensor:
    """Another activation of that dtype; ``same``: with the same scale."""
    dtype = dtype or tensor.dtype
    shape = tensor.shape if shape is None else shape
    if same:
        return Tensor(shape=shape, dtype=dtype, scales=tensor.scales, zero_points=tensor.zero_points)
    if dtype not in {"int8", "uint8", "int16"}:
        return Tensor(shape=shape, dtype=dtype)
    point = {"int8": random.choice([0, -128, 5]), "uint8": random.choice([0, 128, 7]), "int16": 0}[dtype]
    return Tensor(shape=shape, dtype=dtype, scales=(random.choice(SCALES),), zero_points=(point,))


def constant(values: list[int], *, dtype: str = "int32", shape: tuple[int, ...] | None = None) -> Tensor:
    """A parameter such as axes."""
    return Tensor(shape=(len(values),) if shape is None else shape, dtype=dtype, constant=True, values=tuple(values))


def maybe_open(random: Random, tensor: Tensor) -> Tensor:
    """Now and then the parameter is an input of the model instead."""
    return Tensor(shape=tensor.shape, dtype=tensor.dtype) if random.random() < 0.1 else tensor


def one_op(
    op: str,
    inputs: list[Tensor | None],
    outputs: list[Tensor],
    *,
    table: str = "",
    version: int = 1,
    **options: object,
) -> bytes:
    """A model of that op alone."""
    tensors = {f"in{i}": tensor for i, tensor in enumerate(inputs) if tensor is not None}
    tensors |= {f"out{i}": tensor for i, tensor in enumerate(outputs)}
    names = tuple(None if tensor is None else f"in{i}" for i, tensor in enumerate(inputs))
    node = Node(
        op=op,
        inputs=names,
        outputs=tuple(f"out{i}" for i in range(len(outputs))),
        table=table,
        options=options,
        version=version,
    )
    return small_model(tensors, [node])


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


def unary(random: Random) -> Case:
    op, table = random.choice(UNARY)
    source = activation(random)
    options: dict[str, object] = {}
    if op == "LEAKY_RELU":
        options["alpha"] = random.choice([0.2, 0.01, 1e-6, 0.0, -0.3, 200.0])
    if op == "GELU":
        options["approximate"] = random.random() < 0.5
    if op == "SOFTMAX":
        options["beta"] = random.choice([1.0, 1.0, 0.5])
    result = like(random, source)
    if op == "DEQUANTIZE":
        result = Tensor(shape=source.shape)
        if random.random() < 0.2:
            source = Tensor(shape=source.shape, dtype="float16")
    if op == "QUANTIZE":
        result = like(random, source, dtype=random.choice(["int8", "int8", "uint8", "int16"]))
    if op in {"LOGISTIC", "TANH", "SOFTMAX"} and source.dtype in {"int8", "uint8", "int16"} and random.random() < 0.8:
        scale = {"int8": 1 / 256, "uint8": 1 / 256, "int16": 1 / 32768}[source.dtype] * (2 if op == "TANH" else 1)
        point = {"int8": -128, "uint8": 0, "int16": 0}[source.dtype]
        if op == "TANH":
            point = {"int8": 0, "uint8": 128, "int16": 0}[source.dtype]
        if source.dtype == "int16":
            scale = 1 / 32768
        result = Tensor(shape=source.shape, dtype=source.dtype, scales=(scale,), zero_points=(point,))
    return op, one_op(op, [source], [result], table=table, **options)


def binary(random: Random) -> Case:
    op, table, fused = random.choice(BINARY)
    first = activation(random)
    shape = first.shape
    if random.random() < 0.4:
        shape = tuple(1 if random.random() < 0.5 else size for size in shape)[random.randint(0, len(shape)) :]
    second = like(random, first, shape=shape)
    if random.random() < (0.8 if op == "PRELU" else 0.3):
        second = Tensor(**{**vars(second), "constant": True})
    inputs = [first, second] if op == "PRELU" or random.random() < 0.7 else [second, first]
    options = {"fusedActivationFunction": random.choice(ACTIVATIONS)} if fused else {}
    return op, one_op(op, list(inputs), [like(random, first)], table=table, **options)


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
    inputs = [maybe_open(random, constant(list(shape))), filters, source]
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


def reduction(random: Random) -> Case:
    op = random.choice(["MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN", "REDUCE_PROD"])
    source = activation(random)
    rank = len(source.shape)
    axes = sorted(random.sample(range(rank), random.randint(0, rank)))
    keep = random.random() < 0.5
    shape = tuple(1 if i in axes else size for i, size in enumerate(source.shape) if keep or i not in axes)
    written = [axis - rank if random.random() < 0.3 else axis for axis in axes]
    parameter = constant(written, shape=() if len(axes) == 1 and random.random() < 0.3 else None)
    result = like(random, source, shape=shape, same=random.random() < 0.7)
    return op, one_op(
        op, [source, maybe_open(random, parameter)], [result], table="ReducerOptions", version=2, keepDims=keep
    )


def pad(random: Random) -> Case:
    op = random.choice(["PAD", "PAD", "MIRROR_PAD"])
    source = activation(random)
    amounts = [random.choice([0, 0, 1]) for _ in range(2 * len(source.shape))]
    shape = tuple(size + sum(amounts[2 * i : 2 * i + 2]) for i, size in enumerate(source.shape))
    parameter = constant(amounts, shape=(len(source.shape), 2), dtype=random.choice(["int32", "int32", "int64"]))
    result = like(random, source, shape=shape, same=random.random() < 0.8)
    table = "PadOptions" if op == "PAD" else "MirrorPadOptions"
    return op, one_op(op, [source, maybe_open(random, parameter)], [result], table=table, version=2)


def reshape(random: Random) -> Case:
    source = activation(random)
    total = math.prod(source.shape)
    shape = random.choice(
        [(total,), (1, total), (total, 1, 1), (1, total, 1, 1), (1,) * 5 + (total,), (1,) * 6 + (total,)]
    )
    written = [-1 if size == total and random.random() < 0.3 else size for size in shape]
    inputs: list[Tensor | None] = [source]
    options: dict[str, object] = {"newShape": written}
    if random.random() < 0.8:
        two = (1, len(written)) if random.random() < 0.1 else None
        inputs.append(maybe_open(random, constant(written, shape=two)))
    result = like(random, source, shape=shape, same=random.random() < 0.8)
    return "RESHAPE", one_op("RESHAPE", inputs, [result], table="ReshapeOptions", **options)


def resize(random: Random) -> Case:
    op = random.choice(["RESIZE_BILINEAR", "RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR"])
    source = activation(random, dtypes="float32 int8 uint8 int16", rank=4)
    size = (random.randint(1, 8), random.randint(1, 8))
    result = like(random, source, shape=(source.shape[0], *size, source.shape[3]), same=random.random() < 0.8)
    align = random.random() < 0.4
    return op, one_op(
        op,
        [source, maybe_open(random, constant(list(size)))],
        [result],
        table="ResizeBilinearOptions" if op == "RESIZE_BILINEAR" else "ResizeNearestNeighborOptions",
        version=3,
        alignCorners=align,
        halfPixelCenters=not align and random.random() < 0.5,
    )


def slices(random: Random) -> Case:
    op = random.choice(["SLICE", "STRIDED_SLICE"])
    source = activation(random)
    begin = [random.randint(0, size - 1) for size in source.shape]
    size = [random.randint(1, length - b) for b, length in zip(begin, source.shape, strict=True)]
    result = like(random, source, shape=tuple(size), same=random.random() < 0.8)
    if op == "SLICE":
        dtype = random.choice(["int32", "int64"])
        written = [-1 if b + s == n and random.random() < 0.2 else s for b, s, n in zip(begin, size, source.shape)]
        inputs = [source, maybe_open(random, constant(begin, dtype=dtype)), constant(written, dtype=dtype)]
        return op, one_op(op, inputs, [result], table="SliceOptions", version=2)
    steps = [1 if random.random() < 0.95 else 2 for _ in begin]
    end = [b + s for b, s in zip(begin, size, strict=True)]
    masks = {name: 0 for name in ("beginMask", "endMask", "ellipsisMask", "newAxisMask", "shrinkAxisMask")}
    shape = [-(-s // step) for s, step in zip(size, steps, strict=True)]
    if begin and random.random() < 0.3:
        masks["beginMask"], shape[0] = 1, -(-end[0] // steps[0])
    if begin and random.random() < 0.3:
        masks["endMask"] = 1
        low = 0 if masks["beginMask"] else begin[0]
        shape[0] = -(-(source.shape[0] - low) // steps[0])
    if begin and random.random() < 0.2:
        masks["shrinkAxisMask"], shape = 1, shape[1:]
    if random.random() < 0.2:
        begin = [b - n if b else b for b, n in zip(begin, source.shape, strict=True)]
    if random.random() < 0.2:
        end = [e - n if e != n else e for e, n in zip(end, source.shape, strict=True)]
    result = like(random, source, shape=tuple(shape), same=random.random() < 0.8)
    inputs = [source, maybe_open(random, constant(begin)), constant(end), constant(steps)]
    return op, one_op(op, inputs, [result], table="StridedSliceOptions", version=4, **masks)


def joins(random: Random) -> Case:
    op = random.choice(["CONCATENATION", "SPLIT", "PACK"])
    source = activation(random)
    rank = len(source.shape)
    axis = random.randrange(rank) if rank else 0
    written = axis - rank if random.random() < 0.3 else axis
    count = random.randint(1, 6)
    same = random.random() < 0.7
    grown = (*source.shape[:axis], source.shape[axis] * count if rank else count, *source.shape[axis + 1 :])
    if op == "PACK":
        parts: list[Tensor | None] = [like(random, source, same=True) for _ in range(count)]
        result = like(random, source, shape=(*source.shape[:axis], count, *source.shape[axis:]), same=True)
        return op, one_op(op, parts, [result], table="PackOptions", version=2, axis=axis, valuesCount=count)
    whole = like(random, source, shape=grown, same=same)
    pieces = [like(random, source, same=same) for _ in range(count)]
    if op == "CONCATENATION":
        if random.random() < 0.2:
            pieces[-1] = Tensor(**{**vars(pieces[-1]), "constant": True})
        activation_function = random.choice([0, 0, 0, 0, 1])
        return op, one_op(
            op,
            list(pieces),
            [whole],
            table="ConcatenationOptions",
            version=2,
            axis=written,
            fusedActivationFunction=activation_function,
        )
    parameter = maybe_open(random, constant([written], shape=random.choice([(), (1,)])))
    return op, one_op(op, [parameter, whole], pieces, table="SplitOptions", version=4, numSplits=count)


def transpose(random: Random) -> Case:
    source = activation(random)
    order = random.sample(range(len(source.shape)), len(source.shape))
    result = like(random, source, shape=tuple(source.shape[i] for i in order), same=random.random() < 0.8)
    written = [i - len(order) if random.random() < 0.1 else i for i in order]
    inputs = [source, maybe_open(random, constant(written))]
    return "TRANSPOSE", one_op("TRANSPOSE", inputs, [result], table="TransposeOptions", version=5)


def blocks(random: Random) -> Case:
    op = random.choice(["DEPTH_TO_SPACE", "SPACE_TO_DEPTH"])
    block = random.randint(1, 3)
    small = activation(random, dtypes="float32 int8 uint8 int16", rank=4, most=3)
    batch, height, width, depth = small.shape
    deep = (batch, height, width, depth * block * block)
    wide = (batch, height * block, width * block, depth)
    first, second = (deep, wide) if op == "DEPTH_TO_SPACE" else (wide, deep)
    source = like(random, small, shape=first)
    result = like(random, source, shape=second, same=random.random() < 0.8)
    table = "DepthToSpaceOptions" if op == "DEPTH_TO_SPACE" else "SpaceToDepthOptions"
    return op, one_op(op, [source], [result], table=table, version=2, blockSize=block)


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


def others(random: Random) -> Case:
    op, table = random.choice(
        [("SQUEEZE", "SqueezeOptions"), ("EXPAND_DIMS", "ExpandDimsOptions"), ("GATHER", "GatherOptions")]
    )
    source = activation(random, dtypes="float32 int8 uint8", rank=random.randint(1, 4))
    if op == "SQUEEZE":
        wide = like(random, source, shape=(1, *source.shape))
        return op, one_op(op, [wide], [like(random, wide, shape=source.shape, same=True)], table=table, squeezeDims=[0])
    if op == "EXPAND_DIMS":
        result = like(random, source, shape=(1, *source.shape), same=True)
        return op, one_op(op, [source, maybe_open(random, constant([0]))], [result], table=table)
    result = like(random, source, shape=(1, *source.shape[1:]), same=True)
    return op, one_op(op, [source, constant([0])], [result], table=table, version=2, axis=0)


UNARY = (
    *((name, "") for name in ("CEIL", "ELU", "FLOOR", "LOGISTIC", "RELU", "RELU6", "RELU_N1_TO_1", "RELU_0_TO_1")),
    *((name, "") for name in ("ROUND", "RSQRT", "SIN", "SQRT", "TANH", "LOG")),
    *(("ABS", "AbsOptions"), ("COS", "CosOptions"), ("EXP", "ExpOptions"), ("GELU", "GeluOptions")),
    *(("HARD_SWISH", "HardSwishOptions"), ("LEAKY_RELU", "LeakyReluOptions"), ("NEG", "NegOptions")),
    *(("SQUARE", "SquareOptions"), ("SOFTMAX", "SoftmaxOptions"), ("LOG_SOFTMAX", "LogSoftmaxOptions")),
    *(("QUANTIZE", "QuantizeOptions"), ("DEQUANTIZE", "DequantizeOptions")) * 2,
    *(("LOGISTIC", ""), ("TANH", ""), ("SOFTMAX", "SoftmaxOptions"), ("LEAKY_RELU", "LeakyReluOptions")) * 2,
)
BINARY = (
    *(("ADD", "AddOptions", True), ("SUB", "SubOptions", True), ("MUL", "MulOptions", True)) * 2,
    *(("DIV", "DivOptions", True), ("PRELU", "", False), ("SQUARED_DIFFERENCE", "SquaredDifferenceOptions", False)),
    *(("MAXIMUM", "MaximumMinimumOptions", False), ("MINIMUM", "MaximumMinimumOptions", False)),
    *(("POW", "PowOptions", False), ("FLOOR_DIV", "FloorDivOptions", False)),
)
FAMILIES: tuple[Callable[[Random], Case], ...] = (
    *(unary, unary, binary, binary, convolution, convolution, fully_connected, fully_connected),
    *(transpose_convolution, pooling, reduction, pad, reshape, resize, slices, joins, transpose, blocks),
    *(matrix_product, others),
)


def op_case(seed: int) -> Case:
    """Case number ``seed``: the op's name and the file; the same bytes every time."""
    random = Random(seed)  # noqa: S311
    return random.choice(FAMILIES)(random)

"""Reductions and ops that move data, in many forms: parameters constant or computed, in range or at its edge."""

from __future__ import annotations

import math
from random import Random

from benchmarks.case_parts import Case, activation, constant, like, maybe_open, one_op
from benchmarks.small_models import Tensor


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
    if random.random() < 0.8:
        two = (1, len(written)) if random.random() < 0.1 else None
        inputs.append(maybe_open(random, constant(written, shape=two)))
    result = like(random, source, shape=shape, same=random.random() < 0.8)
    return "RESHAPE", one_op("RESHAPE", inputs, [result], table="ReshapeOptions", newShape=written)


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
        written = [
            -1 if b + s == n and random.random() < 0.2 else s for b, s, n in zip(begin, size, source.shape, strict=True)
        ]
        inputs = [source, maybe_open(random, constant(begin, dtype=dtype)), constant(written, dtype=dtype)]
        return op, one_op(op, inputs, [result], table="SliceOptions", version=2)
    steps = [1 if random.random() < 0.95 else 2 for _ in begin]
    end = [b + s for b, s in zip(begin, size, strict=True)]
    masks = dict.fromkeys(("beginMask", "endMask", "ellipsisMask", "newAxisMask", "shrinkAxisMask"), 0)
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

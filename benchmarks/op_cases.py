"""Single ops in many forms, from a seed: dtypes, ranks, options, constants or not, scales per tensor or per channel."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from benchmarks.case_parts import ACTIVATIONS, Case, activation, like, one_op
from benchmarks.layer_cases import convolution, fully_connected, matrix_product, pooling, transpose_convolution
from benchmarks.shape_cases import blocks, joins, others, pad, reduction, reshape, resize, slices, transpose
from benchmarks.small_models import Tensor


def unary(random: Random) -> Case:
    op, table = random.choice(UNARY)
    source = activation(random)
    options: dict[str, Any] = {}
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
    options: dict[str, Any] = {"fusedActivationFunction": random.choice(ACTIVATIONS)} if fused else {}
    return op, one_op(op, list(inputs), [like(random, first)], table=table, **options)


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
    random = Random(seed)
    return random.choice(FAMILIES)(random)

"""What cases of single ops are made of: tensors of random dtypes, shapes and scales, and a model of one op."""

from __future__ import annotations

from collections.abc import Sequence
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
    inputs: Sequence[Tensor | None],
    outputs: Sequence[Tensor],
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

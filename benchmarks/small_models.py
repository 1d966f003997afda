"""Small .tflite files made without a framework: any ops over any tensors, for what a delegate takes and what not."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edgekit_converters.flatbuffer import write

NUMPY = {"int4": "int8", "bfloat16": "uint16"}
"""What the values of a dtype that numpy does not have are kept in."""


@dataclass(frozen=True, kw_only=True)
class Tensor:
    """One tensor; a constant one holds ``values``, or random numbers from a fixed seed where it says only so."""

    shape: tuple[int, ...]
    dtype: str = "float32"
    constant: bool = False
    values: tuple[int, ...] | None = None
    scales: tuple[float, ...] = ()
    zero_points: tuple[int, ...] = ()
    dimension: int = 0
    """Quantized dimension."""
    variable: bool = False


@dataclass(frozen=True, kw_only=True)
class Node:
    """One op: names of its inputs (None: left out) and outputs, its options by the schema's own names."""

    op: str
    inputs: tuple[str | None, ...]
    outputs: tuple[str, ...]
    table: str = ""
    """Of the options, such as ``Conv2DOptions``; empty: none."""
    options: Mapping[str, Any] = field(default_factory=dict)
    version: int = 1
    custom: str = ""


def small_model(tensors: Mapping[str, Tensor], nodes: Sequence[Node]) -> bytes:
    """The file: what no node makes and is no constant is an input, what no node reads an output."""
    from ai_edge_litert import schema_py_generated as schema

    model, graph = schema.ModelT(), schema.SubGraphT()
    model.version, model.buffers, model.subgraphs, model.operatorCodes = 3, [schema.BufferT()], [graph], []
    numbers = {name: number for number, name in enumerate(tensors)}
    graph.tensors = [_tensor(schema, model, name, tensor) for name, tensor in tensors.items()]
    graph.operators = [_node(schema, model, node, numbers) for node in nodes]
    made = {name for node in nodes for name in node.outputs}
    read = {name for node in nodes for name in node.inputs}
    free = [name for name, tensor in tensors.items() if not (tensor.constant or tensor.variable or name in made)]
    graph.inputs = [numbers[name] for name in free if name in read]
    graph.outputs = [numbers[name] for name in tensors if name in made - read]
    return write(model)


def _tensor(schema: Any, model: Any, name: str, tensor: Tensor) -> Any:
    item = schema.TensorT()
    item.name, item.shape, item.buffer = name, list(tensor.shape), 0
    item.hasRank, item.isVariable = True, tensor.variable
    item.type = getattr(schema.TensorType, tensor.dtype.upper())
    if tensor.constant:
        item.buffer = len(model.buffers)
        model.buffers.append(schema.BufferT())
        model.buffers[-1].data = np.frombuffer(_bytes(tensor), np.uint8)
    if tensor.scales:
        item.quantization = schema.QuantizationParametersT()
        item.quantization.scale = list(tensor.scales)
        item.quantization.zeroPoint = list(tensor.zero_points or (0,) * len(tensor.scales))
        item.quantization.quantizedDimension = tensor.dimension
    return item


def _bytes(tensor: Tensor) -> bytes:
    count = math.prod(tensor.shape)
    dtype = np.dtype(NUMPY.get(tensor.dtype, tensor.dtype))
    if tensor.values is not None:
        array = np.asarray(tensor.values, dtype)
    elif dtype.kind == "f":
        array = np.random.default_rng(0).normal(size=count).astype(dtype)
    else:
        array = np.random.default_rng(0).integers(0, 7, size=count).astype(dtype)
    if tensor.dtype == "int4":  # two to a byte, the first in the low half
        nibbles = np.concatenate([array, np.zeros(count % 2, dtype)]).astype(np.uint8) & 15
        return bytes(nibbles[0::2] | nibbles[1::2] << 4)
    return array.astype(dtype.newbyteorder("<")).tobytes()


def _node(schema: Any, model: Any, node: Node, numbers: Mapping[str, int]) -> Any:
    code = schema.OperatorCodeT()
    number = getattr(schema.BuiltinOperator, node.op)
    code.builtinCode, code.deprecatedBuiltinCode = number, min(number, 127)
    code.version, code.customCode = node.version, node.custom or None
    model.operatorCodes.append(code)
    op = schema.OperatorT()
    op.opcodeIndex = len(model.operatorCodes) - 1
    op.inputs = [-1 if name is None else numbers[name] for name in node.inputs]
    op.outputs = [numbers[name] for name in node.outputs]
    if node.table:
        op.builtinOptionsType = getattr(schema.BuiltinOptions, node.table)
        op.builtinOptions = getattr(schema, f"{node.table}T")()
        for name, value in node.options.items():
            setattr(op.builtinOptions, name, value)
    return op

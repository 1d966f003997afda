"""Outputs that nobody reads are of their siblings' type, so that XNNPACK prepares the file."""

from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from edgekit_converters.dead_outputs import drop_dead_ops, quantize_dead_outputs

pytestmark = pytest.mark.unit


def tensor(kind: int, scale: float | None = None) -> Any:
    made = schema.TensorT()
    made.type = kind
    if scale is not None:
        made.quantization = schema.QuantizationParametersT()
        made.quantization.scale, made.quantization.zeroPoint = np.array([scale], np.float32), np.array([3])
    return made


def split(outputs: list[Any], *, read: list[int]) -> Any:
    """A SPLIT of tensor 0 into ``outputs``, those numbered ``read`` being the graph's outputs."""
    model, graph, op = schema.ModelT(), schema.SubGraphT(), schema.OperatorT()
    graph.tensors = [tensor(schema.TensorType.INT8, 0.5), *outputs]
    op.inputs, op.outputs = [0], list(range(1, len(outputs) + 1))
    graph.operators, graph.inputs, graph.outputs = [op], [0], read
    model.subgraphs = [graph]
    return model


def test_an_unread_output_is_like_its_siblings() -> None:
    dead, live = tensor(schema.TensorType.FLOAT32), tensor(schema.TensorType.INT8, 0.5)
    assert quantize_dead_outputs(split([dead, live], read=[2])) == 1
    assert dead.type == schema.TensorType.INT8
    assert dead.quantization is live.quantization


def test_everything_else_stays() -> None:
    read = tensor(schema.TensorType.FLOAT32)
    assert quantize_dead_outputs(split([read, tensor(schema.TensorType.INT8, 0.5)], read=[1, 2])) == 0
    assert quantize_dead_outputs(split([tensor(schema.TensorType.FLOAT32)] * 2, read=[2])) == 0
    assert (
        quantize_dead_outputs(split([tensor(schema.TensorType.INT32), tensor(schema.TensorType.INT8)], read=[2])) == 0
    )
    assert read.type == schema.TensorType.FLOAT32


def test_ops_of_which_nothing_is_read_are_dropped() -> None:
    model = split([tensor(schema.TensorType.FLOAT32) for _ in range(2)], read=[1])
    (graph,) = model.subgraphs
    live = graph.operators[0]
    dead, deader, acting = schema.OperatorT(), schema.OperatorT(), schema.OperatorT()
    dead.inputs, dead.outputs = [1], [3]
    deader.inputs, deader.outputs = [3], [4]
    acting.inputs, acting.outputs = [1], []
    graph.operators = [live, dead, deader, acting]
    assert drop_dead_ops(model) == 2
    assert graph.operators == [live, acting]

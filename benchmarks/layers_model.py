"""A .tflite of equal layers, whose work is exactly proportional to their number: for planted slow-downs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from edgekit_converters.flatbuffer import write

ROWS, UNITS = 49, 64
"""49 x 64 times 64 x 64: a pointwise convolution of MLPerf Tiny's KWS model is as large. 33 layers take 0.1 ms."""


def equal_layers(count: int) -> bytes:
    """``count`` fully connected float32 layers with ReLU, input and output (49, 64); the same bytes every time."""
    from ai_edge_litert import schema_py_generated as schema

    model, graph, code = schema.ModelT(), schema.SubGraphT(), schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.FULLY_CONNECTED
    code.version = 1
    model.version, model.buffers, model.subgraphs, model.operatorCodes = 3, [schema.BufferT()], [graph], [code]
    graph.tensors, graph.operators = [], []

    def tensor(name: str, shape: Sequence[int], data: np.ndarray[Any, Any] | None = None) -> int:
        item = schema.TensorT()
        item.name, item.shape, item.type, item.buffer = name, list(shape), schema.TensorType.FLOAT32, 0
        if data is not None:
            item.buffer = len(model.buffers)
            model.buffers.append(schema.BufferT())
            model.buffers[-1].data = np.frombuffer(data.astype("<f4").tobytes(), np.uint8)
        graph.tensors.append(item)
        return len(graph.tensors) - 1

    random = np.random.default_rng(0)
    last = tensor("x", (ROWS, UNITS))
    graph.inputs = [last]
    for number in range(count):
        weights = tensor(f"weights{number}", (UNITS, UNITS), random.normal(size=(UNITS, UNITS)) / np.sqrt(UNITS))
        bias = tensor(f"bias{number}", (UNITS,), np.zeros(UNITS))
        result = tensor(f"dense{number}", (ROWS, UNITS))
        op = schema.OperatorT()
        op.opcodeIndex, op.inputs, op.outputs = 0, [last, weights, bias], [result]
        op.builtinOptionsType = schema.BuiltinOptions.FullyConnectedOptions
        op.builtinOptions = schema.FullyConnectedOptionsT()
        op.builtinOptions.fusedActivationFunction = schema.ActivationFunctionType.RELU
        graph.operators.append(op)
        last = result
    graph.outputs = [last]
    return write(model)

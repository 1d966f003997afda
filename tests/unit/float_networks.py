"""Small float networks, made without a framework: fully connected layers in a row."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from edgekit_converters.flatbuffer import add_signature, read, signature_specs, write
from edgekit_converters.types import FloatModel

Array = np.ndarray[Any, Any]


def dense_network(weights: Sequence[Array], *, softmax: bool = False) -> FloatModel:
    """``weights``: (units, inputs) of each layer, ReLU between them; layers are called ``dense0``, ``dense1``, ..."""
    from ai_edge_litert import schema_py_generated as schema

    model, graph = schema.ModelT(), schema.SubGraphT()
    model.version, model.buffers, model.subgraphs = 3, [schema.BufferT()], [graph]
    graph.tensors, graph.operators = [], []
    model.operatorCodes = [_code(name) for name in ("FULLY_CONNECTED", "SOFTMAX")]

    def tensor(name: str, shape: Sequence[int], data: Array | None = None) -> int:
        item = schema.TensorT()
        item.name, item.shape, item.type, item.buffer = name, list(shape), schema.TensorType.FLOAT32, 0
        if data is not None:
            item.buffer = len(model.buffers)
            model.buffers.append(schema.BufferT())
            model.buffers[-1].data = np.frombuffer(data.astype("<f4").tobytes(), np.uint8)
        graph.tensors.append(item)
        return len(graph.tensors) - 1

    def operator(code: int, inputs: list[int], output: int, kind: str, **options: Any) -> None:
        op = schema.OperatorT()
        op.opcodeIndex, op.inputs, op.outputs = code, inputs, [output]
        op.builtinOptionsType = getattr(schema.BuiltinOptions, kind)
        op.builtinOptions = getattr(schema, f"{kind}T")()
        for name, value in options.items():
            setattr(op.builtinOptions, name, value)
        graph.operators.append(op)

    last = tensor("x", (1, weights[0].shape[1]))
    graph.inputs = [last]
    for number, matrix in enumerate(weights):
        constant = tensor(f"weights{number}", matrix.shape, matrix)
        bias = tensor(f"bias{number}", matrix.shape[:1], np.zeros(matrix.shape[0]))
        result = tensor(f"dense{number}", (1, matrix.shape[0]))
        relu = number < len(weights) - 1
        operator(
            0,
            [last, constant, bias],
            result,
            "FullyConnectedOptions",
            fusedActivationFunction=int(relu),  # RELU is 1
        )
        last = result
    if softmax:
        result = tensor("probabilities", (1, weights[-1].shape[0]))
        operator(1, [last], result, "SoftmaxOptions", beta=1.0)
        last = result
    graph.outputs = [last]
    add_signature(model, inputs={"x": "x"}, outputs={"scores": ""})
    parsed = read(write(model))
    inputs, outputs = signature_specs(parsed)
    return FloatModel(
        tflite=write(parsed), inputs=inputs, outputs=outputs, source_format="test", route="none", tools={}
    )


def planted_network(*, depth: int = 6, hard: int | None = 3, gain: float = 300.0, seed: int = 7) -> FloatModel:
    """``depth`` layers of 16 units over 12 inputs, 8 classes; unit 0 of layer ``hard`` is ``gain`` times the others.

    The layer after it weighs unit 0 by nearly nothing, so the float model is as good as without, while int8 spends its
    steps on unit 0. None plants nothing.
    """
    rng = np.random.default_rng(seed)
    sizes = [12, *([16] * (depth - 1)), 8]
    weights = [rng.normal(size=(after, before)) / np.sqrt(before) for before, after in pairwise(sizes)]
    if hard is not None:
        weights[hard][0] = np.abs(weights[hard][0]) * gain
        weights[hard + 1][:, 0] /= gain
    return dense_network(weights)


def network_samples(count: int, *, seed: int = 1) -> list[dict[str, Array]]:
    """Inputs of ``planted_network``."""
    rng = np.random.default_rng(seed)
    return [{"x": rng.normal(size=(1, 12)).astype(np.float32)} for _ in range(count)]


def _code(name: str) -> Any:
    from ai_edge_litert import schema_py_generated as schema

    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = getattr(schema.BuiltinOperator, name)
    code.version = 1
    return code

"""Chains of elementwise float ops as .tflite files, made without a framework."""

from collections.abc import Sequence
from typing import Any

UNARY = {"RELU", "SIN", "CEIL", "TANH"}


def chain(ops: Sequence[str], *, size: int = 16) -> bytes:
    """A model of one input ``x`` of shape (1, size): ``last = op(last)``, or ``op(last, x)`` where it takes two."""
    from ai_edge_litert import schema_py_generated as schema

    from edgekit_converters.flatbuffer import add_signature, write

    model, graph = schema.ModelT(), schema.SubGraphT()
    model.version, model.buffers, model.subgraphs = 3, [schema.BufferT()], [graph]
    kinds = list(dict.fromkeys(ops))
    model.operatorCodes = [_code(name) for name in kinds]
    graph.tensors = [_tensor("x", size)]
    graph.operators = []
    for number, name in enumerate(ops):
        op = schema.OperatorT()
        op.opcodeIndex = kinds.index(name)
        op.inputs = [number] if name in UNARY else [number, 0]
        op.outputs = [number + 1]
        if name in {"ADD", "MUL"}:
            kind = f"{name.capitalize()}Options"
            op.builtinOptionsType = getattr(schema.BuiltinOptions, kind)
            op.builtinOptions = getattr(schema, f"{kind}T")()
        graph.operators.append(op)
        graph.tensors.append(_tensor(f"t{number}", size))
    graph.inputs, graph.outputs = [0], [len(ops)]
    add_signature(model, inputs={"x": ""}, outputs={"y": ""})
    return write(model)


def _tensor(name: str, size: int) -> Any:
    from ai_edge_litert import schema_py_generated as schema

    item = schema.TensorT()
    item.name, item.shape, item.type, item.buffer = name, [1, size], schema.TensorType.FLOAT32, 0
    return item


def _code(name: str) -> Any:
    from ai_edge_litert import schema_py_generated as schema

    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = getattr(schema.BuiltinOperator, name)
    code.version = 1
    return code

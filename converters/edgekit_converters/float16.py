"""float16: every weight stored in half precision, computed in float32.

ai-edge-quantizer casts only what feeds a convolution or a fully connected layer itself, which leaves the weights of a
recurrent layer (constants that enter a WHILE) in float32; this pass casts every constant.
"""

from typing import Any

MIN_ELEMENTS = 32
"""A smaller constant costs more in its DEQUANTIZE than it saves."""


def halve_weights(model: Any) -> int:
    """Store float32 constants as float16 behind a DEQUANTIZE each, in place; returns how many."""
    code = _dequantize_code(model)
    return sum(_halve_subgraph(model, graph, code) for graph in model.subgraphs)


def _halve_subgraph(model: Any, graph: Any, code: int) -> int:
    from ai_edge_litert import schema_py_generated as schema

    used = sorted({int(index) for op in graph.operators for index in op.inputs if index >= 0})
    replaced: dict[int, int] = {}
    dequantizers = []
    for index in used:
        weight = _weight(model, graph.tensors[index])
        if weight is None:
            continue
        half = schema.TensorT()
        half.name = _name(graph.tensors[index]) + "/float16"
        half.shape, half.type, half.hasRank = graph.tensors[index].shape, schema.TensorType.FLOAT16, True
        half.buffer = len(model.buffers)
        buffer = schema.BufferT()
        buffer.data = weight
        model.buffers.append(buffer)
        replaced[index] = len(graph.tensors)
        graph.tensors.append(half)
        op = schema.OperatorT()
        op.opcodeIndex, op.inputs, op.outputs = code, [replaced[index]], [index]
        op.builtinOptionsType, op.builtinOptions = schema.BuiltinOptions.DequantizeOptions, schema.DequantizeOptionsT()
        dequantizers.append(op)
    for index in replaced:
        graph.tensors[index].buffer = 0
    graph.operators = dequantizers + list(graph.operators)
    return len(replaced)


def _weight(model: Any, tensor: Any) -> Any:
    """The constant as float16 bytes, or None for what is no float32 constant, small, or too large for float16."""
    import numpy as np
    from ai_edge_litert import schema_py_generated as schema

    data = model.buffers[tensor.buffer].data
    if tensor.type != schema.TensorType.FLOAT32 or data is None or tensor.sparsity is not None:
        return None
    if len(data) % 4:  # a damaged file: the runtime says so
        return None
    values = np.frombuffer(bytes(data), np.float32)
    if values.size < MIN_ELEMENTS or np.abs(values).max() > np.finfo(np.float16).max:
        return None
    return np.frombuffer(values.astype(np.float16).tobytes(), np.uint8)


def _name(tensor: Any) -> str:
    return tensor.name if isinstance(tensor.name, str) else tensor.name.decode(errors="replace")


def _dequantize_code(model: Any) -> int:
    """Index of the operator code; added where the model has none new enough for float16."""
    from ai_edge_litert import schema_py_generated as schema

    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.DEQUANTIZE
    code.version = 3  # the first that takes float16
    model.operatorCodes.append(code)
    return len(model.operatorCodes) - 1

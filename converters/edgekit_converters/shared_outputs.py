"""Outputs of the model that its own operators read, too: the states of a stream, and the heads of some detectors.

ai-edge-quantizer makes such an output the requantized (or dequantized) copy that it inserted for one of the readers. A
RESHAPE to the same shape in between keeps both apart while it works, and is taken out again.
"""

from collections.abc import Callable
from typing import Any

from edgekit_converters.flatbuffer import text
from edgekit_converters.types import Ranges

SUFFIX = "/output"


def separate_outputs(model: Any, ranges: Ranges) -> Ranges:
    """Give each output that is read inside a RESHAPE of its own, in place; the ranges with those of the copies."""
    from ai_edge_litert import schema_py_generated as schema

    graph = model.subgraphs[0]
    read = {int(index) for operator in graph.operators for index in operator.inputs}
    copies: dict[int, int] = {}
    found = dict(ranges)
    for index in [int(index) for index in graph.outputs]:
        original = graph.tensors[index]
        name = text(original.name)
        if index not in read or index in copies or name not in ranges:
            continue
        copies[index] = len(graph.tensors)
        graph.tensors.append(_tensor(schema.TensorT, f"{name}{SUFFIX}", original.shape, original.type))
        graph.operators.append(_reshape(model, schema, index, copies[index], original.shape))
        found[f"{name}{SUFFIX}"] = ranges[name]
    graph.outputs = [copies.get(int(index), int(index)) for index in graph.outputs]
    for signature in model.signatureDefs or ():
        for item in signature.outputs or ():
            item.tensorIndex = copies.get(int(item.tensorIndex), item.tensorIndex)
    return found


def join_outputs(model: Any) -> None:
    """Take the RESHAPEs out again where they only copy, in place."""
    graph = model.subgraphs[0]
    replaced: dict[int, int] = {}
    kept = []
    for operator in graph.operators:
        before, after = int(operator.inputs[0]) if len(operator.inputs) else -1, int(operator.outputs[0])
        source, copy = graph.tensors[before], graph.tensors[after]
        if text(copy.name).endswith(SUFFIX) and before >= 0 and _grid(source) == _grid(copy):
            replaced[after] = before
        else:
            kept.append(operator)
    graph.operators = kept
    for operator in kept:
        operator.inputs = [replaced.get(int(index), int(index)) for index in operator.inputs]
    graph.outputs = [replaced.get(int(index), int(index)) for index in graph.outputs]
    model.signatureDefs = None  # the caller gives it one


def _tensor(make: Callable[[], Any], name: str, shape: Any, kind: int) -> Any:
    tensor = make()
    tensor.name, tensor.shape, tensor.type, tensor.buffer = name, shape, kind, 0
    return tensor


def _reshape(model: Any, schema: Any, before: int, after: int, shape: Any) -> Any:
    code, operator, options = schema.OperatorCodeT(), schema.OperatorT(), schema.ReshapeOptionsT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.RESHAPE
    code.version = 1
    options.newShape = [int(size) for size in shape]
    operator.opcodeIndex, operator.inputs, operator.outputs = len(model.operatorCodes), [before], [after]
    operator.builtinOptionsType, operator.builtinOptions = schema.BuiltinOptions.ReshapeOptions, options
    model.operatorCodes.append(code)
    return operator


def _grid(tensor: Any) -> tuple[Any, ...]:
    quantization = tensor.quantization
    if quantization is None or quantization.scale is None:
        return (tensor.type,)
    return (tensor.type, *map(float, quantization.scale), *map(int, quantization.zeroPoint))

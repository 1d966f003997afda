"""Outputs that nobody reads: ai-edge-quantizer leaves them float32 beside their quantized siblings.

Ops of which nothing is read are none of the model: the runtime does not compute them, so they have no ranges.

The first step of an unrolled LSTM multiplies its forget gate by a state of zero, so one output of its SPLIT is never
read. XNNPACK refuses to prepare a SPLIT whose outputs are of two types, and the plain kernels would write int8 into it.
"""

from typing import Any


def drop_dead_ops(model: Any) -> int:
    """Drop the ops of which nothing is read, in place; returns how many. Ops without outputs act otherwise and stay."""
    dropped = 0
    for graph in model.subgraphs:
        read, kept = {int(index) for index in (() if graph.outputs is None else graph.outputs)}, []
        for op in reversed(graph.operators or ()):
            outputs = {int(index) for index in (() if op.outputs is None else op.outputs)}
            if outputs and not outputs & read:
                dropped += 1
                continue
            read |= {int(index) for index in (() if op.inputs is None else op.inputs)}
            kept.append(op)
        graph.operators = kept[::-1]
    return dropped


def quantize_dead_outputs(model: Any) -> int:
    """Give each unread float output the type and quantization of a quantized sibling, in place; returns how many."""
    from ai_edge_litert import schema_py_generated as schema

    changed = 0
    for graph in model.subgraphs:
        read = {int(index) for op in graph.operators for index in op.inputs} | {int(index) for index in graph.outputs}
        for op in graph.operators:
            outputs = [int(index) for index in op.outputs]
            quantized = [graph.tensors[index] for index in outputs if graph.tensors[index].type in _integers(schema)]
            for index in outputs:
                tensor = graph.tensors[index]
                if quantized and index not in read and tensor.type == schema.TensorType.FLOAT32:
                    tensor.type, tensor.quantization = quantized[0].type, quantized[0].quantization
                    changed += 1
    return changed


def _integers(schema: Any) -> set[int]:
    return {schema.TensorType.INT8, schema.TensorType.INT16}

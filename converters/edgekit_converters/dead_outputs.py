"""Outputs that nobody reads: ai-edge-quantizer leaves them float32 beside their quantized siblings.

The first step of an unrolled LSTM multiplies its forget gate by a state of zero, so one output of its SPLIT is never
read. XNNPACK refuses to prepare a SPLIT whose outputs are of two types, and the plain kernels would write int8 into it.
"""

from typing import Any


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

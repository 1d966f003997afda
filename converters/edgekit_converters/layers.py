"""The layers with weights of a float .tflite: what cross-layer equalization and bias correction change."""

from collections import Counter
from dataclasses import dataclass
from math import prod
from typing import Any, Literal

from edgekit_converters.flatbuffer import builtin_name, text

Kind = Literal["CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"]

OUTPUT_AXIS: dict[Kind, int] = {"CONV_2D": 0, "DEPTHWISE_CONV_2D": 3, "FULLY_CONNECTED": 0}
"""Axis of the output channels in the weights: (O, H, W, I), (1, H, W, O) and (O, I)."""
INPUT_AXIS: dict[Kind, int] = {"CONV_2D": 3, "DEPTHWISE_CONV_2D": 3, "FULLY_CONNECTED": 1}


@dataclass(frozen=True, kw_only=True)
class Layer:
    """An operator with constant float32 weights that nobody else uses; tensors by index in the main subgraph."""

    kind: Kind
    data: int
    weights: int
    bias: int | None
    output: int
    options: Any
    """Its ``Conv2DOptionsT``, ``DepthwiseConv2DOptionsT`` or ``FullyConnectedOptionsT``."""

    @property
    def activation(self) -> str:
        """Name in ``ActivationFunctionType``, such as ``RELU6``."""
        from ai_edge_litert import schema_py_generated as schema

        code = self.options.fusedActivationFunction
        names: dict[int, str] = {v: k for k, v in vars(schema.ActivationFunctionType).items() if isinstance(v, int)}
        return names[code]


def read_layers(model: Any) -> tuple[Layer, ...]:
    """The layers of the main subgraph in the order of execution; those with shared or computed weights are left out."""
    graph = model.subgraphs[0]
    names = [builtin_name(code) for code in model.operatorCodes]
    buffers = Counter(int(tensor.buffer) for part in model.subgraphs for tensor in part.tensors)
    uses = Counter(int(index) for operator in graph.operators for index in operator.inputs)

    def is_own(index: int) -> bool:
        tensor = graph.tensors[index]
        return uses[index] == 1 and buffers[int(tensor.buffer)] == 1 and constant(model, index) is not None

    found = []
    for operator in graph.operators:
        kind = names[operator.opcodeIndex]
        indices = [int(index) for index in operator.inputs]
        if kind not in OUTPUT_AXIS or not is_own(indices[1]):
            continue
        bias = indices[2] if len(indices) > 2 and indices[2] >= 0 else None  # noqa: PLR2004 - (data, weights, bias)
        if bias is None or is_own(bias):
            found.append(
                Layer(
                    kind=kind,
                    data=indices[0],
                    weights=indices[1],
                    bias=bias,
                    output=int(operator.outputs[0]),
                    options=operator.builtinOptions,
                )
            )
    return tuple(found)


def tensor_name(model: Any, index: int) -> str:
    """Name of a tensor of the main subgraph."""
    return text(model.subgraphs[0].tensors[index].name)


def constant(model: Any, index: int) -> Any:
    """Copy of a float32 constant of the main subgraph, in its shape; None for anything else."""
    import numpy as np
    from ai_edge_litert import schema_py_generated as schema

    tensor = model.subgraphs[0].tensors[index]
    data = model.buffers[tensor.buffer].data
    shape = tuple(int(size) for size in (() if tensor.shape is None else tensor.shape))
    if tensor.type != schema.TensorType.FLOAT32 or data is None or len(data) != 4 * prod(shape):
        return None
    return np.frombuffer(bytes(data), np.float32).reshape(shape).copy()


def put_constant(model: Any, index: int, values: Any) -> None:
    """Replace a constant by values of the same shape."""
    import numpy as np

    data = np.frombuffer(np.ascontiguousarray(values, np.float32).tobytes(), np.uint8)
    model.buffers[model.subgraphs[0].tensors[index].buffer].data = data

"""How far TFLite Micro may be from TFLite's reference kernels, which its own come from. Pure.

Measured with tflite-micro 0.dev20261023182759 on 490 real inputs of five int8 models: 484 outputs were the same bytes.
Op by op the rest is one step in FULLY_CONNECTED, whose per-channel kernel rounds in another way; a softmax behind it
makes up to 10 steps of that. int16x8 differed by at most 5 of 65,536 steps; float32 not at all.
"""

import math
from dataclasses import dataclass

from edgekit_converters.structure import OpInfo, Structure, TensorInfo

STEPS = {"int8": 4, "uint8": 4, "int16": 64}
"""dtype of a quantized output -> steps; other integers (an index, a count) must be equal."""
FLOAT_ERROR = 1e-5
"""Of a float model: another compiler may fuse a multiplication with an addition."""
DEQUANTIZED_ERROR = 0.1
"""Of a float output of a quantized model: its steps are not known at the end."""
SIGMOIDS = frozenset({"SOFTMAX", "LOGISTIC"})


@dataclass(frozen=True, kw_only=True)
class Limit:
    """Of one output; the meaning of ``entries.Tolerance``."""

    max_steps: int | None
    max_error: float | None
    same_top1: bool = True


def limits_of(structure: Structure) -> tuple[Limit, ...]:
    """For every output, in the model's order."""
    tensors = {tensor.index: tensor for tensor in structure.tensors if tensor.subgraph == 0}
    producers = {tensor.index: op for op in structure.ops if op.subgraph == 0 for tensor in op.outputs}
    quantized = any(tensor.scales for tensor in structure.tensors if not tensor.constant)
    return tuple(_limit(tensors[index], producers.get(index), quantized) for index in structure.output_indices)


def _limit(tensor: TensorInfo, producer: OpInfo | None, quantized: bool) -> Limit:
    if tensor.dtype.startswith("float"):
        return Limit(max_steps=None, max_error=DEQUANTIZED_ERROR if quantized else FLOAT_ERROR)
    if tensor.scale is None:
        return Limit(max_steps=0, max_error=None)
    return Limit(max_steps=STEPS.get(tensor.dtype, 0) + _of_a_logit(tensor, producer), max_error=None)


def _of_a_logit(tensor: TensorInfo, producer: OpInfo | None) -> int:
    """Steps that a probability moves by where every logit may be off by one step: at most half of that step."""
    logits = producer.inputs[0] if producer is not None and producer.name in SIGMOIDS and producer.inputs else None
    if logits is None or not logits.scale or not tensor.scale:
        return 0
    return min(math.ceil(0.5 * logits.scale / tensor.scale), 255)

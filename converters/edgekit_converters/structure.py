"""What is in a .tflite: tensors, ops, precisions, multiply-accumulates. Read from the flatbuffer, nothing is run."""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from edgekit_converters.flatbuffer import damaged, dtype_name, read, signature_specs, text
from edgekit_converters.op_options import enumeration, read_options
from edgekit_converters.types import TensorSpec

T = TypeVar("T", int, float)

Granularity = Literal["per-channel", "per-tensor", "mixed", "none"]

RECURRENT = frozenset({"LSTM", "RNN", "SVDF"}) | frozenset(
    f"{direction}DIRECTIONAL_SEQUENCE_{cell}" for direction in ("UNI", "BI") for cell in ("LSTM", "RNN")
)
UNKNOWN_MACS = RECURRENT | {"WHILE", "IF", "CALL_ONCE", "CUSTOM", "CONV_3D", "CONV_3D_TRANSPOSE", "STABLEHLO_COMPOSITE"}
"""Ops that may multiply a great deal and whose count is not in their shapes alone."""

DTYPE_BITS = {
    **dict.fromkeys(("int4", "uint4"), 4),
    **dict.fromkeys(("bool", "int8", "uint8"), 8),
    **dict.fromkeys(("int16", "uint16", "float16", "bfloat16"), 16),
    **dict.fromkeys(("int32", "uint32", "float32"), 32),
    **dict.fromkeys(("int64", "uint64", "float64", "complex64"), 64),
}
MAX_VALUES_BYTES = 512
"""A longer integer constant is a table, not the parameter of an op."""


@dataclass(frozen=True, kw_only=True)
class TensorInfo:
    """One tensor of a subgraph."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    constant: bool
    """Holds data in the file: a weight, a bias or a table."""
    scales: int
    """Number of quantization scales: 0 none, 1 per tensor, more per channel."""
    scale: float | None = None
    """Per tensor; None where there is none or one per channel."""
    zero_point: int | None = None
    index: int = -1
    """In its subgraph."""
    subgraph: int = 0
    variable: bool = False
    """State that one inference leaves to the next."""
    scales_values: tuple[float, ...] = ()
    """Every scale, of a per-channel weight too."""
    zero_points: tuple[int, ...] = ()
    """One for each scale, or one for all of them."""
    quantized_dimension: int = 0
    values: tuple[int, ...] | None = None
    """Of a small integer constant, such as the axes of a MEAN or a target shape; None for all others."""

    @property
    def nbytes(self) -> int | None:
        """Size in memory; None where its shape is open or its dtype has no fixed size."""
        bits = DTYPE_BITS.get(self.dtype)
        if bits is None or any(size < 0 for size in self.shape):
            return None
        return (math.prod(self.shape) * bits + 7) // 8


@dataclass(frozen=True, kw_only=True)
class OpInfo:
    """One operator."""

    name: str
    """Builtin name as in the schema; ``CUSTOM`` for a custom one."""
    custom: str | None
    """Its custom code."""
    version: int
    inputs: tuple[TensorInfo | None, ...]
    """None where an optional input is left out."""
    outputs: tuple[TensorInfo, ...]
    index: int = -1
    """In its subgraph, in the order of execution: the node's number in the runtime."""
    subgraph: int = 0
    options: Mapping[str, Any] = field(default_factory=dict)
    """Its builtin options by the schema's own names (``strideW``, ``padding``, ``keepDims``): numbers, booleans, tuples
    of them; enumerations by name (``SAME``, ``RELU6``). Empty where the operator has none."""


@dataclass(frozen=True, kw_only=True)
class Structure:
    """A parsed model."""

    size_bytes: int
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    tensors: tuple[TensorInfo, ...]
    """Of every subgraph; only those an op reads or writes."""
    ops: tuple[OpInfo, ...]
    """Of every subgraph, in the order of execution."""
    subgraphs: int
    input_indices: tuple[int, ...] = ()
    """The tensors of subgraph 0 that the caller fills, in the order of ``inputs``."""
    output_indices: tuple[int, ...] = ()
    """The tensors of subgraph 0 that the caller reads, in the order of ``outputs``."""

    @property
    def builtin_counts(self) -> dict[str, int]:
        """Builtin operator -> how often, by name."""
        return dict(sorted(Counter(op.name for op in self.ops if op.custom is None).items()))

    @property
    def custom_counts(self) -> dict[str, int]:
        """Custom operator -> how often, by name."""
        return dict(sorted(Counter(op.custom for op in self.ops if op.custom is not None).items()))

    @property
    def dtype_counts(self) -> dict[str, int]:
        """Number of tensors of each dtype."""
        return dict(sorted(Counter(tensor.dtype for tensor in self.tensors).items()))

    @property
    def weight_granularity(self) -> Granularity:
        """How the integer weights are quantized; ``none`` where there are none. Biases do not count."""
        kinds = {tensor.scales > 1 for tensor in self.tensors if _is_quantized_weight(tensor)}
        if not kinds:
            return "none"
        return "mixed" if len(kinds) > 1 else "per-channel" if kinds.pop() else "per-tensor"

    @property
    def macs(self) -> int | None:
        """Multiply-accumulates of one inference: convolutions, matrix products; None where an op hides its count."""
        total = 0
        for op in self.ops:
            count = op_macs(op)
            if count is None:
                return None
            total += count
        return total


def read_structure(data: bytes, *, what: str = "the model") -> Structure:
    """Parse a .tflite; raises SourceError for what is none or is damaged."""
    return structure_of(read(data, what=what), len(data), what=what)


def structure_of(model: Any, size_bytes: int, *, what: str = "the model") -> Structure:
    """Of a parsed ``ModelT``; raises SourceError for one that points outside itself."""
    try:
        return _structure(model, size_bytes)
    except (IndexError, TypeError, AttributeError) as err:
        # The verifier checks the offsets of the file, not the numbers in it that point at tensors and operators.
        raise damaged(what, "it refers to a tensor or an operator that it does not hold") from err


def _structure(model: Any, size_bytes: int) -> Structure:
    inputs, outputs = signature_specs(model)
    tensors: list[TensorInfo] = []
    ops: list[OpInfo] = []
    for number, graph in enumerate(model.subgraphs):
        infos = [_tensor(tensor, model.buffers, index, number) for index, tensor in enumerate(graph.tensors)]
        used: set[int] = set(_indices(graph.inputs)) | set(_indices(graph.outputs))
        for index, operator in enumerate(graph.operators or ()):
            ops.append(_op(operator, model.operatorCodes, infos, index, number))
            used.update(index for index in (*_indices(operator.inputs), *_indices(operator.outputs)) if index >= 0)
        tensors.extend(infos[index] for index in sorted(used))
    return Structure(
        size_bytes=size_bytes,
        inputs=inputs,
        outputs=outputs,
        tensors=tuple(tensors),
        ops=tuple(ops),
        subgraphs=len(model.subgraphs),
        input_indices=tuple(map(_there, _indices(model.subgraphs[0].inputs))),
        output_indices=tuple(map(_there, _indices(model.subgraphs[0].outputs))),
    )


def op_macs(op: OpInfo) -> int | None:
    """Multiply-accumulates of one op; 0 for what only moves or adds, None where it is not known."""
    if op.name in UNKNOWN_MACS:
        return None
    count = MACS.get(op.name)
    if count is None:
        return 0
    if any(tensor is None for tensor in op.inputs[:2]):
        return None
    shapes = [tensor.shape for tensor in op.inputs if tensor is not None]
    try:
        if any(size < 0 for shape in (*shapes, op.outputs[0].shape) for size in shape):  # open, or damaged
            return None
        return count(shapes, op.outputs[0].shape)
    except IndexError:  # operands of a rank that the op does not have: a file that no runtime takes
        return None


Shape = tuple[int, ...]


def _matmul_macs(inputs: list[Shape], output: Shape) -> int:
    # (..., M, K) x (..., K, N) -> (..., M, N). Adjoints change which axis is K; M K x K N = M N x K^2 in all cases.
    products = math.prod(inputs[0][-2:]) * math.prod(inputs[1][-2:])
    return math.prod(output[:-2]) * math.isqrt(products * math.prod(output[-2:]))


MACS: dict[str, Callable[[list[Shape], Shape], int]] = {
    "CONV_2D": lambda inputs, output: math.prod(output) * math.prod(inputs[1][1:]),  # weights (O, H, W, I)
    "DEPTHWISE_CONV_2D": lambda inputs, output: math.prod(output) * math.prod(inputs[1][1:3]),  # (1, H, W, C)
    "FULLY_CONNECTED": lambda inputs, output: math.prod(output) * inputs[1][-1],  # weights (units, K)
    # output shape, weights (O, H, W, I), data
    "TRANSPOSE_CONV": lambda inputs, _output: math.prod(inputs[2]) * math.prod(inputs[1][:3]),
    "BATCH_MATMUL": _matmul_macs,
}


def _is_quantized_weight(tensor: TensorInfo) -> bool:
    return tensor.constant and tensor.scales > 0 and tensor.dtype in {"int8", "uint8", "int4"} and len(tensor.shape) > 1


def _tensor(tensor: Any, buffers: Any, index: int, subgraph: int) -> TensorInfo:
    data = buffers[tensor.buffer].data if tensor.buffer < len(buffers) else None
    scales = None if tensor.quantization is None else tensor.quantization.scale
    points = None if tensor.quantization is None else tensor.quantization.zeroPoint
    dtype, constant = dtype_name(tensor.type), data is not None and len(data) > 0
    return TensorInfo(
        name=text(tensor.name),
        dtype=dtype,
        shape=tuple(_indices(tensor.shape)),
        constant=constant,
        scales=0 if scales is None else len(scales),
        scale=_only(scales, float),
        zero_point=_only(points, int),
        index=index,
        subgraph=subgraph,
        variable=bool(tensor.isVariable),
        scales_values=() if scales is None else tuple(map(float, scales)),
        zero_points=() if points is None else tuple(map(int, points)),
        quantized_dimension=0 if tensor.quantization is None else int(tensor.quantization.quantizedDimension),
        values=_small_values(data, dtype) if constant else None,
    )


def _small_values(data: Any, dtype: str) -> tuple[int, ...] | None:
    import numpy as np

    if dtype not in {"int32", "int64"} or len(data) > MAX_VALUES_BYTES or len(data) % np.dtype(dtype).itemsize:
        return None
    return tuple(int(value) for value in np.frombuffer(bytes(data), np.dtype(dtype).newbyteorder("<")))


def _only(values: Any, kind: Callable[[Any], T]) -> T | None:
    return kind(values[0]) if values is not None and len(values) == 1 else None


def _op(operator: Any, codes: Any, tensors: list[TensorInfo], position: int, subgraph: int) -> OpInfo:
    code = codes[operator.opcodeIndex]
    # Files of before 2020 keep the operator in a byte; newer ones use both fields.
    name = enumeration("BuiltinOperator").get(max(code.builtinCode, code.deprecatedBuiltinCode), "UNKNOWN")
    return OpInfo(
        name=name,
        custom=text(code.customCode) if name == "CUSTOM" else None,
        version=int(code.version),
        inputs=tuple(tensors[index] if index >= 0 else None for index in _indices(operator.inputs)),
        outputs=tuple(tensors[_there(index)] for index in _indices(operator.outputs)),
        index=position,
        subgraph=subgraph,
        options=read_options(operator),
    )


def _there(index: int) -> int:
    """The index as it is; IndexError for a negative one, which Python would count from the end."""
    if index < 0:
        raise IndexError(index)
    return index


def _indices(values: Any) -> Iterator[int]:
    return (int(value) for value in (() if values is None else values))

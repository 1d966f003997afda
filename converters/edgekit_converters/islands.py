"""Ops that ai-edge-quantizer does not know and that have an int8 kernel: the float islands it leaves around them.

It computes such an op in float32 between a DEQUANTIZE and a QUANTIZE, which a full-integer promise forbids and an NPU
does not take. Here the op itself is given int8 tensors, with the scale its kernel wants: the input's own where values
only move, the calibrated one where they change, a fixed one where the quantization specification fixes it
(https://ai.google.dev/edge/litert/conversion/tensorflow/quantization/quantization_spec).
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from edgekit_converters.flatbuffer import builtin_name, text
from edgekit_converters.types import Ranges, Scheme

MOVES = {
    "BATCH_TO_SPACE_ND": 2, "DEPTH_TO_SPACE": 2, "EXPAND_DIMS": 1, "REDUCE_MAX": 2, "REVERSE_V2": 1,
    "SPACE_TO_BATCH_ND": 2, "SQUEEZE": 1, "TILE": 1,
}  # fmt: skip
"""Op -> the version that takes int8; its output has the scale of its input."""
CHANGES = {
    "ABS": 1, "ELU": 1, "EXP": 2, "LEAKY_RELU": 1, "PRELU": 1, "RELU6": 2, "RELU_0_TO_1": 1, "RELU_N1_TO_1": 1,
}  # fmt: skip
"""The same; its output has a scale of its own, from the calibrated range."""
FIXED = {"L2_NORMALIZATION": (2, 1 / 128, 0), "LOG_SOFTMAX": (2, 16 / 256, 127)}
"""Op -> version, and the output's scale and zero point."""
COUNTS = {"ARG_MAX": 2, "ARG_MIN": 2}
"""Only the input is int8; the output holds indices."""
_STEPS, _LOWEST, _LARGEST = 255, -128, 127
_SMALLEST = 1e-9
_VERSIONS = {"DEQUANTIZE": 2, "QUANTIZE": 1}
"""From int8, to int8."""


def fill_islands(model: Any, scheme: Scheme, ranges: Ranges) -> int:
    """Compute in int8 what can be, where ``model`` is int8 around it, in place; returns how many ops.

    Layers that ``scheme`` wants in another precision stay as they are.
    """
    return sum(_Island(model, graph, scheme, ranges).fill() for graph in model.subgraphs)


@dataclass
class _Island:
    """One subgraph while its ops are rewritten."""

    model: Any
    graph: Any
    scheme: Scheme
    ranges: Ranges
    twins: dict[int, int] = field(default_factory=dict)
    """Float tensor -> the int8 tensor of the same values."""
    others: dict[int, int] = field(default_factory=dict)
    """Float tensor -> the int16 or uint8 tensor of the same values."""

    def fill(self) -> int:
        names = [builtin_name(code) for code in self.model.operatorCodes]
        operators, filled = list(self._integer_inputs(names)), 0
        for op in self.graph.operators:
            name = names[op.opcodeIndex]
            if name == "DEQUANTIZE" and self._is(int(op.inputs[0]), "INT8"):
                self.twins[int(op.outputs[0])] = int(op.inputs[0])
                operators.append(op)
            elif name == "DEQUANTIZE" and (
                self._is(int(op.inputs[0]), "INT16") or self._is(int(op.inputs[0]), "UINT8")
            ):
                self.others[int(op.outputs[0])] = int(op.inputs[0])
                operators.append(op)
            elif name == "QUANTIZE" and int(op.inputs[0]) in self.twins:
                op.inputs = [self.twins[int(op.inputs[0])]]
                if int(op.inputs[0]) != int(op.outputs[0]):
                    operators.append(op)  # from int8 to int8: another scale
            elif self._fillable(op, name):
                operators.extend(self._narrowed(int(op.inputs[0])))
                operators.extend(self._rewritten(op, name))
                filled += 1
            else:
                operators.append(op)
        if self.scheme.io == "int8":
            self.graph.outputs = [self.twins.get(int(index), int(index)) for index in self.graph.outputs]
        self.graph.operators = list(self._needed(operators))
        return filled

    def _integer_inputs(self, names: list[str]) -> Iterator[Any]:
        """An int8 twin of each float input that an op of these tables reads; the input itself, where int8 is wanted."""
        readers = [op for op in self.graph.operators if self._version(names[op.opcodeIndex]) is not None]
        fed = {int(op.inputs[0]) for op in readers if len(op.inputs)}
        for position, index in enumerate(map(int, self.graph.inputs)):
            tensor = self.graph.tensors[index]
            if index not in fed or not self._is(index, "FLOAT32"):
                continue
            twin = self.twins[index] = self._twin(tensor, self._affine(*self.ranges[text(tensor.name)]))
            if self.scheme.io == "int8":
                self.graph.inputs[position] = twin
                yield self._converter("DEQUANTIZE", twin, index)
            else:
                yield self._converter("QUANTIZE", index, twin)

    def _fillable(self, op: Any, name: str) -> bool:
        if self._version(name) is None or text(self.graph.tensors[int(op.outputs[0])].name) in self.scheme.layers:
            return False
        source = int(op.inputs[0])
        return source in self.twins or text(self._given(source).name) in self.ranges

    def _narrowed(self, index: int) -> Iterator[Any]:
        """An int8 twin of what a rescued layer gives in float or int16, and of a uint8 input."""
        if index not in self.twins:
            given = self._given(index)
            self.twins[index] = self._twin(given, self._affine(*self.ranges[text(given.name)]))
            yield self._converter("QUANTIZE", self.others.get(index, index), self.twins[index])

    def _given(self, index: int) -> Any:
        """The tensor that an op gives: the integer one where ``index`` is what a DEQUANTIZE makes of it."""
        return self.graph.tensors[self.others.get(index, index)]

    def _is(self, index: int, dtype: str) -> bool:
        from ai_edge_litert import schema_py_generated as schema

        return bool(self.graph.tensors[index].type == getattr(schema.TensorType, dtype))

    @staticmethod
    def _version(name: str) -> int | None:
        if name in FIXED:
            return FIXED[name][0]
        return {**MOVES, **CHANGES, **COUNTS}.get(name)

    def _rewritten(self, op: Any, name: str) -> Iterator[Any]:
        """The op on int8 tensors, and a DEQUANTIZE of its output for whoever still wants float."""
        source, result = self.twins[int(op.inputs[0])], int(op.outputs[0])
        op.inputs = [source, *(self._constant(int(index)) for index in op.inputs[1:])]
        op.opcodeIndex = self._code(self.model.operatorCodes[op.opcodeIndex], self._version(name))
        yield op
        if name in COUNTS:
            return
        twin = self._requantized(result) if name in CHANGES else None
        if twin is None:
            twin = self._twin(self.graph.tensors[result], self._quantization(name, source, result))
        self.twins[result] = twin
        op.outputs = [twin]
        yield self._converter("DEQUANTIZE", twin, result)

    def _requantized(self, result: int) -> int | None:
        """The int8 tensor that a float one becomes where that is all it is read for: its scale is the one to have."""
        readers = [op for op in self.graph.operators if result in map(int, op.inputs)]
        names = [builtin_name(self.model.operatorCodes[op.opcodeIndex]) for op in readers]
        if names != ["QUANTIZE"] or not self._is(int(readers[0].outputs[0]), "INT8"):
            return None
        return int(readers[0].outputs[0])

    def _quantization(self, name: str, source: int, result: int) -> Any:
        if name in MOVES:
            return self.graph.tensors[source].quantization
        if name in FIXED:
            return _parameters(*FIXED[name][1:])
        return self._affine(*self.ranges[text(self.graph.tensors[result].name)])

    def _affine(self, low: float, high: float) -> Any:
        low, high = min(low, 0.0), max(high, 0.0)
        if self.scheme.symmetric_activations:
            return _parameters(max(-low, high) / _LARGEST, 0)
        scale = (high - low) / _STEPS
        return _parameters(scale, round(_LOWEST - low / scale))

    def _constant(self, index: int) -> int:
        """A float constant (the slopes of a PRELU) as int8, symmetric, per tensor; every other input as it is."""
        import numpy as np
        from ai_edge_litert import schema_py_generated as schema

        if index < 0 or not self._is(index, "FLOAT32"):
            return index
        tensor = self.graph.tensors[index]
        values = np.frombuffer(bytes(self.model.buffers[tensor.buffer].data), np.float32)
        scale = max(float(np.abs(values).max()), _SMALLEST) / _LARGEST
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(np.round(values / scale).astype(np.int8).tobytes(), np.uint8)
        self.model.buffers.append(buffer)
        twin = self._twin(tensor, _parameters(scale, 0))
        self.graph.tensors[twin].buffer = len(self.model.buffers) - 1
        return twin

    def _twin(self, tensor: Any, quantization: Any) -> int:
        from ai_edge_litert import schema_py_generated as schema

        twin = schema.TensorT()
        twin.name, twin.shape, twin.shapeSignature = text(tensor.name) + "/int8", tensor.shape, tensor.shapeSignature
        twin.type, twin.hasRank, twin.buffer, twin.quantization = (
            schema.TensorType.INT8,
            tensor.hasRank,
            0,
            quantization,
        )
        self.graph.tensors.append(twin)
        return len(self.graph.tensors) - 1

    def _converter(self, name: str, source: int, result: int) -> Any:
        from ai_edge_litert import schema_py_generated as schema

        code, options = schema.OperatorCodeT(), f"{name.capitalize()}Options"
        code.builtinCode = code.deprecatedBuiltinCode = getattr(schema.BuiltinOperator, name)
        op = schema.OperatorT()
        op.opcodeIndex, op.inputs, op.outputs = self._code(code, _VERSIONS[name]), [source], [result]
        op.builtinOptionsType = getattr(schema.BuiltinOptions, options)
        op.builtinOptions = getattr(schema, f"{options}T")()
        return op

    def _code(self, like: Any, version: int | None) -> int:
        """Index of the operator code of at least that version; others' ops keep theirs."""
        from copy import copy

        version = max(like.version, version or 1)
        for index, code in enumerate(self.model.operatorCodes):
            if builtin_name(code) == builtin_name(like) and code.version == version:
                return index
        wanted = copy(like)
        wanted.version = version
        self.model.operatorCodes.append(wanted)
        return len(self.model.operatorCodes) - 1

    def _needed(self, operators: list[Any]) -> Iterator[Any]:
        """Without the DEQUANTIZEs that nobody reads any more."""
        read = {int(index) for op in operators for index in op.inputs} | {int(i) for i in self.graph.outputs}
        for op in operators:
            name = builtin_name(self.model.operatorCodes[op.opcodeIndex])
            if name != "DEQUANTIZE" or int(op.outputs[0]) in read:
                yield op


def _parameters(scale: float, zero_point: int) -> Any:
    import numpy as np
    from ai_edge_litert import schema_py_generated as schema

    parameters = schema.QuantizationParametersT()
    parameters.scale, parameters.zeroPoint = np.array([scale], np.float32), np.array([zero_point], np.int64)
    return parameters

"""A float model with probes: every layer's result can be read, and an error can be added to it.

Each float op output ``t`` becomes ``t = raw + error``, where ``error`` is a new input of the graph (0 unless set) and
``raw`` a new output; an op with quantized weights gets a twin, fed by the same inputs, that computes with the weights
as the quantized file has them.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgekit_converters.flatbuffer import builtin_name, read, text, write

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

RECURRENT = ("LSTM", "RNN", "SVDF", "WHILE", "IF", "CALL_ONCE")
"""Ops with state or a graph of their own get no twin: it would change the state twice."""
INPUT = "INPUT"
"""The operator of a site that is an input of the model."""
SQUASHING = ("SOFTMAX", "LOG_SOFTMAX", "LOGISTIC")


@dataclass(frozen=True, kw_only=True)
class Site:
    """One op that has probes, or an input of the model."""

    name: str
    """The op's first output, or the input itself."""
    op: str
    """Builtin operator, or ``INPUT``."""
    outputs: tuple[str, ...]
    """Its float outputs, by tensor name."""
    inputs: tuple[str, ...]
    """The float tensors it reads that are no constants."""
    weights: tuple[str, ...]
    """Constants that the quantized file has in another form; empty where there are none."""


@dataclass(frozen=True, kw_only=True)
class Probed:
    """The model with probes, and where they are; tensors by their names in the probed model."""

    tflite: bytes
    sites: tuple[Site, ...]
    """In the order of execution, the model's inputs first."""
    errors: Mapping[str, str]
    """Tensor -> the input that adds to it."""
    raw: Mapping[str, str]
    """Tensor -> the output that is it, before anything is added."""
    twins: Mapping[str, str]
    """Tensor -> the output computed with quantized weights."""
    results: tuple[str, ...]
    """What errors are judged by: the model's outputs, or what goes into their softmax or sigmoid, which hides them."""


def probe(float_model: bytes, weights: "Mapping[str, Array]") -> Probed:
    """Put probes into the main subgraph of a float .tflite.

    ``weights``: constant's name -> its value in the quantized file, float32 in the float model's shape. Raises
    SourceError for what is no .tflite.
    """
    model = read(float_model, what="the float model")
    graph = model.subgraphs[0]
    builder = _Builder(model=model, graph=graph, add_code=_add_code(model))
    input_sites = [builder.probe_input(int(index)) for index in list(graph.inputs) if builder.is_probed(int(index))]
    operators = list(graph.operators)
    results = tuple(builder.name(builder.before_squashing(int(index), operators)) for index in graph.outputs)
    builder.operators.extend(builder.leading)
    op_sites = [builder.probe_op(operator, weights) for operator in operators]
    graph.operators = builder.operators
    graph.inputs = [*(int(index) for index in graph.inputs), *builder.new_inputs]
    graph.outputs = [*(int(index) for index in graph.outputs), *builder.new_outputs]
    model.signatureDefs = None
    return Probed(
        tflite=write(model),
        sites=(*input_sites, *(site for site in op_sites if site is not None)),
        errors=builder.errors,
        raw=builder.raw,
        twins=builder.twins,
        results=results,
    )


class _Builder:
    """The graph while probes are put into it."""

    def __init__(self, *, model: Any, graph: Any, add_code: int) -> None:
        self.model, self.graph, self.add_code = model, graph, add_code
        self.operators: list[Any] = []
        self.leading: list[Any] = []
        self.new_inputs: list[int] = []
        self.new_outputs: list[int] = []
        self.errors: dict[str, str] = {}
        self.raw: dict[str, str] = {}
        self.twins: dict[str, str] = {}
        self.replaced: dict[int, int] = {}
        """Index of a model input -> index of it with the error added."""

    def name(self, index: int) -> str:
        return text(self.graph.tensors[index].name)

    def is_constant(self, index: int) -> bool:
        data = self.model.buffers[self.graph.tensors[index].buffer].data
        return data is not None and len(data) > 0

    def is_probed(self, index: int) -> bool:
        from ai_edge_litert import schema_py_generated as schema

        tensor = self.graph.tensors[index]
        shape = [] if tensor.shape is None else list(tensor.shape)
        floats = tensor.type == schema.TensorType.FLOAT32
        return floats and not tensor.isVariable and not self.is_constant(index) and 0 not in shape

    def before_squashing(self, output: int, operators: list[Any]) -> int:
        """The logits of an output of probabilities, else the output itself."""
        for operator in operators:
            kind = builtin_name(self.model.operatorCodes[operator.opcodeIndex])
            if kind in SQUASHING and [int(index) for index in operator.outputs] == [output]:
                return int(operator.inputs[0])
        return output

    def probe_input(self, index: int) -> Site:
        shifted = self.add_tensor(index, "/shifted")
        self.replaced[index] = shifted
        self.leading.append(self.add_error(index, result=shifted, name=self.name(index)))
        # The outputs of a model may be its inputs, and stay what they are.
        self.raw[self.name(index)] = self.name(index)
        return Site(name=self.name(index), op=INPUT, outputs=(self.name(index),), inputs=(), weights=())

    def probe_op(self, operator: Any, weights: "Mapping[str, Array]") -> Site | None:
        kind = builtin_name(self.model.operatorCodes[operator.opcodeIndex])
        read_indices = [int(index) for index in (() if operator.inputs is None else operator.inputs)]
        outputs = [int(index) for index in (() if operator.outputs is None else operator.outputs)]
        probed = [index for index in outputs if self.is_probed(index)]
        constants = [index for index in read_indices if index >= 0 and self.is_constant(index)]
        quantized = [index for index in constants if self.name(index) in weights] if probed else []
        if any(word in kind for word in RECURRENT):
            quantized = []
        operator.inputs = [self.replaced.get(index, index) for index in read_indices]
        if quantized:
            self.operators.append(self.twin(operator, outputs, probed, weights))
        raw = {index: self.add_tensor(index, "/raw") for index in probed}
        operator.outputs = [raw.get(index, index) for index in outputs]
        self.operators.append(operator)
        for index, source in raw.items():
            self.new_outputs.append(source)
            self.raw[self.name(index)] = self.name(source)
            self.operators.append(self.add_error(source, result=index, name=self.name(index)))
        if not probed:
            return None
        return Site(
            name=self.name(outputs[0]),
            op=kind,
            outputs=tuple(self.name(index) for index in probed),
            inputs=tuple(self.name(index) for index in read_indices if index >= 0 and self.is_probed(index)),
            weights=tuple(self.name(index) for index in quantized),
        )

    def twin(self, operator: Any, outputs: list[int], probed: list[int], weights: "Mapping[str, Array]") -> Any:
        twin = copy.copy(operator)
        twin.inputs = [
            self.add_constant(index, weights[self.name(index)])
            if index >= 0 and self.is_constant(index) and self.name(index) in weights
            else index
            for index in operator.inputs
        ]
        twin.outputs = [self.add_tensor(index, "/twin") for index in outputs]
        for index, copied in zip(outputs, twin.outputs, strict=True):
            if index in probed:
                self.new_outputs.append(copied)
                self.twins[self.name(index)] = self.name(copied)
        return twin

    def add_error(self, source: int, *, result: int, name: str) -> Any:
        """``result = source + error``, with ``error`` as a new input."""
        from ai_edge_litert import schema_py_generated as schema

        error = self.add_tensor(source, "/error")
        self.new_inputs.append(error)
        self.errors[name] = self.name(error)
        op = schema.OperatorT()
        op.opcodeIndex, op.inputs, op.outputs = self.add_code, [source, error], [result]
        op.builtinOptionsType, op.builtinOptions = schema.BuiltinOptions.AddOptions, schema.AddOptionsT()
        return op

    def add_tensor(self, like: int, suffix: str) -> int:
        tensor = copy.copy(self.graph.tensors[like])
        tensor.name, tensor.buffer = self.name(like) + suffix, 0
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def add_constant(self, like: int, values: "Array") -> int:
        import numpy as np
        from ai_edge_litert import schema_py_generated as schema

        index = self.add_tensor(like, "/quantized")
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(values.astype("<f4").tobytes(), np.uint8)
        self.graph.tensors[index].buffer = len(self.model.buffers)
        self.model.buffers.append(buffer)
        return index


def _add_code(model: Any) -> int:
    from ai_edge_litert import schema_py_generated as schema

    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.ADD
    code.version = 1
    model.operatorCodes.append(code)
    return len(model.operatorCodes) - 1

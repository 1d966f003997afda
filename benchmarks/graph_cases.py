"""Small graphs of several ops, from a seed: what depends on an op's neighbours, and how a graph falls into partitions.

Constants of few bits that a DEQUANTIZE widens for ops that are taken and ops that are not, branches and joins around
ops that XNNPACK does not have, computed shapes, variables.
"""

from __future__ import annotations

from random import Random

from benchmarks.case_parts import Case, constant
from benchmarks.small_models import Node, Tensor, small_model

SHAPE = (1, 4, 4, 2)
LEFT_OPS = (("RELU_0_TO_1", ""), ("LOG_SOFTMAX", "LogSoftmaxOptions"), ("ZEROS_LIKE", "ZerosLikeOptions"))
"""Ops of one input that XNNPACK does not take."""
TAKEN_OPS = (("RELU", ""), ("TANH", ""), ("SQUARE", "SquareOptions"))


class Graph:
    """Grows one op at a time; every activation is float32 of the same shape."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.tensors: dict[str, Tensor] = {"x": Tensor(shape=SHAPE)}
        self.nodes: list[Node] = []
        self.values = ["x"]
        self.wide: list[str] = []
        """Constants of the same shape that a DEQUANTIZE widens."""

    def add(self, name: str, tensor: Tensor) -> str:
        """A tensor with a name of its own."""
        name = f"{name}{len(self.tensors)}"
        self.tensors[name] = tensor
        return name

    def node(self, op: str, inputs: list[str], *, table: str = "", version: int = 1, **options: object) -> str:
        """An op whose output is one more value."""
        output = self.add("y", Tensor(shape=SHAPE))
        self.nodes.append(
            Node(op=op, inputs=tuple(inputs), outputs=(output,), table=table, version=version, options=options)
        )
        self.values.append(output)
        return output

    def value(self) -> str:
        """Any value so far, mostly a late one."""
        return self.random.choice(self.values[-3:] if self.random.random() < 0.7 else self.values)

    def widened(self, shape: tuple[int, ...]) -> str:
        """A constant float16 or int8 tensor through a DEQUANTIZE."""
        packed = Tensor(shape=shape, dtype="float16", constant=True)
        if self.random.random() < 0.4:
            packed = Tensor(shape=shape, dtype="int8", constant=True, scales=(0.1,), zero_points=(0,))
        if self.random.random() < 0.1:
            packed = Tensor(shape=shape, dtype="uint8", constant=True, scales=(0.1,), zero_points=(5,))
        narrow, wide = self.add("c", packed), self.add("w", Tensor(shape=shape))
        self.nodes.append(
            Node(op="DEQUANTIZE", inputs=(narrow,), outputs=(wide,), table="DequantizeOptions", version=3)
        )
        return wide


def one_input(graph: Graph) -> None:
    op, table = graph.random.choice(TAKEN_OPS if graph.random.random() < 0.6 else LEFT_OPS)
    graph.node(op, [graph.value()], table=table)


def two_inputs(graph: Graph) -> None:
    op, table = graph.random.choice([("ADD", "AddOptions"), ("MUL", "MulOptions"), ("FLOOR_MOD", "FloorModOptions")])
    graph.node(op, [graph.value(), graph.value()], table=table)


def widened_operand(graph: Graph) -> None:
    """A constant of few bits that one or more ops read, taken or not."""
    if not graph.wide or graph.random.random() < 0.5:
        graph.wide.append(graph.widened(SHAPE))
    op, table = graph.random.choice([("ADD", "AddOptions"), ("PRELU", ""), ("FLOOR_MOD", "FloorModOptions")])
    shape_of_slope = SHAPE[1:]
    if op == "PRELU":
        slope = graph.widened(shape_of_slope)
        graph.node(op, [graph.value(), slope])
    else:
        graph.node(op, [graph.value(), graph.random.choice(graph.wide)], table=table)


def convolution(graph: Graph) -> None:
    """Weights and bias as they are, or widened."""
    depth = SHAPE[-1]
    held = graph.random.random() < 0.3
    shape = (depth, 3, 3, depth)
    weights = graph.add("w", Tensor(shape=shape, constant=True)) if held else graph.widened(shape)
    bias = (
        graph.widened((depth,))
        if graph.random.random() < 0.5
        else graph.add("b", Tensor(shape=(depth,), constant=True))
    )
    graph.node("CONV_2D", [graph.value(), weights, bias], table="Conv2DOptions", strideH=1, strideW=1)


def through_integers(graph: Graph) -> None:
    """QUANTIZE, an op or none on integers, DEQUANTIZE."""
    dtype = graph.random.choice(["int8", "uint8", "int16"])
    narrow = Tensor(shape=SHAPE, dtype=dtype, scales=(0.1,), zero_points=(0,))
    first = graph.add("q", narrow)
    graph.nodes.append(Node(op="QUANTIZE", inputs=(graph.value(),), outputs=(first,), table="QuantizeOptions"))
    if graph.random.random() < 0.5:
        second = graph.add("q", narrow)
        graph.nodes.append(
            Node(
                op="ADD", inputs=(first, first), outputs=(second,), table="AddOptions", options={"potScaleInt16": False}
            )
        )
        first = second
    graph.node("DEQUANTIZE", [first], table="DequantizeOptions", version=3)


def computed_shape(graph: Graph) -> None:
    """SHAPE of a value, then RESHAPE to it: not a constant, though it never changes."""
    value = graph.value()
    shape = graph.add("s", Tensor(shape=(len(SHAPE),), dtype="int32"))
    graph.nodes.append(
        Node(op="SHAPE", inputs=(value,), outputs=(shape,), table="ShapeOptions", options={"outType": 2})
    )
    graph.node("RESHAPE", [value, shape], table="ReshapeOptions")


def state(graph: Graph) -> None:
    """A variable: read, added to, written; of a dtype that is taken or not."""
    handle = graph.add("h", Tensor(shape=(), dtype="resource"))
    name = f"v{len(graph.nodes)}"
    graph.nodes.append(
        Node(op="VAR_HANDLE", inputs=(), outputs=(handle,), table="VarHandleOptions", options={"sharedName": name})
    )
    old = graph.node("READ_VARIABLE", [handle], table="ReadVariableOptions")
    new = graph.node("ADD", [old, graph.value()], table="AddOptions")
    graph.nodes.append(Node(op="ASSIGN_VARIABLE", inputs=(handle, new), outputs=(), table="AssignVariableOptions"))


def moved(graph: Graph) -> None:
    """Reshaped and back, or sliced whole."""
    flat = graph.add("r", Tensor(shape=(16, 2)))
    to, back = graph.add("p", constant([16, 2])), graph.add("p", constant(list(SHAPE)))
    graph.nodes.append(Node(op="RESHAPE", inputs=(graph.value(), to), outputs=(flat,), table="ReshapeOptions"))
    graph.node("RESHAPE", [flat, back], table="ReshapeOptions")


STEPS = (one_input, one_input, one_input, two_inputs, two_inputs, widened_operand, convolution, through_integers)
RARE_STEPS = (computed_shape, state, moved)


def graph_case(seed: int) -> Case:
    """Case number ``seed``: a name and the file; the same bytes every time."""
    random = Random(f"graph {seed}")
    graph = Graph(random)
    for _ in range(random.randint(2, 9)):
        random.choice(STEPS if random.random() < 0.85 else RARE_STEPS)(graph)
    return "graph", small_model(graph.tensors, graph.nodes)

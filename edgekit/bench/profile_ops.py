"""Rows of a runtime's profile -> the ops of the model that they are of. Pure; what is not certain stays open.

A kernel of the runtime is told with its node. XNNPACK tells its own operators, in order, by their place in a
partition: a convolution of 1 x 1 is a "Fully Connected" there, an activation may be a "Clamp" of its own or part of
another one. The kernels of the runtime cut the model into stretches; within one, operators and ops that compute
something are matched in order, and only if all of them fit.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from edgekit_converters.structure import OpInfo

DELEGATE = "Delegate"
"""Owner of a row inside a delegate; the runtime's own kernels have ``Builtin``."""
PREFIX = "Delegate/"

COMPUTING: Mapping[str, frozenset[str]] = {
    "Convolution": frozenset({"CONV_2D", "DEPTHWISE_CONV_2D"}),
    "Fully Connected": frozenset({"FULLY_CONNECTED", "CONV_2D"}),
    "Dynamic Fully Connected": frozenset({"FULLY_CONNECTED", "CONV_2D", "BATCH_MATMUL"}),
    "Batch Matrix Multiply": frozenset({"BATCH_MATMUL"}),
    "Deconvolution": frozenset({"TRANSPOSE_CONV"}),
    "Average Pooling": frozenset({"AVERAGE_POOL_2D", "MEAN"}),
    "Max Pooling": frozenset({"MAX_POOL_2D"}),
    "ArgMax Pooling": frozenset({"MAX_POOL_2D"}),
    "Mean": frozenset({"MEAN"}),
    "Sum": frozenset({"SUM"}),
    "Reduce Max": frozenset({"REDUCE_MAX"}),
    "Reduce Min": frozenset({"REDUCE_MIN"}),
    "Softmax": frozenset({"SOFTMAX"}),
    "Resize Bilinear": frozenset({"RESIZE_BILINEAR"}),
    "Depth To Space": frozenset({"DEPTH_TO_SPACE"}),
    "Space To Depth": frozenset({"SPACE_TO_DEPTH"}),
    "Add": frozenset({"ADD"}),
    "Subtract": frozenset({"SUB"}),
    "Multiply": frozenset({"MUL"}),
    "Divide": frozenset({"DIV"}),
    "Maximum": frozenset({"MAXIMUM"}),
    "Minimum": frozenset({"MINIMUM"}),
    "Power": frozenset({"POW"}),
    "Squared Difference": frozenset({"SQUARED_DIFFERENCE"}),
    "PReLU": frozenset({"PRELU"}),
    "LeakyReLU": frozenset({"LEAKY_RELU"}),
    "ELU": frozenset({"ELU"}),
    "GELU": frozenset({"GELU"}),
    "ApproxGELU": frozenset({"GELU"}),
    "HardSwish": frozenset({"HARD_SWISH"}),
    "Sigmoid": frozenset({"LOGISTIC"}),
    "TanH": frozenset({"TANH"}),
    "Abs": frozenset({"ABS"}),
    "Ceiling": frozenset({"CEIL"}),
    "Cosine": frozenset({"COS"}),
    "Exp": frozenset({"EXP"}),
    "Floor": frozenset({"FLOOR"}),
    "Log": frozenset({"LOG"}),
    "Negate": frozenset({"NEG"}),
    "Sine": frozenset({"SIN"}),
    "Square": frozenset({"SQUARE"}),
    "Square Root": frozenset({"SQRT"}),
    "Reciprocal Square Root": frozenset({"RSQRT"}),
}
"""Kind of an XNNPACK operator, without layout and types -> builtin operators that become one of it, always."""
HELPING: Mapping[str, frozenset[str]] = {
    "Static Reshape": frozenset({"RESHAPE", "EXPAND_DIMS", "SQUEEZE"}),
    "Convert": frozenset({"QUANTIZE", "DEQUANTIZE"}),
    "Clamp": frozenset({"RELU", "RELU6", "RELU_N1_TO_1", "RELU_0_TO_1"}),
    "Constant Pad": frozenset({"PAD", "PADV2"}),
    "Transpose": frozenset({"TRANSPOSE"}),
}
"""The same for those that XNNPACK adds or leaves out as it likes."""
CALLING = frozenset({"WHILE", "IF", "CALL_ONCE", "STABLEHLO_COMPOSITE"})
"""Ops that run other subgraphs, whose ops the runtime's summary lists beside them, with their time in it twice."""
COMPUTED = frozenset().union(*COMPUTING.values())


@dataclass(frozen=True, kw_only=True)
class RowKey:
    """A row of the runtime's summary, without its times."""

    kind: str
    owner: str
    place: int
    calls: int
    """In one inference. More than 1: the runtime adds up rows that are alike but for their partition."""


@dataclass(frozen=True, kw_only=True)
class PlacedRow:
    """One line of the profile."""

    row: int
    """Whose times these are."""
    call: int | None
    """0 or 1: this call of a row that has two; None: all its calls."""
    key: RowKey
    stretch: int | None
    """Number of the stretch between the runtime's kernels; None for a kernel of the runtime."""
    op: OpInfo | None = None
    """None: an operator of XNNPACK's own, or one of which it is not certain."""


def kind_of(name: str) -> str:
    """``Delegate/Convolution (NHWC, QC8) IGEMM`` is ``Convolution``."""
    return name.removeprefix(PREFIX).partition(" (")[0]


def place_rows(rows: Sequence[RowKey], ops: Sequence[OpInfo]) -> tuple[PlacedRow, ...]:
    """Rows in the order of execution, with their ops. ``ops``: of the main subgraph, in order."""
    nodes = [row.place for row in rows if row.owner != DELEGATE]
    by_node = {op.index: op for op in ops}
    known = all(_is_kernel_of(row, by_node.get(row.place)) for row in rows if row.owner != DELEGATE)
    if not known or any(later <= node for node, later in pairwise(nodes)):
        return tuple(PlacedRow(row=place, call=None, key=row, stretch=None) for place, row in enumerate(rows))
    taken = list(_stretches(nodes, ops))
    found: list[list[PlacedRow]] = [[] for _ in taken]
    own: list[PlacedRow] = []
    for place, row in enumerate(rows):
        placed = PlacedRow(row=place, call=None, key=row, stretch=None)
        if row.owner == DELEGATE:
            found[len(own)].append(replace(placed, stretch=len(own)))
        else:
            own.append(replace(placed, op=by_node[row.place] if row.calls == 1 else None))
    matched = [_match(part, stretch) for part, stretch in zip(_separate(found, taken), taken, strict=True)]
    return tuple(item for number, part in enumerate(matched) for item in (*part, *own[number : number + 1]))


def _is_kernel_of(row: RowKey, op: OpInfo | None) -> bool:
    return op is not None and row.kind.partition("/")[0] in {op.name, op.custom}


def _stretches(nodes: Sequence[int], ops: Sequence[OpInfo]) -> Iterator[list[OpInfo]]:
    """The ops before, between and after the runtime's own kernels."""
    edges = [-1, *nodes, max((op.index for op in ops), default=-1) + 1]
    for before, after in pairwise(edges):
        yield [op for op in ops if before < op.index < after]


def _separate(found: list[list[PlacedRow]], taken: Sequence[Sequence[OpInfo]]) -> list[list[PlacedRow]]:
    """Two calls of one row as two, where there is one place for the second: a later stretch that lacks this place."""
    parts = [list(part) for part in found]
    for number, part in enumerate(found):
        for item in part:
            if item.key.calls != 2:  # noqa: PLR2004 - the first call's time is told, so the second's is known too
                continue
            place = item.key.place
            lacking = [
                later
                for later in range(number + 1, len(found))
                if taken[later] and all(other.key.place != place for other in found[later])
            ]
            needing = [later for later in lacking if any(other.key.place > place for other in found[later])]
            choices = needing or lacking
            if len(choices) == 1:
                once = replace(item, key=replace(item.key, calls=1))
                parts[number][parts[number].index(item)] = replace(once, call=0)
                parts[choices[0]].append(replace(once, call=1, stretch=choices[0]))
    return [sorted(part, key=lambda item: item.key.place) for part in parts]


def _match(part: Sequence[PlacedRow], ops: Sequence[OpInfo]) -> list[PlacedRow]:
    """With the op of each row, where all that compute something fit one another in order."""
    rows = [place for place, item in enumerate(part) if kind_of(item.key.kind) in COMPUTING]
    known = [place for place, op in enumerate(ops) if op.name in COMPUTED]
    fits = len(rows) == len(known) and all(
        ops[op].name in COMPUTING[kind_of(part[row].key.kind)] for row, op in zip(rows, known, strict=True)
    )
    if not fits or any(item.key.calls != 1 for item in part):
        return list(part)
    found = {row: ops[op] for row, op in zip(rows, known, strict=True)}
    for (row, op), (next_row, next_op) in pairwise([(-1, -1), *zip(rows, known, strict=True), (len(part), len(ops))]):
        found.update(_helpers(part, ops, range(row + 1, next_row), range(op + 1, next_op)))
    return [replace(item, op=found.get(place)) for place, item in enumerate(part)]


def _helpers(
    part: Sequence[PlacedRow], ops: Sequence[OpInfo], rows: range, between: range
) -> Iterator[tuple[int, OpInfo]]:
    """Rows that help, between two that compute, with the ops there; of each kind only if there are as many."""
    for kind, names in HELPING.items():
        places = [row for row in rows if kind_of(part[row].key.kind) == kind]
        fitting = [ops[op] for op in between if ops[op].name in names]
        if len(places) == len(fitting):
            yield from zip(places, fitting, strict=True)

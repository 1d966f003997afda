"""What a compiled file says of the partitions: each custom op stands for what lies between its inputs and outputs."""

import pytest

from edgekit.compilers.told import told_placement
from edgekit.placement import Placement
from edgekit.target import load_target
from edgekit_converters.structure import OpInfo, Structure, TensorInfo
from tests.unit.op_graphs import graph, op, tensor

pytestmark = pytest.mark.unit


def reference(*, names: str = "t{}") -> Structure:
    """0 and 2 read the input, 1 is left to the CPU, 3 joins both ways."""

    def t(index: int) -> TensorInfo:
        return tensor(index, name=names.format(index))

    edges = [("ADD", (0,), 1), ("DIV", (1,), 2), ("ADD", (0,), 3), ("ADD", (2, 3), 4)]
    return graph([op(i, kind, [t(r) for r in read], [t(made)]) for i, (kind, read, made) in enumerate(edges)])


def compiled(*customs: tuple[tuple[int, ...], tuple[int, ...]]) -> Structure:
    """The DIV as it was, and an ``ethos-u`` op from these tensors to those, each."""
    ops: list[OpInfo] = [op(0, "DIV", [tensor(1)], [tensor(2)])]
    for index, (read, made) in enumerate(customs, 1):
        ops.append(op(index, "CUSTOM", [tensor(i) for i in read], [tensor(i) for i in made], custom="ethos-u"))
    return graph(ops)


def told(model: Structure, made: Structure) -> Placement:
    target = load_target("ethos-u55-128")
    return told_placement(
        model,
        made,
        target=target,
        accelerator=target.accelerators[0],
        accelerator_ops=frozenset({"ethos-u"}),
        told_by="vela 5.2.0",
        reasons={"DIV": "not in its table"},
    )


def partitions(found: Placement) -> list[tuple[str, tuple[int, ...]]]:
    return [(partition.processor.partition("-")[0], partition.ops) for partition in found.partitions]


def test_the_partitions_are_the_file_s() -> None:
    late = told(reference(), compiled(((0,), (1,)), ((0, 2), (4,))))
    assert partitions(late) == [("ethos", (0,)), ("cpu", (1,)), ("ethos", (2, 3))]
    early = told(reference(), compiled(((0,), (1, 3)), ((2, 3), (4,))))
    assert partitions(early) == [("ethos", (0, 2)), ("cpu", (1,)), ("ethos", (3,))]
    assert early.ops[1].refusals[0].reason == "not in its table"
    assert [(t.tensor, t.source) for t in early.transfers if t.destination == "cpu"] == [
        ("t1", "ethos-u55-128"),
        ("t4", "ethos-u55-128"),
    ]


@pytest.mark.parametrize(
    ("model", "made"),
    [
        (reference(names="same"), compiled(((0,), (1, 3)))),  # names say nothing
        (reference(), compiled(((0,), (1,)))),  # not all that was taken is between inputs and outputs
        (reference(), compiled(((), (1, 4)), ((), (3,)))),  # groups that wait for each other
    ],
    ids=["names", "uncovered", "cycle"],
)
def test_where_the_file_does_not_tell_they_are_the_partitioner_s(model: Structure, made: Structure) -> None:
    found = told(model, made)
    assert sorted(index for partition in found.partitions for index in partition.ops) == [0, 1, 2, 3]
    if all(each.outputs[0].name != "same" for each in model.ops):
        assert partitions(found) == [("ethos", (0, 2)), ("cpu", (1,)), ("ethos", (3,))]

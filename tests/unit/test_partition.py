"""Cutting a graph into what each processor runs: every op once, nothing before what it reads, as TFLite does it."""

import time
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.errors import ModelError
from edgekit.placement.entries import CPU
from edgekit.placement.partition import Step, delegate, partitions_of, steps_of, transfers_of
from edgekit_converters.structure import OpInfo, Structure
from tests.unit.op_graphs import chain, graph, op, tensor

pytestmark = pytest.mark.unit


@st.composite
def graphs(draw: Any) -> Structure:
    """Up to 14 ops; each reads up to three of the tensors before it, and some make two."""
    ops: list[OpInfo] = []
    made = [0, 1]
    for index in range(draw(st.integers(0, 14))):
        read = draw(st.lists(st.sampled_from(made), max_size=3, unique=True))
        new = [len(made) + i for i in range(draw(st.integers(1, 2)))]
        name = draw(st.sampled_from(["ADD", "ADD", "ADD", "WHILE"]))
        ops.append(op(index, name, [tensor(i) for i in read], [tensor(i) for i in new]))
        made += new
    return graph(ops)


def plan_of(structure: Structure, taken: set[int], **options: Any) -> tuple[Step, ...]:
    return delegate(steps_of(structure.ops), taken, "npu", **options)


@given(graphs(), st.sets(st.integers(0, 13)), st.sets(st.integers(0, 13)))
def test_every_op_is_in_one_partition_and_none_runs_before_what_it_reads(
    structure: Structure, first: set[int], second: set[int]
) -> None:
    plan = delegate(plan_of(structure, first), second, "gpu")
    partitions = partitions_of(plan)
    placed = [index for partition in partitions for index in partition.ops]
    assert sorted(placed) == [each.index for each in structure.ops]
    makers = {t.index: each.index for each in structure.ops for t in each.outputs}
    for each in structure.ops:  # in this order every op finds what it reads, so no two partitions wait for each other
        for read in each.inputs:
            assert read is not None
            assert read.index not in makers or placed.index(makers[read.index]) < placed.index(each.index)
    known = {each.index for each in structure.ops}
    runs_on = {index: partition.processor for partition in partitions for index in partition.ops}
    assert {i for i, processor in runs_on.items() if processor == "npu"} == first & known
    assert {i for i, processor in runs_on.items() if processor == "gpu"} == (second - first) & known
    stateful = [index for index in placed if structure.ops[index].name == "WHILE"]
    assert stateful == sorted(stateful)


@given(graphs(), st.sets(st.integers(0, 13)))
def test_what_is_moved_is_what_one_side_makes_and_the_other_reads(structure: Structure, taken: set[int]) -> None:
    partitions = partitions_of(plan_of(structure, taken))
    runs_on = {index: partition.processor for partition in partitions for index in partition.ops}
    makers = {f"t{t.index}": runs_on[each.index] for each in structure.ops for t in each.outputs}
    for transfer in transfers_of(structure, partitions, ()):
        assert transfer.source == makers.get(transfer.tensor, CPU)
        assert transfer.bytes == 256
        assert {transfer.source, transfer.destination} != {CPU}
    assert not transfers_of(structure, partitions, {"npu"})  # in the CPU's own memory nothing moves
    read = {f"t{t.index}" for each in structure.ops for t in each.inputs if t and runs_on[each.index] == "npu"}
    into = {t.tensor for t in transfers_of(structure, partitions, ()) if t.destination == "npu"}
    assert {name for name in read if makers.get(name, CPU) == CPU} <= into <= read


@given(graphs(), st.sets(st.integers(0, 13)), st.integers(1, 3))
def test_a_limit_keeps_the_largest_partitions(structure: Structure, taken: set[int], limit: int) -> None:
    sizes = sorted((len(p.ops) for p in partitions_of(plan_of(structure, taken)) if p.processor == "npu"), reverse=True)
    kept = [len(p.ops) for p in partitions_of(plan_of(structure, taken, limit=limit)) if p.processor == "npu"]
    assert sorted(kept, reverse=True) == sizes[:limit]


def test_ops_that_do_not_wait_for_each_other_are_one_partition() -> None:
    # 0 and 2 are taken; 1 is not and stands between them in the file, but 2 does not read what 1 makes
    structure = graph(
        [
            op(0, "ADD", [tensor(0)], [tensor(1)]),
            op(1, "SIN", [tensor(0)], [tensor(2)]),
            op(2, "ADD", [tensor(1)], [tensor(3)]),
        ]
    )
    assert [(p.processor, p.ops) for p in partitions_of(plan_of(structure, {0, 2}))] == [("npu", (0, 2)), (CPU, (1,))]


def test_a_compiler_that_stops_takes_the_first_partition_only() -> None:
    structure = chain("SIN", "ADD", "SIN", "ADD", "ADD")
    partitions = partitions_of(plan_of(structure, {1, 3, 4}, first=True))
    assert [(p.processor, p.ops) for p in partitions] == [(CPU, (0,)), ("npu", (1,)), (CPU, (2, 3, 4))]
    assert [(t.tensor, t.source, t.destination) for t in transfers_of(structure, partitions, ())] == [
        ("t1", CPU, "npu"),
        ("t2", "npu", CPU),
    ]


def test_from_one_partition_to_another_goes_through_the_cpu_s_memory_and_outputs_come_back() -> None:
    structure = graph(
        [
            op(0, "ADD", [tensor(0)], [tensor(1), tensor(2)]),
            op(1, "SIN", [tensor(1)], [tensor(3)]),
            op(2, "ADD", [tensor(2), tensor(3), tensor(9, constant=True)], [tensor(4)]),
        ],
        outputs=(2, 4, 4),
    )
    partitions = partitions_of(plan_of(structure, {0, 2}))
    moved = [(t.tensor, t.source, t.destination) for t in transfers_of(structure, partitions, ())]
    assert moved == [
        ("t0", CPU, "npu"),
        ("t1", "npu", CPU),
        ("t2", "npu", "npu"),
        ("t3", CPU, "npu"),
        ("t2", "npu", CPU),
        ("t4", "npu", CPU),
    ]


def test_a_cycle_is_said() -> None:
    waiting = graph([op(0, "ADD", [tensor(2)], [tensor(1)]), op(1, "ADD", [tensor(1)], [tensor(2)])])
    with pytest.raises(ModelError, match="its graph has a cycle") as caught:
        plan_of(waiting, {0})
    assert "convert it again" in caught.value.hint


@pytest.mark.parametrize("other", ["SIN", "WHILE"])
def test_thousands_of_partitions_are_found_at_once(other: str) -> None:
    structure = chain(*("ADD", other) * 1500)
    begin = time.process_time()
    plan = plan_of(structure, set(range(0, 3000, 2)))
    assert time.process_time() - begin < 2  # a walk over all ops for every partition takes ten times as long
    assert len(partitions_of(plan)) == 3000


def test_memory_that_an_op_works_in_is_not_moved() -> None:
    structure = replace(graph([op(0, "ADD", [tensor(0), tensor(7)], [tensor(1)])], outputs=(1,)), input_indices=(0,))
    moved = [t.tensor for t in transfers_of(structure, partitions_of(plan_of(structure, {0})), ())]
    assert moved == ["t0", "t1"], "not t7, an Ethos-U's scratch"

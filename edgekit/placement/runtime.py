"""A placement from what a runtime or a compiler said it took, with the partitions and transfers that follow."""

from collections.abc import Collection, Mapping, Sequence
from typing import Literal

from edgekit.placement.context import context_of
from edgekit.placement.entries import Placement, Refusal
from edgekit.placement.partition import delegate, fuse, partitions_of, steps_of, transfers_of
from edgekit.placement.predict import in_cpu_memory, placements
from edgekit.target import Target
from edgekit_converters.structure import Structure


def from_taken(
    structure: Structure,
    target: Target,
    taken: Mapping[str, Collection[int]],
    *,
    basis: Literal["compiler", "runtime"],
    told_by: str,
    reasons: Mapping[str, Mapping[str, str]] | None = None,
    groups: Sequence[Collection[int]] | None = None,
) -> Placement:
    """``taken``: accelerator of the target -> indices in subgraph 0 of the ops that it runs.

    ``reasons``: accelerator -> operator -> why it was left out, in the teller's words. ``groups``: the partitions of
    the only accelerator in ``taken``, where they were told too; else they are those of TFLite's partitioner.

    Raises:
        ModelError: the graph has a cycle.
    """
    names = [accelerator.name for accelerator in target.accelerators if accelerator.name in taken]
    return placed(
        structure,
        {name: taken[name] for name in names},
        target=target.name,
        basis=basis,
        told_by=told_by,
        in_memory=in_cpu_memory(target),
        reasons=reasons,
        groups=groups,
    )


def placed(
    structure: Structure,
    taken: Mapping[str, Collection[int]],
    *,
    target: str,
    basis: Literal["compiler", "runtime"],
    told_by: str,
    in_memory: frozenset[str] = frozenset(),
    reasons: Mapping[str, Mapping[str, str]] | None = None,
    groups: Sequence[Collection[int]] | None = None,
) -> Placement:
    """As ``from_taken``, of processors that no profile needs to know, in the order in which they took.

    ``in_memory``: those of them that work on the CPU's memory, and copy nothing.

    Raises:
        ModelError: the graph has a cycle.
    """
    names = list(taken)
    context = context_of(structure, 0)
    plan = steps_of(context.ops)
    for name in names:
        plan = delegate(plan, taken[name], name) if groups is None else fuse(plan, groups, name)
    processors = {index: step.processor for step in plan for index in step.ops}
    refusals = {
        op.index: [
            Refusal(accelerator=name, reason=why, change="")
            for name in names[: names.index(processors[op.index]) if processors[op.index] in names else None]
            if (why := (reasons or {}).get(name, {}).get(op.custom or op.name))
        ]
        for op in context.ops
    }
    partitions = partitions_of(plan)
    return Placement(
        target=target,
        basis=basis,
        told_by=told_by,
        ops=tuple(placements(context.ops, plan, refusals)),
        partitions=partitions,
        transfers=transfers_of(structure, partitions, in_memory),
    )

"""Predict from rules which op runs where. Pure: nothing is run, nothing is read."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from edgekit.placement.context import Context, context_of
from edgekit.placement.entries import CPU, OpPlacement, Placement, Refusal
from edgekit.placement.match import explain
from edgekit.placement.partition import Step, delegate, partitions_of, steps_of, transfers_of
from edgekit.placement.rules import DelegateRules, load_rules
from edgekit.target import Accelerator, Target
from edgekit_converters.structure import OpInfo, Structure, op_macs

Refusals = dict[int, list[Refusal]]
"""Index of an op in its subgraph -> why accelerators did not take it, in their order."""


def rules_of(target: Target, directory: Path = Path()) -> dict[str, DelegateRules]:
    """Name -> rules that the target's accelerators name; raises TargetError for a file that is missing or broken."""
    names = dict.fromkeys(accelerator.rules for accelerator in target.accelerators)
    return {name: load_rules(name, directory) for name in names if name is not None}


def place(structure: Structure, target: Target, rules: Mapping[str, DelegateRules]) -> Placement:
    """Where each op would run.

    ``rules`` are by name, as ``rules_of`` reads them; an accelerator that names none is listed in ``not_predicted``.

    Raises:
        ModelError: the graph has a cycle.
        TargetError: rules name a check that edgekit does not have.
    """
    judges = [(accelerator, rules[name]) for accelerator in target.accelerators if (name := accelerator.rules)]
    placed: list[OpPlacement] = []
    plan: tuple[Step, ...] = ()
    for subgraph in dict.fromkeys((0, *(op.subgraph for op in structure.ops))):
        context = context_of(structure, subgraph)
        refusals: Refusals = {op.index: [] for op in context.ops}
        steps = steps_of(context.ops)
        for accelerator, its_rules in judges:
            steps = _offer(steps, context, accelerator, its_rules, refusals)
        placed.extend(placements(context.ops, steps, refusals))
        plan = steps if subgraph == 0 else plan
    partitions = partitions_of(plan)
    return Placement(
        target=target.name,
        basis="prediction",
        told_by=", ".join(f"rules/{its_rules.name}.toml ({its_rules.version})" for _, its_rules in judges),
        ops=tuple(placed),
        partitions=partitions,
        transfers=transfers_of(structure, partitions, in_cpu_memory(target)),
        not_predicted=tuple(accelerator.name for accelerator in target.accelerators if accelerator.rules is None),
    )


def in_cpu_memory(target: Target) -> frozenset[str]:
    """Accelerators that copy nothing: other kernels for the same cores."""
    return frozenset(accelerator.name for accelerator in target.accelerators if accelerator.kind == "cpu")


def placements(
    ops: Iterable[OpInfo], plan: Iterable[Step], refusals: Mapping[int, Iterable[Refusal]]
) -> Iterable[OpPlacement]:
    """The ops of one subgraph with the processor that the plan gives them."""
    processors = {index: step.processor for step in plan for index in step.ops}
    for op in ops:
        yield OpPlacement(
            index=op.index,
            subgraph=op.subgraph,
            op=op.custom or op.name,
            output=op.outputs[0].name if op.outputs else "",
            processor=processors[op.index],
            macs=op_macs(op),
            refusals=tuple(refusals.get(op.index, ())),
        )


def _offer(
    plan: tuple[Step, ...], context: Context, accelerator: Accelerator, rules: DelegateRules, refusals: Refusals
) -> tuple[Step, ...]:
    """The plan after one accelerator; what it does not take is added to ``refusals``."""
    ops = {op.index: op for op in context.ops}
    context = replace(context, fits=lambda op: explain(op, rules, context) is None)
    left = [index for step in plan if step.processor == CPU for index in step.ops]
    fits: set[int] = set()
    for index in left:
        refused = _refused(ops[index], accelerator, rules, context)
        if refused is None:
            fits.add(index)
        else:
            refusals[index].append(refused)
    after = delegate(plan, fits, accelerator.name, limit=accelerator.max_subgraphs, first=rules.stops)
    taken = {index for step in after if step.processor == accelerator.name for index in step.ops}
    for index in sorted(fits - taken):
        refusals[index].append(_cut_off(accelerator, rules))
    return after


def _refused(op: OpInfo, accelerator: Accelerator, rules: DelegateRules, context: Context) -> Refusal | None:
    if op.subgraph > 0 and accelerator.compiler is not None:  # a runtime's delegates see every subgraph, compilers one
        return Refusal(
            accelerator=accelerator.name,
            reason=f"it is in subgraph {op.subgraph}, which another op calls",
            change="Unroll the loop, or do without the branch.",
        )
    found = explain(op, rules, context)
    return None if found is None else Refusal(accelerator=accelerator.name, reason=found[0], change=found[1])


def _cut_off(accelerator: Accelerator, rules: DelegateRules) -> Refusal:
    if rules.stops:
        reason = "it would be taken, but comes after an op that is not, where the accelerator stops"
    else:
        reason = f"it would be taken, but only the {accelerator.max_subgraphs} largest partitions are"
    return Refusal(accelerator=accelerator.name, reason=reason, change="Change the ops that split the model.")

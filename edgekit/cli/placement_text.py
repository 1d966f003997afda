"""A placement as people read it: processors, partitions, what moves between them, and what does not fit."""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from edgekit.cli.options import output, print_findings

if TYPE_CHECKING:
    from rich.console import Console

    from edgekit.placement import OpPlacement, Partition, Placement
    from edgekit.target_placement import TargetPlacement

SHOWN = 12
"""Partitions, transfers and refusals of a long model; -v shows all."""
SHOWN_KINDS = 4
"""Kinds of ops that one line of a partition names."""
SHOWN_NAME = 48
"""Characters of a tensor's name: converters join the names of every layer they fused."""


def render_placement(found: "TargetPlacement", *, whole: bool) -> None:
    """Findings on stderr, the tables on stdout; ``whole`` shows every op."""
    print_findings(found.findings)
    screen, placement = output(), found.placement
    screen.print()
    screen.print(f"on {placement.target}: {says_who(placement)}", markup=False)
    if placement.not_predicted and not placement.told_by:
        return  # a table with everything on the CPU would look like an answer
    for line in describe_shares(placement):
        screen.print(f"  {line}", markup=False)
    _table(screen, ("", "processor", "ops", "what"), describe_partitions(placement), whole=whole)
    _table(screen, ("moves", "bytes", "from", "to"), describe_transfers(placement), whole=whole)
    _table(screen, ("does not fit", "where", "why", "change"), describe_refusals(found), whole=whole)
    for line in describe_differences(found):
        screen.print(f"\n{line}", markup=False)
    if whole:
        _table(screen, ("op", "kind", "processor", "output"), describe_ops(placement), whole=True)


def placement_json(found: "TargetPlacement") -> dict[str, Any]:
    """``placement`` of ``edgekit inspect --json``."""
    return {
        "target": found.target.name,
        "prediction": found.prediction,
        "told": found.told,
        "differences": [
            {"index": predicted.index, "op": predicted.op, "predicted": predicted.processor, "told": told.processor}
            for predicted, told in found.differences
        ],
        "findings": found.findings,
    }


def says_who(placement: "Placement") -> str:
    """Is it a prediction, and by whom?"""
    if placement.basis != "prediction":
        return f"told by {placement.told_by}."
    unknown = f"What {' and '.join(placement.not_predicted)} would take is not known."
    if not placement.told_by:
        return unknown if placement.not_predicted else "no accelerator, so the CPU runs everything."
    said = f"a prediction, nothing was run. By {placement.told_by}."
    return f"{said} {unknown}" if placement.not_predicted else said


def describe_shares(placement: "Placement") -> Iterator[str]:
    """Ops and multiply-accumulates of each processor."""
    total = sum(op.macs or 0 for op in placement.ops)
    hidden = sum(1 for op in placement.ops if op.macs is None)
    all_of_them = "the known multiply-accumulates" if hidden else "the multiply-accumulates"
    for processor, count in placement.counts.items():
        macs = sum(op.macs or 0 for op in placement.ops if op.processor == processor)
        share = f", {100 * macs / total:.1f} % of {all_of_them}" if total else ""
        yield f"{processor}: {count} of {len(placement.ops)} ops{share}"
    if hidden:
        yield f"multiply-accumulates of {hidden} {'op is' if hidden == 1 else 'ops are'} not known and not counted"


def describe_partitions(placement: "Placement") -> Iterator[tuple[str, ...]]:
    """In the order of execution: number, processor, ops by index, what they are."""
    ops = {op.index: op for op in placement.ops if op.subgraph == 0}
    for number, partition in enumerate(placement.partitions, 1):
        yield str(number), partition.processor, _span(partition), _kinds(ops[index].op for index in partition.ops)


def describe_transfers(placement: "Placement") -> Iterator[tuple[str, ...]]:
    """Tensor, bytes, from, to."""
    for transfer in placement.transfers:
        size = "not known" if transfer.bytes is None else f"{transfer.bytes:,}"
        yield _short(transfer.tensor), size, transfer.source, transfer.destination


def describe_refusals(found: "TargetPlacement") -> Iterator[tuple[str, ...]]:
    """Every reason once: the ops it holds for, the accelerator, why, what to change.

    The reasons are those of who placed the ops; what to change, compilers do not say, so that is from the rules.
    """
    advice = {
        (op.subgraph, op.index, refusal.accelerator): refusal.change
        for op in (found.prediction.ops if found.prediction else ())
        for refusal in op.refusals
    }
    groups: dict[tuple[str, str, str], dict[str, list[OpPlacement]]] = {}
    for op in found.placement.ops:
        for refusal in op.refusals:
            change = refusal.change or advice.get((op.subgraph, op.index, refusal.accelerator), "")
            kinds = groups.setdefault((refusal.accelerator, refusal.reason, change), {})
            kinds.setdefault(op.op, []).append(op)
    for (accelerator, reason, change), kinds in groups.items():
        yield ", ".join(_refused(name, ops) for name, ops in kinds.items()), accelerator, reason, change


def _refused(name: str, ops: "list[OpPlacement]") -> str:
    """``SOFTMAX #15``, ``9 CONV_2D from #0``."""
    first = f"#{ops[0].index}" + (f" in subgraph {ops[0].subgraph}" if ops[0].subgraph else "")
    return f"{name} {first}" if len(ops) == 1 else f"{len(ops)} {name} from {first}"


def describe_differences(found: "TargetPlacement") -> Iterator[str]:
    """Where the compiler did otherwise than the rules say."""
    if found.told is None or found.prediction is None:
        return
    if not found.differences:
        yield "The rules predict the same, op for op."
    for predicted, told in found.differences:
        yield f"{predicted.op} #{predicted.index}: predicted for {predicted.processor}, placed on {told.processor}"


def describe_ops(placement: "Placement") -> Iterator[tuple[str, ...]]:
    """Every op."""
    for op in placement.ops:
        yield f"#{op.index}" + (f" ({op.subgraph})" if op.subgraph else ""), op.op, op.processor, _short(op.output)


def _table(screen: "Console", titles: tuple[str, ...], rows: Iterable[tuple[str, ...]], *, whole: bool) -> None:
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    found = list(rows)
    if not found:
        return
    table = Table(*titles, box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for row in found if whole else found[:SHOWN]:
        table.add_row(*map(escape, row))
    screen.print()
    screen.print(table)
    if not whole and len(found) > SHOWN:
        screen.print(f"  and {len(found) - SHOWN} more: -v shows all", markup=False)


def _span(partition: "Partition") -> str:
    first, last, count = min(partition.ops), max(partition.ops), len(partition.ops)
    if count == 1:
        return f"#{first}"
    whole = last - first + 1 == count
    return f"{count}, #{first} to #{last}" if whole else f"{count} between #{first} and #{last}"


def _kinds(names: Iterable[str]) -> str:
    counts = Counter(names).most_common()
    shown = ", ".join(name if count == 1 else f"{count} {name}" for name, count in counts[:SHOWN_KINDS])
    rest = sum(count for _, count in counts[SHOWN_KINDS:])
    return f"{shown}, {rest} more" if rest else shown


def _short(name: str) -> str:
    return name if len(name) <= SHOWN_NAME else f"{name[: SHOWN_NAME - 3]}..."

"""What a delegate's coverage means: findings, what was predicted, and the gates. Pure but for reading rules."""

from collections.abc import Iterator, Mapping

from msgspec.structs import replace

from edgekit.bench.coverage import NONE, CoverageReport, Seen, is_external, processor
from edgekit.deployment import unused
from edgekit.entries import FindingEntry
from edgekit.errors import CoverageError
from edgekit.placement.predict import place, rules_of
from edgekit.target import Target
from edgekit_converters.structure import Structure

SHOWN = 4
"""Wrong predictions that a finding names."""


def coverage_findings(report: CoverageReport, seen: Seen) -> Iterator[FindingEntry]:
    """What is to be said of a delegate beside its figures."""
    if report.fallback is not None:
        yield FindingEntry(
            name="delegate-fallback",
            severity="warning",
            message=f"{report.fallback.delegate} could not be used; the CPU ran the model: {report.fallback.reason}",
            fix="These are figures of the CPU. Without --allow-fallback this is an error.",
        )
    if report.delegate != NONE and not report.taken_ops:
        yield unused(report.delegate, report.ops, "`edgekit inspect MODEL --target NAME` says why ops do not fit.")
    elif is_external(report.delegate) and report.time is not None and report.time.verdict != "faster":
        yield FindingEntry(
            name="not-faster",
            severity="warning",
            message=_not_faster(report),
            fix="Few ops taken, or many partitions, cost more than they save: `edgekit inspect` shows both.",
        )
    if seen.differ:
        yield FindingEntry(
            name="routes-differ",
            severity="warning",
            message=f"Run op by op, the delegate takes other ops than in one go: {len(seen.differ)} differ.",
            fix="The run in one go counts. The delegate may keep only its largest partitions.",
        )


def _not_faster(report: CoverageReport) -> str:
    time = report.time
    assert time is not None  # noqa: S101 - asked before
    low, high = time.interval
    return (
        f"With {report.delegate} the model is not surely faster than on the CPU: {time.delegate_ms:.4g} ms, and "
        f"{time.without_ms:.4g} ms with {time.without}; {100 * low:+.1f} % to {100 * high:+.1f} % of it went away."
    )


def compare_prediction(seen: Seen, structure: Structure, target: Target | None) -> tuple[FindingEntry, ...]:
    """Where the target's rules expect something else than what the runtime did.

    Only delegates that ran are predicted: of an accelerator that was not used nothing is expected, and nothing of ops
    that a delegate took which the profile does not know.

    Raises:
        TargetError: the rules cannot be read.
    """
    taken = {processor(item.delegate): frozenset(item.nodes) for item in seen.taken}
    ran = tuple(item for item in target.accelerators if processor(item.delegate) in taken) if target else ()
    if target is None or not ran or any(item.rules is None for item in ran):
        return ()
    active: Target = replace(target, accelerators=ran)
    rules = rules_of(active)
    predicted = {op.index: op.processor for op in place(structure, active, rules).ops if op.subgraph == 0}
    known = {item.name: taken[processor(item.delegate)] for item in ran}
    others = frozenset[int]().union(*taken.values()) - frozenset[int]().union(*known.values())
    wrong = _differences({node: where for node, where in predicted.items() if node not in others}, known)
    if not wrong:
        return ()
    told = f"{seen.runtime.name} {seen.runtime.version}"
    versions = sorted({item.version for item in rules.values()})
    said = [f"{seen.ops[node]} ({node}) {'taken' if it_did else 'not taken'} by {name}" for node, name, it_did in wrong]
    return (
        FindingEntry(
            name="prediction-differs",
            severity="warning" if versions == [told] else "info",
            message=f"The rules of {target.name} predict something else for {len(wrong)} of {len(seen.ops)} ops: "
            f"{', '.join(said[:SHOWN])}{' and others' if len(said) > SHOWN else ''}.",
            fix="What the runtime says is what runs. Please report it: a wrong rule is a defect."
            if versions == [told]
            else f"What the runtime says is what runs: {told}; the rules are of {', '.join(versions)}.",
        ),
    )


def _differences(predicted: Mapping[int, str], taken: Mapping[str, frozenset[int]]) -> list[tuple[int, str, bool]]:
    """Place of the op, accelerator, and whether that took it, where this was not predicted."""
    return [
        (node, name, node in nodes)
        for name, nodes in taken.items()
        for node, where in predicted.items()
        if (where == name) != (node in nodes)
    ]


def require_coverage(
    report: CoverageReport,
    *,
    min_coverage: float | None = None,
    require_delegate: bool = False,
    details: dict[str, object] | None = None,
) -> None:
    """Hold a delegate to what was asked for.

    min_coverage: share of the ops, 0 to 1. require_delegate: it was used, took an op, and, where it is a library that
    stands for the CPU, the whole interval of the time says that it is faster.

    Raises:
        CoverageError: it does not keep that (exit code 3).
    """
    if report.fallback is not None and (require_delegate or min_coverage is not None):
        raise CoverageError(
            f"{report.fallback.delegate} was required and could not be used: {report.fallback.reason}",
            hint="What was measured is the CPU; --allow-fallback does not stand for the delegate.",
            details=details,
        )
    if require_delegate and not report.taken_ops:
        said = "no delegate was used" if report.delegate == NONE else f"{report.delegate} took none of {report.ops} ops"
        raise CoverageError(
            f"A delegate was required, and {said}.",
            hint="Name one with --delegate; `edgekit inspect MODEL --target NAME` says why ops do not fit.",
            details=details,
        )
    if min_coverage is not None and report.by_ops < min_coverage:
        raise CoverageError(
            f"{report.delegate} took {report.taken_ops} of {report.ops} ops, {100 * report.by_ops:.1f} %; "
            f"{100 * min_coverage:g} % were asked for.",
            hint="`edgekit inspect MODEL --target NAME` says of each op why it does not fit, and what to change.",
            details=details,
        )
    if require_delegate and is_external(report.delegate):
        _require_faster(report, details)


def _require_faster(report: CoverageReport, details: dict[str, object] | None) -> None:
    if report.time is None:
        raise CoverageError(
            f"Whether {report.delegate} is faster than the CPU is not known: there is no time without it.",
            hint="The findings say why.",
            details=details,
        )
    if report.time.verdict != "faster":
        raise CoverageError(
            _not_faster(report),
            hint="Leave --require-delegate out to take it as it is; --min-coverage asks for the ops alone.",
            details=details,
        )

"""What the delegate did."""

from edgekit.bench.coverage import CoverageReport
from edgekit.bench.report import BenchmarkReport
from edgekit.report.coverage import describe, facts
from edgekit.report.html.view import Bar, KeyFigure, Part, Section, Table
from edgekit.report.html.words import percent, plural


def key_figures(report: BenchmarkReport) -> tuple[KeyFigure, ...]:
    """How many ops the delegate took."""
    found = report.coverage
    if found is None:
        return ()
    value = f"{found.taken_ops} of {found.ops} ops"
    return (KeyFigure(label=f"taken by {found.delegate}", value=value, note=plural(found.partitions, "partition")),)


def section(report: BenchmarkReport) -> Section | None:
    """None where it was not looked at."""
    found = report.coverage
    if found is None:
        return None
    table = Table(caption=f"What {found.delegate} did", heads=(), rows=tuple(facts(found)))
    return Section(title="Delegate", text=(describe(found),), pieces=(*_bar(found), table))


def _bar(found: CoverageReport) -> tuple[Bar, ...]:
    if not found.ops:
        return ()
    parts = tuple(
        Part(label=name, value=plural(count, "op"), share=count / found.ops, said=percent(count / found.ops))
        for name, count in found.placement.counts.items()
    )
    summary = "; ".join(f"{part.label} {part.value} ({part.said})" for part in parts)
    return (Bar(title="Who runs the ops", summary=f"{summary}.", parts=parts),)

"""What each op takes."""

from edgekit.bench.profile import OpProfile, ProfileReport
from edgekit.bench.report import BenchmarkReport
from edgekit.report.html.reduce import significant
from edgekit.report.html.view import Bar, Figure, Panel, Part, Section, Series, Table
from edgekit.report.html.words import UNKNOWN, level, number, percent, plural, span
from edgekit.report.profile import describe, longest, name
from edgekit_converters.layer_names import short_name

IN_BAR = 8
"""Parts that a bar can show; all others are one more."""
IN_FIGURE = 40


def section(report: BenchmarkReport) -> Section | None:
    """None where there is no profile."""
    found = report.profile
    if found is None:
        return None
    return Section(title="Time of each op", text=(describe(found),), pieces=(_bar(found), _figure(found)))


def _bar(found: ProfileReport) -> Bar:
    kept = longest(found.ops, IN_BAR)
    parts = [Part(label=_label(op), value=_us(op.time_us), share=op.share, said=percent(op.share)) for op in kept]
    others = len(found.ops) - len(kept)
    if others:
        share = max(0.0, 1 - sum(part.share for part in parts))
        rest = Part(label=f"{others} others", value=_us(share * found.total_us), share=share, said=percent(share))
        parts.append(rest)
    return Bar(
        title="Where the time of one inference goes",
        summary="; ".join(f"{part.label} {part.value} ({part.said})" for part in parts) + ".",
        parts=tuple(parts),
    )


def _figure(found: ProfileReport) -> Figure:
    kept = longest(found.ops, IN_FIGURE)
    spans = [op.interval_us or (op.time_us, op.time_us) for op in kept]
    times = Series(
        label="time",
        kind="points",
        values=tuple(significant(op.time_us) for op in kept),
        low=tuple(significant(low) for low, _ in spans) if found.processes > 1 else (),
        high=tuple(significant(high) for _, high in spans) if found.processes > 1 else (),
    )
    basis = f"{plural(found.processes, 'process')}, {plural(found.num_runs, 'profiled inference')}"
    held = f"; intervals of {level(found.level)} over the processes" if found.processes > 1 else ""
    shown = "" if len(kept) == len(found.ops) else f" The {len(kept)} of {len(found.ops)} that take longest."
    return Figure(
        title="Ops in the order of execution",
        summary=f"{basis}{held}.{shown}",
        panels=(
            Panel(
                x_label="op",
                y_label="time, µs",
                x=tuple(map(float, range(len(kept)))),
                x_names=tuple(_label(op) for op in kept),
                series=(times,),
                horizontal=True,
                y_from_zero=True,
            ),
        ),
        data=_table(found),
    )


def _table(found: ProfileReport) -> Table:
    heads = ("op", "output", "kernel", "time, µs", "interval, µs", "share", "so far", "MACs", "GMAC/s")
    rows = tuple(
        (
            _label(op),
            UNKNOWN if op.tensor is None else short_name(op.tensor),
            f"{op.kernel}{'' if op.calls == 1 else f' × {op.calls}'}" if op.delegate else "the runtime's own",
            number(op.time_us),
            "" if op.interval_us is None else span(op.interval_us),
            percent(op.share),
            percent(op.cumulative),
            UNKNOWN if op.macs is None else str(op.macs),
            "" if op.gmac_per_s is None else number(op.gmac_per_s),
        )
        for op in found.ops
    )
    return Table(caption="Time of each op", heads=heads, rows=rows)


def _label(op: OpProfile) -> str:
    return name(op) or op.kernel


def _us(value: float) -> str:
    return number(value, "µs")

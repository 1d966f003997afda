"""A sustained run on a terminal."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from edgekit.bench.heat.sustained import MINUTE_S, Phase, SustainedReport
from edgekit.report.units import milliseconds

if TYPE_CHECKING:
    from rich.table import Table

UNKNOWN = "unknown"


def sustained_table(report: SustainedReport) -> "Table":
    """The first minute beside the plateau, and below them how they differ and for how long the device throttled."""
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    level = f"{100 * report.level:.0f} % interval"
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column(_title(report), no_wrap=True)
    table.add_column(_first(report.first_minute), justify="right")
    last = f"plateau, from {_clock(report.plateau.start_s)}" if report.settled else "last third, not settled"
    table.add_column(last, justify="right")
    phases = report.first_minute, report.plateau
    table.add_row("median, ms", *(f"[bold]{milliseconds(phase.median_ms)}[/]" for phase in phases))
    table.add_row(f"  {level} within this process", *(_between(phase.interval_ms, milliseconds) for phase in phases))
    table.add_row("p99, ms", *(milliseconds(phase.p99_ms) for phase in phases))
    table.add_row("inferences per second", *(f"{phase.inferences_per_s:.1f}" for phase in phases))
    zone = "temperature, C" if report.zone is None else f"temperature of {escape(report.zone)}, C"
    table.add_row(zone, *(_between(phase.temperature_c, "{:.1f}".format) for phase in phases))
    table.add_row("clock, MHz", *(_between(phase.mhz, "{:.0f}".format) for phase in phases))
    table.add_section()
    later = "plateau" if report.settled else "last third"
    table.add_row(f"{later} over {_first(report.first_minute)}", "", f"[bold]{report.slowdown:.3f}[/]")
    table.add_row(f"  {level}", "", _between(report.slowdown_interval, "{:.3f}".format))
    table.add_row("throttled, s", "", UNKNOWN if report.throttled_s is None else f"{report.throttled_s:.0f}")
    return table


def _title(report: SustainedReport) -> str:
    pace = "" if report.rate_per_s is None else f", {report.rate_per_s:g} a second"
    return f"{_clock(report.secs)} of load{pace}"


def _first(phase: Phase) -> str:
    return "first minute" if phase.end_s >= MINUTE_S - 1 else f"first {phase.end_s:.0f} s"


def _clock(secs: float) -> str:
    """``9:59`` (minutes and seconds)."""
    whole = round(secs)
    return f"{whole // 60}:{whole % 60:02d}"


def _between(values: tuple[float, float] | None, show: Callable[[float], str]) -> str:
    if values is None:
        return UNKNOWN
    low, high = show(values[0]), show(values[1])
    return low if low == high else f"{low} to {high}"

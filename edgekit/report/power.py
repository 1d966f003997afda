"""Energy and battery on a terminal."""

from typing import TYPE_CHECKING

from edgekit.bench.power.battery import BatteryReport
from edgekit.bench.power.energy import EnergyReport
from edgekit.report.units import number

if TYPE_CHECKING:
    from rich.table import Table

UNKNOWN = "unknown"


def energy_table(report: EnergyReport) -> "Table":
    """What one inference costs, and by which gauge."""
    from rich.markup import escape

    found = report.energy_per_inference_mj
    held = "not known: the findings say why" if report.interval_mj is None else _range(report.interval_mj, "mJ")
    return _table(
        "energy",
        [
            ("energy per inference, above idle", UNKNOWN if found is None else f"[bold]{number(found)} mJ[/]"),
            (f"  {100 * report.level:.0f} % interval", held),
            ("mean power, idle", _unit(report.idle_power_w, "W")),
            ("mean power, load", _unit(report.load_power_w, "W")),
            ("inferences", f"{report.inferences} in {report.blocks} blocks of {report.processes} processes"),
            ("gauge", escape(f"{report.gauge.name} ({report.method})")),
            ("  covers", escape(report.gauge.covers)),
            ("  updates every", _unit(report.update_interval_s, "s")),
            ("  smallest step", _unit(report.resolution_w, "W")),
            ("smallest energy this run can tell", _unit(report.resolvable_mj, "mJ")),
        ],
    )


def battery_table(report: BatteryReport) -> "Table":
    """How fast it drains, and how long it lasts."""
    from rich.markup import escape

    rate = "as fast as they go" if report.rate_per_s is None else f"{report.rate_per_s:g} inferences/s"
    capacity = UNKNOWN if report.capacity_percent is None else "{:g} % to {:g} %".format(*report.capacity_percent)
    return _table(
        "battery",
        [
            (f"hours of operation, {rate}", _with_interval(report.hours, report.hours_interval, "h")),
            ("drain under load", _with_interval(report.drain_percent_per_h, report.drain_interval, "%/h")),
            ("drain when idle", _with_interval(report.idle_drain_percent_per_h, report.idle_drain_interval, "%/h")),
            ("power under load", _unit(report.load_power_w, "W")),
            ("power when idle", _unit(report.idle_power_w, "W")),
            ("inferences per second", _unit(report.measured_rate_per_s, "")),
            ("battery", escape(report.gauge.name)),
            ("  during the run", capacity),
        ],
    )


def _unit(value: float | None, unit: str) -> str:
    return UNKNOWN if value is None else f"{number(value)} {unit}".strip()


def _range(interval: tuple[float, float], unit: str) -> str:
    return f"{number(interval[0])} to {number(interval[1])} {unit}"


def _with_interval(value: float | None, interval: tuple[float, float] | None, unit: str) -> str:
    held = "" if interval is None else f" ({_range(interval, unit)})"
    return UNKNOWN + held if value is None else f"[bold]{number(value)} {unit}[/]{held}"


def _table(title: str, rows: "list[tuple[str, str]]") -> "Table":
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column(title, no_wrap=True)
    table.add_column("")
    for name, value in rows:
        table.add_row(name, value)
    return table

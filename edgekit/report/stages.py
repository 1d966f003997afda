"""The whole way of a sample on a terminal."""

from typing import TYPE_CHECKING

from edgekit.bench.stages import Stage, StagesReport
from edgekit.report.units import milliseconds

if TYPE_CHECKING:
    from rich.table import Table


def stages_table(report: StagesReport) -> "Table":
    """One row for each stage, the whole last, and what the sample was below."""
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    table = Table(
        box=box.SIMPLE_HEAD, pad_edge=False, caption=escape(f"sample: {report.sample}"), caption_justify="left"
    )
    table.add_column("stage", no_wrap=True)
    level = report.stages[0].latency_ms.level
    for name in ("median, ms", f"{100 * level:.0f} % interval", "p99, ms", "share"):
        table.add_column(name, justify="right")
    for stage in report.stages:
        table.add_row(*_cells(stage), style="bold" if stage.name == "whole" else None)
    return table


def _cells(stage: Stage) -> list[str]:
    latency = stage.latency_ms
    low, high = latency.median_interval
    share = "" if stage.name == "whole" else f"{100 * stage.share:.0f} %"
    return [
        stage.name,
        milliseconds(latency.median),
        f"{milliseconds(low)} to {milliseconds(high)}",
        milliseconds(latency.p99),
        share,
    ]

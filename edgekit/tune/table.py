"""A tuning run on a terminal."""

from typing import TYPE_CHECKING

from edgekit.report.units import milliseconds
from edgekit.tune.decision import Setup
from edgekit.tune.run import TuneReport

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

KIB = 1024


def print_tuning(report: TuneReport, console: "Console") -> None:
    """What was measured on what, the table, what did not run, the recommendation."""
    from rich.markup import escape

    facts = report.machine
    board = facts.board or facts.cpu or facts.architecture
    processes = f"{report.options.processes} processes each, in turns"
    console.print(f"[bold]{escape(report.device)}[/]: {escape(board)}, {report.runtime.name} {report.runtime.version}")
    accuracy = "" if report.metric is None else f"; {report.metric} on {report.samples} samples"
    budget = "" if report.max_drop is None else f", budget {report.max_drop}"
    console.print(f"{processes}{accuracy}{budget}", markup=False)
    console.print(tuning_table(report))
    for failed in report.failed:
        console.print(f"{failed.label} does not run here: {failed.message}", markup=False)
    if report.recommendation is not None:
        console.print(f"[bold]recommended[/]: {escape(report.recommendation.reason)}")


def tuning_table(report: TuneReport) -> "Table":
    """A row for each setup, the fastest first; ``*`` marks the frontier, ``>`` what is recommended."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("", no_wrap=True)
    for heading in ("file", "delegate"):
        table.add_column(heading, no_wrap=True)
    for heading in (
        "threads",
        "median, ms",
        "interval",
        "size, KiB",
        report.metric or "accuracy",
        "drop",
    ):
        table.add_column(heading, justify="right", no_wrap=True)
    chosen = report.recommendation.setup if report.recommendation else None
    for position, setup in enumerate(report.setups):
        mark = ">" if setup == chosen else "*" if position in report.frontier else ""
        table.add_row(mark, *_cells(setup), style="bold" if setup == chosen else None)
    return table


def _cells(setup: Setup) -> list[str]:
    file, latency = setup.candidate, setup.latency_ms
    over = " over" if file.keeps_budget is False else ""
    return [
        file.name,
        setup.delegate,
        str(setup.num_threads),
        milliseconds(latency.median),
        " to ".join(map(milliseconds, latency.median_interval)),
        f"{file.size_bytes / KIB:.1f}",
        "" if file.metric is None else f"{file.metric:.4f}",
        "" if file.lost is None else f"{file.lost}{over}",
    ]

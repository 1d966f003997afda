"""A comparison on a terminal."""

from typing import TYPE_CHECKING

from edgekit.bench.versus.comparison import Comparison, ComparisonReport
from edgekit.report.units import milliseconds

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

COLOURS = {"faster": "green", "slower": "red", "equal": "cyan", "inconclusive": "yellow"}


def print_comparison(report: ComparisonReport, console: "Console") -> None:
    """What was compared on what, the table, and each verdict as a sentence."""
    from rich.markup import escape

    facts = report.machine
    board = facts.board or facts.cpu or facts.architecture
    first, *others = (f"[bold]{escape(model.name)}[/]" for model in report.models)
    names = f"{first} with {', '.join(others)}"
    console.print(f"{names} on [bold]{escape(report.device)}[/]")
    console.print(escape(f"{board}, {report.runtime.name} {report.runtime.version}, {report.rounds} rounds"))
    console.print(comparison_table(report))
    for item in report.comparisons:
        console.print(f"[{COLOURS[item.verdict]}]{escape(sentence(item, margin=report.margin))}[/]")


def comparison_table(report: ComparisonReport) -> "Table":
    """One row for each model, the baseline first."""
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("model")
    table.add_column("median, ms", justify="right")
    table.add_column("change", justify="right")
    table.add_column("interval", justify="right")
    table.add_column("verdict")
    first, *others = report.models
    table.add_row(escape(first.name), milliseconds(first.median_ms), "", "", "baseline")
    for model, item in zip(others, report.comparisons, strict=True):
        low, high = item.interval
        interval = f"{100 * low:+.2f} to {100 * high:+.2f} % ({100 * item.level:.3g} %)"
        verdict = f"[{COLOURS[item.verdict]}]{item.verdict}[/]"
        table.add_row(
            escape(model.name), milliseconds(model.median_ms), f"{100 * item.effect:+.2f} %", interval, verdict
        )
    return table


def sentence(item: Comparison, *, margin: float) -> str:
    """The verdict in words."""
    low, high = sorted(100 * abs(bound) for bound in item.interval)
    within = f"within the margin of {100 * margin:g} %"
    match item.verdict:
        case "equal":
            return f"{item.candidate} is as fast as {item.baseline}, {within}."
        case "inconclusive":
            return (
                f"{item.candidate} against {item.baseline}: inconclusive; the interval is neither {within} nor outside."
            )
        case verdict:
            return f"{item.candidate} is {verdict} than {item.baseline} by {low:.2f} to {high:.2f} %."

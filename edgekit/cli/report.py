"""``edgekit report``."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgekit.cli.options import common, emit, option, output, print_findings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgekit.bench.report import BenchmarkReport
    from edgekit.bench.versus.comparison import ComparisonReport


@click.command(name="report")
@click.argument("runs", nargs=-1, required=True, metavar="RUN...")
@option("--html", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Write them as one page.")
@option("--title", help="Of the page.  [default: the first run's]")
@common
def command(
    *,
    runs: tuple[str, ...],
    html: Path | None,
    title: str | None,
    as_json: bool,
    verbose: bool,  # noqa: ARG001 - acts in its callback
) -> None:
    """Show kept runs side by side, here or as a page; changes are against the first.

    RUN is a run's id or the beginning of one, latest, latest~1 (the one before), latest:MODEL@DEVICE, or a file.
    """
    from edgekit.bench.report import BenchmarkReport
    from edgekit.history import find_run
    from edgekit.report import comparison_document, document
    from edgekit.report.html import check_html, write_html

    if html is not None:
        check_html(html)
    reports = [find_run(ref).report for ref in runs]
    if html is not None:
        write_html(reports, html, title=title)
        click.echo(f"written: {html}", err=True)
    if as_json:
        documents = [
            document(report) if isinstance(report, BenchmarkReport) else comparison_document(report)
            for report in reports
        ]
        emit({"runs": documents})
    elif html is None:
        _print(reports)


def _print(reports: "Sequence[BenchmarkReport | ComparisonReport]") -> None:
    from edgekit.bench.report import BenchmarkReport
    from edgekit.report import print_comparison, print_report

    benchmarks = [report for report in reports if isinstance(report, BenchmarkReport)]
    if len(benchmarks) > 1:
        _print_overview(benchmarks)
    for report in reports:
        if isinstance(report, BenchmarkReport):
            print_report(report, output())
        else:
            print_comparison(report, output())
        print_findings(report.findings)


def _print_overview(reports: "Sequence[BenchmarkReport]") -> None:
    """Figures down, runs across: runs are few, and their names are long."""
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    from edgekit.report.html.overview import side_by_side

    found = side_by_side(reports)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for place, row in enumerate(zip(found.heads, *found.rows, strict=True)):
        cells = [escape(cell) for cell in row]
        if place == 0:
            table.add_column("", no_wrap=True)
            for name in cells[1:]:
                table.add_column(name, justify="right")
        else:
            table.add_row(*cells)
    output().print(table)

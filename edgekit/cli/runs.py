"""``edgekit runs list|show|export``."""

from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgekit.cli.bench_options import parse_regression
from edgekit.cli.options import common, console, emit, output, print_findings

if TYPE_CHECKING:
    from rich.table import Table

    from edgekit.bench.report import BenchmarkReport
    from edgekit.bench.versus.comparison import ComparisonReport
    from edgekit.history import RunRecord


@click.group()
def command() -> None:
    """Runs of bench and compare, as they are kept in .edgekit/runs.

    REF is a run's id or the beginning of one, latest, latest~1 (the one before), latest:MODEL@DEVICE, or a file.
    """


@command.command("list")
@click.option("--model", help="Only runs of this model.")
@click.option("--device", help="Only runs on this device.")
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="So many of the newest.")
@common
def list_command(
    *,
    model: str | None,
    device: str | None,
    limit: int,
    as_json: bool,
    verbose: bool,  # noqa: ARG001 - acts in its callback
) -> None:
    """Show the kept runs, newest first. A damaged file is a line too."""
    from edgekit.history import DamagedRun, list_runs

    fitting = (
        run
        for run in list_runs()
        if isinstance(run, DamagedRun) or (model in {None, *run.models} and device in {None, run.report.device})
    )
    shown: list[Any] = []  # not the runs: all their samples would be in memory at once
    damaged = []
    for run in islice(fitting, limit):
        if isinstance(run, DamagedRun):
            damaged.append(run)
        else:
            shown.append(_facts(run) if as_json else _rows(run))
    if as_json:
        emit({"runs": shown, "damaged": damaged})
        return
    if shown:
        output().print(_table([row for rows in shown for row in rows]))
    elif not damaged:
        click.echo("No runs are kept here that fit; `edgekit bench` keeps each of its own.", err=True)
    for item in damaged:
        console().print(f"damaged: {item.id}: {item.message}", markup=False, style="yellow")


def _facts(run: "RunRecord") -> dict[str, Any]:
    """A run without its samples."""
    report = run.report
    facts: dict[str, Any] = {
        "id": run.id,
        "created": run.created,
        "kind": run.kind,
        "models": run.models,
        "device": report.device,
        "valid": run.valid,
        "note": run.note,
        "project_commit": run.project_commit,
    }
    if run.bench is not None:
        results = [{"num_threads": item.num_threads, "latency_ms": item.latency_ms} for item in run.bench.results]
        energy = None if run.bench.energy is None else run.bench.energy.energy_per_inference_mj
        return {**facts, "results": results, "energy_per_inference_mj": energy}
    return {**facts, "comparisons": run.comparison.comparisons if run.comparison else ()}


def _table(rows: list[tuple[str, ...]]) -> "Table":
    from rich import box
    from rich.table import Table

    names = ("id", "age", "model", "device", "result", "interval", "energy, mJ", "")
    left = {"id", "model", "device", ""}
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    columns = [(name, cells) for name, cells in zip(names, zip(*rows, strict=True), strict=True) if any(cells)]
    for name, _ in columns:
        table.add_column(name, justify="left" if name in left else "right", overflow="fold", no_wrap=name == "id")
    for row in zip(*(cells for _, cells in columns), strict=True):
        table.add_row(*row)
    return table


def _rows(run: "RunRecord") -> list[tuple[str, ...]]:
    from rich.markup import escape

    from edgekit.bench.report import BenchmarkReport

    report = run.report
    rows = _bench_rows(report) if isinstance(report, BenchmarkReport) else _comparison_rows(report)
    age = _age(datetime.now(UTC) - run.created)
    return [(escape(run.id), age, *row, "" if run.valid else "[red]invalid[/]") for row in rows]


def _age(passed: timedelta) -> str:
    """The largest unit alone: ``40 s``, ``5 min``, ``3 h``, ``12 d``."""
    seconds = max(0, int(passed.total_seconds()))
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length} {unit}"
    return f"{seconds} s"


def _bench_rows(report: "BenchmarkReport") -> list[tuple[str, ...]]:
    from rich.markup import escape

    from edgekit.report.units import milliseconds

    energy = None if report.energy is None else report.energy.energy_per_inference_mj
    several = len(report.results) > 1
    return [
        (
            escape(report.model)
            + (f", {result.num_threads} thread{'s' * (result.num_threads > 1)}" if several else ""),
            escape(report.device),
            f"{milliseconds(result.latency_ms.median)} ms",
            f"{' to '.join(map(milliseconds, result.latency_ms.median_interval))} ms",
            "" if place or energy is None else f"{energy:.4g}",
        )
        for place, result in enumerate(report.results)
    ]


def _comparison_rows(report: "ComparisonReport") -> list[tuple[str, ...]]:
    from rich.markup import escape

    return [
        (
            f"{escape(item.candidate)} against {escape(item.baseline)}",
            escape(report.device),
            f"{item.verdict} {100 * item.effect:+.1f} %",
            " to ".join(f"{100 * bound:+.1f} %" for bound in item.interval),
            "",
        )
        for item in report.comparisons
    ]


@command.command("show")
@click.argument("ref")
@common
def show_command(ref: str, *, as_json: bool, verbose: bool) -> None:
    """Show a run as its command did."""
    from edgekit.history import find_run
    from edgekit.report import print_comparison, print_report

    run = find_run(ref)
    if as_json:
        emit(run)
        return
    made = f"edgekit {run.edgekit_version}" + (f", project at {run.project_commit}" if run.project_commit else "")
    console().print(f"{run.id}: {run.created.astimezone():%Y-%m-%d %H:%M:%S %Z}, {made}", markup=False, style="dim")
    if run.note:
        console().print(f"note: {run.note}", markup=False)
    if run.bench is not None:
        print_report(run.bench, output(), every_op=verbose)
    if run.comparison is not None:
        print_comparison(run.comparison, output())
    print_findings(run.report.findings)


@command.command("export")
@click.argument("refs", metavar="REF...", nargs=-1, required=True)
@click.option(
    "--format", "kind", type=click.Choice(["csv", "json", "md"]), default="md", show_default=True,
    help="md: tables for a pull request; the first run is the baseline of the others.",
)  # fmt: skip
@click.option("--output", "path", type=click.Path(path_type=Path), metavar="FILE", help="Instead of stdout.")
@click.option(
    "--max-regression", default="3%", show_default=True, callback=parse_regression,
    help="md: how much slower than the first run is still good.",
)  # fmt: skip
@common
def export_command(
    refs: tuple[str, ...],
    *,
    kind: str,
    path: Path | None,
    max_regression: float,
    as_json: bool,
    verbose: bool,  # noqa: ARG001 - acts in its callback
) -> None:
    """Write runs as CSV, JSON or Markdown; --json is --format json."""
    from edgekit.history import find_run
    from edgekit.history.export import to_csv, to_json, to_markdown

    runs = [find_run(ref) for ref in refs]
    if as_json or kind == "json":
        text = to_json(runs)
    else:
        text = to_csv(runs) if kind == "csv" else to_markdown(runs, max_regression=max_regression)
    if path is None:
        click.echo(text, nl=False)
    else:
        _write(text, path)
        click.echo(f"{len(runs)} run{'s' * (len(runs) != 1)} -> {path}", err=True)


def _write(text: str, path: Path) -> None:
    """A file that appears whole or not at all; a pipe, or a link such as /dev/stdout, is written to, not replaced."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_symlink() or (path.exists() and not path.is_file()):
        path.write_text(text, encoding="utf-8")
        return
    staging = path.with_name(f".{path.name}.part")
    try:
        staging.write_text(text, encoding="utf-8")
        staging.replace(path)
    finally:
        staging.unlink(missing_ok=True)

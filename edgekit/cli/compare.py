"""``edgekit compare``."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgekit.cli.bench_options import parse_mask, parse_regression, say_where, write_page
from edgekit.cli.options import common, emit, option, output, print_findings, progress

if TYPE_CHECKING:
    from edgekit.bench.versus.comparison import ComparisonReport

MAX_MARGIN = 0.5


def _margin(context: click.Context, parameter: click.Parameter, value: str) -> float:
    margin = parse_regression(context, parameter, value)
    if not 0 < margin <= MAX_MARGIN:
        raise click.BadParameter(f"{value!r} is not above 0% and at most {100 * MAX_MARGIN:g}%.")
    return margin


def _several(_context: click.Context, _parameter: click.Parameter, value: tuple[Path, ...]) -> tuple[Path, ...]:
    from edgekit.bench.versus.compare import MAX_MODELS, MIN_MODELS

    if not MIN_MODELS <= len(value) <= MAX_MODELS:
        count = "is 1" if len(value) == 1 else f"are {len(value)}"
        raise click.UsageError(f"Give {MIN_MODELS} to {MAX_MODELS} models, the baseline first; here {count}.")
    return value


@click.command(name="compare")
@click.argument("models", required=True, nargs=-1, type=click.Path(path_type=Path), callback=_several)
@option("--device", default="local", show_default=True, help="A name in device_configs/, user@host, or local.")
@option(
    "--margin",
    metavar="1%",
    default="1%",
    show_default=True,
    callback=_margin,
    help="Two latencies that differ by less are equal.",
)
@option(
    "--max-secs",
    type=click.FloatRange(1, 3600),
    default=8.0,
    show_default=True,
    help="How long the models take turns; slow ones longer.",
)
@option(
    "--num-threads",
    "--threads",
    type=click.IntRange(1, 1000),
    default=1,
    show_default=True,
    help="Threads of each model.",
)
@option(
    "--warmup-runs",
    type=click.IntRange(1, 1_000_000),
    default=3,
    show_default=True,
    help="Runs of each process before it is timed, at least.",
)
@option("--delegate", help="xnnpack, none, or a library's path on the device.  [default: the model's]")
@option("--cpu-mask", "cpus", callback=parse_mask, help="CPUs to run on, hexadecimal: f0 is 4 to 7.")
@option("--governor", help="CPU governor for the time of the run, such as performance; put back afterwards.")
@option("--html", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="The report as a page.")
@option("--note", help="Kept with the run, such as why it was made.")
@option("--allow-invalid", is_flag=True, help="Give the verdict although the clock moved or the device throttled.")
@common  # fmt: skip
def command(
    *,
    models: tuple[Path, ...],
    device: str,
    margin: float,
    max_secs: float,
    num_threads: int,
    html: Path | None,
    note: str | None,
    allow_invalid: bool,
    as_json: bool,
    verbose: bool,  # noqa: ARG001 - acts in its callback
    **settings: Any,
) -> None:
    """Say which of MODELS is faster on a device, by how much, and how sure that is.

    MODELS are folders of artifacts or .tflite files; the others are compared with the first. They take turns, in fresh
    processes every time. Exit code 7: undecided; the last line says how many more rounds would probably decide.
    """
    from edgekit.bench import BenchOptions
    from edgekit.bench.versus.comparison import require_decided, require_valid
    from edgekit.history import keep
    from edgekit.report import comparison_document, print_comparison
    from edgekit.report.html import check_html

    if html is not None:
        check_html(html)
    options = BenchOptions(num_threads=(num_threads,), **settings)
    report = _compare(models, device, options, margin=margin, max_secs=max_secs)
    kept = keep(report, note=note)
    facts = {**comparison_document(report), "run": None if kept.path is None else kept.record.id}
    if not as_json:
        print_comparison(report, output())
        print_findings((*report.findings, *kept.findings))
        say_where(kept)
    write_page([report], html, facts)
    if not allow_invalid:
        require_valid(report, details=facts)
    require_decided(report.comparisons, margin=margin, details=facts)
    if as_json:
        emit(facts)


def _compare(models: tuple[Path, ...], device: str, options: Any, **settings: float) -> "ComparisonReport":
    from edgekit.bench.versus.compare import compare
    from edgekit.transport import connect, find_device

    with connect(find_device(device)) as connection, progress() as bar:
        task = bar.add_task(f"comparison on {device}", total=None)
        return compare(
            models,
            connection,
            options,
            on_progress=lambda done, total: bar.update(task, completed=round(done), total=round(total)),
            **settings,
        )

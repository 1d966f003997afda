"""``edgekit bench``."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from edgekit.cli.options import F, common, emit, option, output, print_findings, progress


def _threads(_context: click.Context, _parameter: click.Parameter, value: str) -> tuple[int, ...]:
    from edgekit.bench.plan import parse_threads

    try:
        return parse_threads(value)
    except ValueError as err:
        raise click.BadParameter(f"{err}.") from err


def _mask(_context: click.Context, _parameter: click.Parameter, value: str | None) -> tuple[int, ...] | None:
    from edgekit.bench.plan import parse_cpu_mask

    try:
        return None if value is None else parse_cpu_mask(value)
    except ValueError as err:
        raise click.BadParameter(f"{err}.") from err


def measurement_options(min_secs: float) -> Callable[[F], F]:
    """The options of ``BenchOptions`` but for the delegate, and ``--allow-invalid``."""
    options = (
        option("--num-runs", type=click.IntRange(1, 1_000_000), default=50, show_default=True,
               help="Timed runs a process, at least."),
        option("--warmup-runs", type=click.IntRange(0, 1_000_000), default=10, show_default=True,
               help="Runs before them."),
        option("--min-secs", type=click.FloatRange(0, 3600), default=min_secs, show_default=True,
               help="Timed seconds a process, at least."),
        option("--num-threads", "--threads", default="1", show_default=True, callback=_threads,
               help="Such as 1,2,4; each is measured."),
        option("--processes", type=click.IntRange(1, 1000), default=5, show_default=True,
               help="Fresh processes for each."),
        option("--cpu-mask", "cpus", callback=_mask, help="CPUs to run on, hexadecimal: f0 is 4 to 7."),
        option("--governor", help="CPU governor for the time of the run, such as performance; put back afterwards."),
        option("--allow-invalid", is_flag=True, help="Exit 0 although clocks or throttling moved."),
    )  # fmt: skip

    def decorate(function: F) -> F:
        for add in reversed(options):
            function = add(function)
        return function

    return decorate


@click.command(name="bench")
@click.argument("model", required=False, type=click.Path(path_type=Path))
@option("--device", default="local", show_default=True, help="A name in device_configs/, user@host, or local.")
@option("--delegate", help="xnnpack, none, or a library's path on the device.  [default: the model's]")
@measurement_options(min_secs=1.0)
@common
def command(
    *,
    model: Path | None,
    device: str,
    allow_invalid: bool,
    as_json: bool,
    verbose: bool,  # noqa: ARG001 - acts in its callback
    **settings: Any,
) -> None:
    """Measure latency and memory of MODEL on a device.

    MODEL is an artifact's folder or a .tflite; it defaults to the artifact below build/ for the device's target.
    """
    from edgekit.bench import BenchOptions, bench, require_valid
    from edgekit.cli.deploy import BUILD, find_artifact
    from edgekit.report import document, print_report
    from edgekit.transport import connect, find_device

    options, resolved = BenchOptions(**settings), find_device(device)
    subject = model if model is not None else find_artifact(BUILD, resolved.table.target, command="bench")
    with connect(resolved) as connection, progress() as bar:
        task = bar.add_task(f"benchmark on {device}", total=options.processes * len(options.num_threads))
        report = bench(subject, connection, options, on_progress=lambda done, _total: bar.update(task, completed=done))
    facts = document(report)
    if as_json and (report.valid or allow_invalid):
        emit(facts)
    elif not as_json:
        print_report(report, output())
        print_findings(report.findings)
    if not allow_invalid:
        require_valid(report, details=facts)

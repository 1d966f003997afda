"""The options of ``edgekit bench`` and ``edgekit tune``: how to measure, and what beside latency."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgekit.cli.options import F, option

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgekit.bench.report import BenchmarkReport
    from edgekit.bench.session import Parts
    from edgekit.bench.versus.comparison import ComparisonReport
    from edgekit.history import Kept

SECONDS = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
PER_SECOND = {"s": 1.0, "min": 60.0, "h": 3600.0}


def parse_threads(_context: click.Context, _parameter: click.Parameter, value: str | None) -> tuple[int, ...]:
    """``1,2,4``."""
    from edgekit.bench.plan import parse_threads as parse

    try:
        return () if value is None else parse(value)
    except ValueError as err:
        raise click.BadParameter(f"{err}.") from err


def parse_streams(_context: click.Context, _parameter: click.Parameter, value: str | None) -> tuple[int, ...]:
    """``1,2,4``."""
    from edgekit.bench.plan import parse_threads as parse

    try:
        return () if value is None else parse(value)
    except ValueError as err:
        raise click.BadParameter(f"{value!r} is no list of different numbers of streams such as 1,2,4.") from err


def parse_mask(_context: click.Context, _parameter: click.Parameter, value: str | None) -> tuple[int, ...] | None:
    """``f0``."""
    from edgekit.bench.plan import parse_cpu_mask

    try:
        return None if value is None else parse_cpu_mask(value)
    except ValueError as err:
        raise click.BadParameter(f"{err}.") from err


def parse_duration(_context: click.Context, _parameter: click.Parameter, value: str | None) -> float | None:
    """``30s``, ``10m`` or ``1.5h`` in seconds, up to a day."""
    if value is None:
        return None
    match = re.fullmatch(r"(\d{1,6}(?:\.\d{1,3})?)(s|min|m|h)", value)
    seconds = float(match[1]) * SECONDS[match[2]] if match else 0.0
    if not 1 <= seconds <= 86_400:  # noqa: PLR2004 - a day
        raise click.BadParameter(f"{value!r} is no duration from 1s to 24h such as 90s, 10m or 1.5h.")
    return seconds


def parse_rate(_context: click.Context, _parameter: click.Parameter, value: str | None) -> float | None:
    """``10/s``, ``30/min`` or ``6/h`` as inferences per second."""
    if value is None:
        return None
    match = re.fullmatch(r"(\d{1,6}(?:\.\d{1,6})?)/(s|min|h)", value)
    rate = float(match[1]) / PER_SECOND[match[2]] if match else 0.0
    if rate <= 0:
        raise click.BadParameter(f"{value!r} is no rate of inferences such as 10/s, 30/min or 6/h.")
    return rate


def parse_regression(_context: click.Context, _parameter: click.Parameter, value: str) -> float:
    """``3%`` as 0.03."""
    from edgekit.errors import EdgekitError
    from edgekit.project import parse_share

    try:
        return parse_share(value)
    except EdgekitError as err:
        raise click.BadParameter(f"{err.message} {err.hint}") from err


def _stacked(options: tuple[Callable[[F], F], ...]) -> Callable[[F], F]:
    def decorate(function: F) -> F:
        for add in reversed(options):
            function = add(function)
        return function

    return decorate


def measurement_options(min_secs: float) -> Callable[[F], F]:
    """The options of ``BenchOptions`` but for the delegate, and ``--allow-invalid``."""
    return _stacked((
        option("--num-runs", type=click.IntRange(1, 1_000_000), default=50, show_default=True,
               help="Timed runs a process, at least."),
        option("--warmup-runs", type=click.IntRange(0, 1_000_000), default=10, show_default=True,
               help="Runs before them."),
        option("--min-secs", type=click.FloatRange(0, 3600), default=min_secs, show_default=True,
               help="Timed seconds a process, at least."),
        option("--num-threads", "--threads", default="1", show_default=True, callback=parse_threads,
               help="Such as 1,2,4; each is measured."),
        option("--processes", type=click.IntRange(1, 1000), default=5, show_default=True,
               help="Fresh processes for each."),
        option("--cpu-mask", "cpus", callback=parse_mask, help="CPUs to run on, hexadecimal: f0 is 4 to 7."),
        option("--governor", help="CPU governor for the time of the run, such as performance; put back afterwards."),
        option("--cooldown", "cooldown_c", type=click.FloatRange(-50, 150), metavar="CELSIUS",
               help="First wait until the device is no hotter."),
        option("--allow-invalid", is_flag=True, help="Exit 0 although the clock moved or the device throttled."),
    ))  # fmt: skip


def part_options(function: F) -> F:
    """What to measure beside latency and memory; ``take_parts`` reads them."""
    return _stacked((
        option("--energy", is_flag=True, help="Joules of an inference, by a gauge of the device or a meter."),
        option("--energy-secs", default="60s", show_default=True, metavar="TIME", callback=parse_duration,
               help="How long to measure it; longer for slow gauges."),
        option("--gauge", metavar="NAME", help="The gauge to use.  [default: the best; `edgekit device status` lists]"),
        option("--meter", metavar="KIND[:ADDRESS]", help="An external meter at this machine, such as ppk2."),
        option("--battery", is_flag=True, help="Drain of the battery, and hours of operation at --rate."),
        option("--battery-secs", default="10m", show_default=True, metavar="TIME", callback=parse_duration,
               help="How long to watch it, without --sustained."),
        option("--sustained", "sustained_secs", metavar="TIME", callback=parse_duration,
               help="A load without a break, such as 10m: the first minute, the plateau, heat."),
        option("--rate", "rate_per_s", metavar="N/s", callback=parse_rate,
               help="Inferences per second, minute (/min) or hour (/h) of --sustained and --battery.  "
               "[default: as fast as they go]"),
        option("--whole-way", is_flag=True, help="Time pre- and postprocessing, too, apart from inference."),
        option("--sample", type=click.Path(path_type=Path), metavar="FILE",
               help="Image, .npy or .npz that the whole way begins with."),
        option("--streams", metavar="N,N", callback=parse_streams,
               help="Interpreters at once, such as 1,2,4: throughput."),
        option("--tune-threads", is_flag=True, help="Find the best number of threads and of streams."),
        option("--profile", is_flag=True, help="Time each op by the runtime's own profiler; -v shows all of them."),
    ))(function)  # fmt: skip


def take_parts(settings: dict[str, Any]) -> "Parts":
    """Move what ``part_options`` gave out of ``settings``, but ``meter``; click.UsageError where parts need others."""
    from edgekit.bench.heat.sustained import MIN_SECS
    from edgekit.bench.session import Parts

    parts = Parts(**{name: settings.pop(name) for name in vars(Parts())})
    meter = settings["meter"]
    if parts.sample is not None and not parts.whole_way:
        raise click.UsageError("--sample is what --whole-way begins with; give both.")
    if parts.rate_per_s is not None and parts.sustained_secs is None and not parts.battery:
        raise click.UsageError("--rate is the load of --sustained and --battery; give one of them.")
    if parts.gauge and not parts.energy and not parts.battery:
        raise click.UsageError("--gauge is for --energy and --battery; give one of them.")
    if meter and not parts.energy:
        raise click.UsageError("--meter is for --energy; give both.")
    if meter and parts.gauge and not parts.battery:
        raise click.UsageError("--meter is the gauge for --energy; leave --gauge out.")
    if parts.streams and parts.tune_threads:
        raise click.UsageError("--tune-threads chooses the numbers of streams itself; leave --streams out.")
    if parts.sustained_secs is not None and parts.sustained_secs < MIN_SECS:
        raise click.UsageError(f"--sustained takes {MIN_SECS:.0f}s or more: less tells nothing about heat.")
    return parts


def write_page(
    reports: "Sequence[BenchmarkReport | ComparisonReport]", html: Path | None, details: dict[str, Any]
) -> None:
    """The page, where one was asked for; PlotError takes ``details``, what was measured, along to --json."""
    from edgekit.errors import PlotError
    from edgekit.report.html import write_html

    if html is None:
        return
    try:
        write_html(reports, html)
    except PlotError as err:
        raise PlotError(err.message, hint=err.hint, details=details) from err
    click.echo(f"written: {html}", err=True)


def say_where(kept: "Kept") -> None:
    """Where a run is."""
    if kept.path is not None:
        click.echo(f"kept as {kept.record.id}", err=True)

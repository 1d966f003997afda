"""The files of ``edgekit bench --profile``: CSV, trace and plot."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgekit.cli.options import F, option

if TYPE_CHECKING:
    from edgekit.bench.report import BenchmarkReport

FILE = click.Path(path_type=Path)


@dataclass(frozen=True, kw_only=True)
class ProfileFiles:
    """Where the profile goes beside the report; None: not there."""

    profile_csv: Path | None
    trace: Path | None
    profile_plot: Path | None

    @property
    def paths(self) -> tuple[Path, ...]:
        """Of those that were asked for."""
        return tuple(path for path in (self.profile_csv, self.trace, self.profile_plot) if path is not None)


def profile_options(function: F) -> F:
    """Each of them asks for ``--profile``, too."""
    options: tuple[Callable[[F], F], ...] = (
        option("--profile-csv", type=FILE, metavar="FILE", help="The profile's ops as CSV."),
        option("--trace", type=FILE, metavar="FILE", help="The ops as a trace for Perfetto and chrome://tracing."),
        option("--profile-plot", type=FILE, metavar="FILE.svg|png", help="The ops as a plot."),
    )
    for add in reversed(options):
        function = add(function)
    return function


def take_files(settings: dict[str, Any]) -> ProfileFiles:
    """Move what ``profile_options`` gave out of ``settings``, where ``profile`` follows from it.

    Raises PlotError where one cannot be written: before minutes of measuring.
    """
    from edgekit.errors import PlotError
    from edgekit.plots.figure import check_plot
    from edgekit.report.profile_files import check_file

    files = ProfileFiles(**{name: settings.pop(name) for name in ("profile_csv", "trace", "profile_plot")})
    for place, path in enumerate(files.paths):
        check_file(path)
        if path.resolve() in {other.resolve() for other in files.paths[:place]}:
            raise PlotError(f"{path} would be written twice.", hint="Give each its own file.")
    if files.profile_plot is not None:
        check_plot(files.profile_plot)
    settings["profile"] = settings["profile"] or bool(files.paths)
    return files


def write_files(report: "BenchmarkReport", files: ProfileFiles, details: dict[str, Any]) -> None:
    """Write what was asked for; errors take ``details``, what was measured, along to --json.

    Raises DeviceFaultError where there is no profile to write, PlotError where a file cannot be written.
    """
    from edgekit.errors import DeviceFaultError, PlotError
    from edgekit.plots.profile import plot_profile
    from edgekit.report.profile_files import profile_csv, profile_trace, write_file

    if not files.paths:
        return
    if report.profile is None:
        raise DeviceFaultError(
            f"{', '.join(map(str, files.paths))} cannot be written: there is no profile.",
            hint="The findings say why; leave the file out to measure the rest alone.",
            details=details,
        )
    try:
        if files.profile_csv is not None:
            write_file(files.profile_csv, profile_csv(report))
        if files.trace is not None:
            write_file(files.trace, profile_trace(report))
        if files.profile_plot is not None:
            title = f"{report.model} on {report.device}, {report.delegate}"
            plot_profile(files.profile_plot, report.profile, title=title)
    except PlotError as err:
        raise PlotError(err.message, hint=err.hint, details=details) from err
    click.echo(f"written: {', '.join(map(str, files.paths))}", err=True)

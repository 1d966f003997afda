"""``edgekit tune``."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgekit.cli.bench_options import measurement_options
from edgekit.cli.options import bar_progress, common, emit, option, output, print_findings, progress

if TYPE_CHECKING:
    from edgekit.entries import FindingEntry
    from edgekit.progress import Progress
    from edgekit.project import Project
    from edgekit.tune.run import Budget, File


@click.command()
@click.argument("models", nargs=-1, type=click.Path(path_type=Path))
@option("--target", help="Target profile to build for.  [default: edgekit.toml's]")
@option("--device", default="local", show_default=True, help="A name in device_configs/, user@host, or local.")
@option("--precision", "precisions", multiple=True, metavar="NAME", help="Build this one; again for others.  [all]")
@option("--calibration", metavar="DATA", help="Real samples, for int8 and int16x8.  [default: edgekit.toml's]")
@option("--delegate", default="", help="Such as xnnpack,none; each is measured.  [default: the model's]")
@measurement_options(min_secs=0.5)
@option("--evaluate", metavar="DATA", help="Held-out samples: accuracy decides too.  [default: edgekit.toml's]")
@option("--metric", help="As for `edgekit evaluate`.  [default: edgekit.toml's, else top1]")
@option("--max-drop", metavar="1pt|1%", help="Leave out what loses more than this against float32.")
@option("--evaluate-on-device", is_flag=True, help="Accuracy of the device's own runtime and delegate.")
@option("--plot", type=click.Path(path_type=Path), metavar="FILE", help="The frontier as .svg or .png.")
@common
def command(
    *,
    models: tuple[Path, ...],
    target: str | None,
    device: str,
    precisions: tuple[str, ...],
    calibration: str | None,
    delegate: str,
    evaluate: str | None,
    metric: str | None,
    max_drop: str | None,
    evaluate_on_device: bool,
    plot: Path | None,
    allow_invalid: bool,
    as_json: bool,
    verbose: bool,  # noqa: ARG001 - acts in its callback
    **settings: Any,
) -> None:
    """Find the fastest file, number of threads and delegate on a device that keeps the accuracy.

    MODELS are artifacts or .tflite files to choose from. With one source model, or none (edgekit.toml's), every
    precision of the target is built first. All are measured in turns; one is recommended, with the reason.
    """
    from edgekit.bench import BenchOptions
    from edgekit.project import load_project
    from edgekit.transport import connect, find_device
    from edgekit.tune.run import require_sound, tune
    from edgekit.tune.table import print_tuning

    if plot is not None:
        from edgekit.plots.figure import check_plot

        check_plot(plot)
    options, resolved, project = BenchOptions(**settings), find_device(device), load_project()
    budget = _budget(project, evaluate, metric, max_drop, on_device=evaluate_on_device)
    with progress() as bar:
        show = bar_progress(bar)
        files, findings = _files(models, project, target or resolved.table.target, precisions, calibration, show)
        with connect(resolved) as connection:
            report = tune(
                files,
                connection,
                options,
                delegates=[name for name in delegate.split(",") if name],
                budget=budget,
                findings=findings,
                progress=show,
            )
    if plot is not None:
        from edgekit.plots.frontier import plot_frontier

        plot_frontier(report, plot)
    if not as_json:
        print_tuning(report, output())
    print_findings(report.findings)
    require_sound(report, allow_invalid=allow_invalid)
    if as_json:
        emit(report)


def _files(
    models: tuple[Path, ...],
    project: "Project",
    target: str | None,
    precisions: tuple[str, ...],
    calibration: str | None,
    show: "Progress",
) -> "tuple[list[File], list[FindingEntry]]":
    from edgekit.errors import TargetError
    from edgekit.plan import BuildOptions
    from edgekit.target import load_target
    from edgekit.tune.candidates import are_files, build_files, given_files

    if are_files(models) and not precisions:
        return given_files(models), []
    if len(models) > 1:
        raise click.UsageError("Give artifacts and .tflite files to choose from, or one model to build from.")
    name = target or project.build.target
    if name is None:
        raise TargetError("No target was given.", hint="Add --target NAME; `edgekit target list` shows them.")
    options = BuildOptions(model=str(models[0]) if models else None, calibration=calibration)
    return build_files(project, load_target(name), precisions, options, progress=show)  # type: ignore[arg-type]


def _budget(
    project: "Project", evaluate: str | None, metric: str | None, max_drop: str | None, *, on_device: bool
) -> "Budget | None":
    from edgekit.errors import ProjectError
    from edgekit.evaluate import check_unit
    from edgekit.held_out import held_out
    from edgekit.tune.run import Budget

    data = held_out(project, evaluate, metric)
    allowed = max_drop or (project.evaluation.max_drop if project.evaluation else None)
    if data is None and allowed is not None:
        raise ProjectError(
            f"A budget of {allowed} was asked for, and there is nothing to measure it on.",
            hint="Give --evaluate DATA with held-out samples, or leave --max-drop away.",
        )
    if data is None:
        return None
    if allowed is not None:
        check_unit(data.metric.name, allowed, is_fraction=data.metric.is_fraction)
    return Budget(data=data, max_drop=allowed, on_device=on_device)

"""``edgekit evaluate``."""

import math
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgekit.cli.options import common, emit, option, output, print_findings, progress

if TYPE_CHECKING:
    from edgekit.artifact import Artifact
    from edgekit.device_evaluation import FileEvaluation
    from edgekit.evaluate import Evaluation
    from edgekit.held_out import Data


@click.command()
@click.argument("model", required=False, type=click.Path(path_type=Path))
@click.argument("data", required=False)
@option("--evaluate", metavar="DATA", help="Held-out samples, as DATA.  [default: [evaluation] of edgekit.toml]")
@option(
    "--metric", help="top1, top5, auc, map50, ... or package.module:function.  [default: edgekit.toml's, else top1]"
)
@option("--device", help="Also run it there: a name in device_configs/, user@host, or local.")
@option("--delegate", help="On the device: xnnpack, none, or a library's path there.  [default: the model's]")
@option("--source", metavar="MODEL", help="What it was made from: the drop is measured against it.")
@option("--max-drop", metavar="1pt|1%", help="Fail (exit 3) when it loses more, on the device where one is given.")
@common
def command(
    *,
    model: Path | None,
    data: str | None,
    evaluate: str | None,
    metric: str | None,
    device: str | None,
    delegate: str | None,
    source: str | None,
    max_drop: str | None,
    as_json: bool,
    verbose: bool,  # noqa: ARG001 - acts in its callback
) -> None:
    """Measure the accuracy of MODEL on the held-out samples DATA, here and on a device.

    MODEL is an artifact's folder or a .tflite; it defaults to the artifact below build/ for the device's target. On a
    device, its own runtime and delegate compute every sample; the difference to this machine is paired.
    """
    from edgekit.device_evaluation import evaluate_file, judge
    from edgekit.transport import connect, find_device

    resolved = find_device(device) if device is not None else None
    subject = _subject(model, None if resolved is None else resolved.table.target)
    held_out = _data(data or evaluate, metric)
    if max_drop is not None:
        _check(max_drop, held_out, known=device is not None or source is not None)
    with ExitStack() as stack:
        bar = stack.enter_context(progress())
        task = bar.add_task("load the source" if source else "evaluate", total=None)
        reference = None if source is None else _source(source)
        connection = None if resolved is None else stack.enter_context(connect(resolved))
        found = evaluate_file(
            subject,
            held_out,
            source=reference,
            connection=connection,
            delegate=delegate,
            on_sample=lambda done, total: bar.update(task, description="evaluate", completed=done, total=total),
        )
    facts = describe(found)
    if not as_json:
        _render(found)
    print_findings(found.findings)
    if max_drop is not None:
        print_findings(judge(found, max_drop))
    if as_json:
        emit(facts)


def _subject(model: Path | None, target: str | None) -> "Artifact | Path":
    from edgekit.artifact import read_artifact
    from edgekit.cli.deploy import BUILD, find_artifact

    if model is None:
        return find_artifact(BUILD, target, command="evaluate")
    return read_artifact(model) if model.is_dir() else model


def _data(spec: str | None, metric: str | None) -> "Data":
    from edgekit.errors import ProjectError
    from edgekit.held_out import held_out
    from edgekit.project import load_project

    data = held_out(load_project(), spec, metric)
    if data is None:
        raise ProjectError(
            "There is nothing to evaluate on.",
            hint="`edgekit evaluate MODEL DATA`, or set data of [evaluation] in edgekit.toml.",
        )
    return data


def _check(max_drop: str, data: "Data", *, known: bool) -> None:
    """A budget that cannot be judged is refused before anything runs."""
    from edgekit.errors import ProjectError
    from edgekit.evaluate import check_unit

    check_unit(data.metric.name, max_drop, is_fraction=data.metric.is_fraction)
    if not known:
        raise ProjectError(
            f"A budget of {max_drop} was asked for, and there is nothing to hold the file against.",
            hint="Give --source MODEL (its float source), or --device NAME to hold the device against this machine.",
        )


def _source(spec: str) -> bytes:
    """The source as a float .tflite: a .tflite or an artifact as it is, anything else is converted."""
    from edgekit.artifact import read_artifact
    from edgekit.errors import ModelError
    from edgekit.plan import BuildOptions, plan
    from edgekit.progress import silent
    from edgekit.project import load_project
    from edgekit.steps import convert
    from edgekit.target import load_target

    path = Path(spec)
    if path.is_dir() and (path / "manifest.json").is_file():
        return read_artifact(path).reference.read_bytes()
    if path.suffix == ".tflite":
        try:
            return path.read_bytes()
        except OSError as err:
            raise ModelError(f"{path} cannot be read: {err.strerror}.", hint="Check the path.") from err
    plain = load_target("x86-64")  # every target has the same float model; not every one takes it
    return convert(plan(load_project(), plain, BuildOptions(model=spec, precision="float32")), silent).tflite


def describe(found: "FileEvaluation") -> dict[str, Any]:
    """Everything as JSON values; a number that is not finite is null."""
    import dataclasses

    facts: dict[str, Any] = _finite(dataclasses.asdict(found))
    return facts


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _render(found: "FileEvaluation") -> None:
    from rich.markup import escape

    screen = output()
    screen.print(f"[bold]{escape(str(found.model))}[/bold]  {found.sha256[:12]}")
    screen.print(f"  {found.metric} on {found.samples} samples: {found.value:.4f} on this machine", markup=False)
    if found.against_source is not None:
        screen.print(f"  against its source: {describe_pair(found.against_source)}", markup=False)
    if found.on_device is None:
        return
    there = found.on_device
    screen.print(f"  on {there.device} ({there.runtime} {there.version}, {there.delegate}):", markup=False)
    screen.print(f"    against this machine: {describe_pair(there.against_host)}", markup=False)
    if there.against_source is not None:
        screen.print(f"    against its source: {describe_pair(there.against_source)}", markup=False)
    largest = ", ".join(
        f"{item.output} by " + ("NaN" if item.largest is None else f"{item.largest:.3g} {item.unit}")
        for item in there.outputs
        if item.largest != 0
    )
    differing = f"{there.differing} of {found.samples} samples give other outputs than here"
    screen.print(f"    {differing}{f', at most: {largest}' if largest else ''}", markup=False)


def describe_pair(evaluation: "Evaluation") -> str:
    """Both values, the drop and its interval, in a line."""
    from edgekit.evaluate import describe_drop

    low, high = (describe_drop(evaluation, bound, sign=True) for bound in evaluation.drop_interval)
    return (
        f"{evaluation.source:.4f} -> {evaluation.model:.4f}, drop {describe_drop(evaluation, evaluation.drop)} "
        f"({100 * evaluation.level:.0f} % interval {low} to {high})"
    )

"""``edgekit build``: a trained model in, a checked artifact out."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgekit.cli.options import common, emit, option, print_findings, progress
from edgekit.cli.options import output as screen_output

if TYPE_CHECKING:
    from rich.progress import Progress

    from edgekit.artifact import Artifact, EvaluationEntry, TensorEntry
    from edgekit.steps import Progress as BuildProgress

PRECISIONS = ("int8", "float16", "dynamic", "float32")
IO_DTYPES = ("int8", "uint8", "float32")


@click.command()
@click.argument("model", required=False)
@option("--target", help="Target profile; `edgekit target list` shows them.")
@option("--precision", type=click.Choice(PRECISIONS), help="Default: edgekit.toml, else the target's.")
@option("--io", type=click.Choice(IO_DTYPES), help="Inputs and outputs of an int8 model.")
@option("--calibration", metavar="DATA", help="Real samples: .npz, .npy, a folder, or package.module:function.")
@option("--evaluate", metavar="DATA", help="Held-out labelled samples: measures what the model loses.")
@option("--max-drop", metavar="1pt|1%", help="Fail (exit 3) when it loses more: 1pt points, 1% of the value.")
@option("--output", type=click.Path(path_type=Path), help="The artifact's own folder.")
@option("--max-memory", type=click.IntRange(min=256), metavar="MIB", help="Memory limit of the conversion.")
@common
def command(
    model: str | None,
    target: str | None,
    precision: str | None,
    io: str | None,
    calibration: str | None,
    evaluate: str | None,
    max_drop: str | None,
    output: Path | None,
    max_memory: int | None,
    *,
    as_json: bool,
    verbose: bool,  # noqa: ARG001 - acts in its callback
) -> None:
    """Turn MODEL (default: the one in edgekit.toml) into a checked artifact.

    MODEL is a .keras or .h5 file or a SavedModel folder.
    """
    from edgekit.build import build
    from edgekit.errors import TargetError
    from edgekit.plan import BuildOptions, plan
    from edgekit.project import load_project
    from edgekit.target import load_target

    project = load_project()
    name = target or project.build.target
    if name is None:
        raise TargetError("No target was given.", hint="Add --target NAME; `edgekit target list` shows them.")
    options = BuildOptions(
        model=model,
        precision=precision,  # type: ignore[arg-type]  # click.Choice has checked it
        io=io,  # type: ignore[arg-type]
        calibration=calibration,
        evaluate=evaluate,
        max_drop=max_drop,
        output=output,
        max_memory_mib=max_memory,
    )
    planned = plan(project, load_target(name), options)
    with progress() as bar:
        artifact = build(planned, bar_progress(bar))
    if as_json:
        emit({"path": str(artifact.path), "digest": artifact.digest, "manifest": artifact.manifest})
        return
    render(artifact)


def bar_progress(bar: "Progress") -> "BuildProgress":
    """A build's progress as one line that changes."""
    task = bar.add_task("start", total=None)

    def show(step: str, done: int | None = None, total: int | None = None) -> None:
        bar.update(task, description=step, completed=done or 0, total=total)

    return show


def render(artifact: "Artifact") -> None:
    """Findings on stderr, the result on stdout."""
    from rich.markup import escape

    manifest, audit = artifact.manifest, artifact.manifest.audit
    print_findings(manifest.findings)
    screen = screen_output()
    screen.print(f"[bold]{escape(str(artifact.path))}[/bold]  {artifact.digest[:12]}")
    screen.print(f"  {manifest.precision} for {manifest.target} ({manifest.delegate}), {audit.model_bytes:,} bytes")
    for kind, tensors in (("input", manifest.inputs), ("output", manifest.outputs)):
        for tensor in tensors:
            screen.print(f"  {kind} {describe_tensor(tensor)}", markup=False)
    if manifest.calibration and manifest.precision == "int8":
        screen.print(f"  calibrated on {manifest.calibration.samples} samples ({manifest.calibration.method})")
    elif manifest.calibration:
        screen.print(f"  golden vectors from {manifest.calibration.samples} calibration samples; no ranges needed")
    screen.print(f"  {describe_accuracy(manifest.evaluation)}")


def describe_tensor(tensor: "TensorEntry") -> str:
    """Name, dtype, shape and quantization in a line."""
    text = f"{tensor.name}: {tensor.dtype} {list(tensor.shape)}"
    if tensor.quantization is None:
        return text
    return f"{text}, scale {tensor.quantization.scale:.6g}, zero point {tensor.quantization.zero_point}"


def describe_accuracy(evaluation: "EvaluationEntry | None") -> str:
    """What is known of the accuracy, in a line."""
    if evaluation is None:
        return "accuracy: not measured (give --evaluate DATA)"
    low, high = (100 * bound for bound in evaluation.drop_interval)
    return (
        f"{evaluation.metric} on {evaluation.samples} samples: {evaluation.source:.4f} -> {evaluation.model:.4f}, "
        f"drop {100 * evaluation.drop:+.2f} pt ({100 * evaluation.level:.0f} % interval {low:+.2f} to {high:+.2f} pt)"
        + (f", budget {evaluation.max_drop}" if evaluation.max_drop else "")
    )

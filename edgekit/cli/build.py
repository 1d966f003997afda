"""``edgekit build``: a trained model in, a checked artifact out."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgekit.cli.options import common, console, emit, option, print_findings, progress
from edgekit.cli.options import output as screen_output

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.progress import Progress

    from edgekit.artifact import Artifact, TensorEntry
    from edgekit.metrics.entries import EvaluationEntry
    from edgekit.steps import Progress as BuildProgress

PRECISIONS = ("auto", "int8", "int16x8", "float16", "dynamic", "float32")
SHOWN_CLASSES = 3
IO_DTYPES = ("int8", "uint8", "int16", "float32")
CALIBRATORS = ("auto", "min-max", "moving-average", "percentile", "mse", "entropy")


@click.command()
@click.argument("model", required=False)
@option("--target", help="Target profile; `edgekit target list` shows them.")
@option("--weights", type=click.Path(path_type=Path), help="State of a package.module:function: .pth, .safetensors.")
@option("--layout", type=click.Choice(("nchw", "nhwc")), help="Layout of image inputs and outputs; default: as it is.")
@option("--precision", type=click.Choice(PRECISIONS), help="Default: edgekit.toml, else the target's.")
@option("--io", type=click.Choice(IO_DTYPES), help="Inputs and outputs of an int8 or int16x8 model.")
@option("--weight-bits", type=click.Choice((4, 8)), help="4: int4 weights where the runtime has kernels.")
@option("--granularity", type=click.Choice(("per-channel", "per-tensor")), help="Scales of the weights.")
@option("--activations", type=click.Choice(("affine", "symmetric")), help="Zero points of int8 activations.")
@option("--calibration", metavar="DATA", help="Real samples: .npz, .npy, a folder, or package.module:function.")
@option("--calibrator", type=click.Choice(CALIBRATORS), help="How ranges are estimated; auto measures all of them.")
@option("--equalize/--no-equalize", default=None, help="Cross-layer equalization of the weights.")
@option("--correct-biases/--no-correct-biases", default=None, help="Empirical bias correction.")
@option("--evaluate", metavar="DATA", help="Held-out labelled samples: measures what the model loses.")
@option("--metric", help="top1, top5, auc, map50, map, mse or package.module:function.")
@option("--max-drop", metavar="1pt|1%", help="Fail (exit 3) when it loses more: 1pt points, 1% of the value.")
@option("--max-trials", type=click.IntRange(min=1), help="Files that --precision auto may measure.")
@option("--device", help="Where --precision auto measures latency; default: this machine.")
@click.option("--keep-best", is_flag=True, help="Over the budget: keep the best file all the same (still exit 3).")
@option("--output", type=click.Path(path_type=Path), help="The artifact's own folder.")
@option("--max-memory", "max_memory_mib", type=click.IntRange(min=256), metavar="MIB", help="Limit of the conversion.")
@click.option("--locked", is_flag=True, help="Refuse (exit 3) what is not as edgekit.lock says.")
@click.option("--no-cache", is_flag=True, help="Make everything anew.")
@common
def command(
    *,
    target: str | None,
    device: str | None,
    locked: bool,
    no_cache: bool,
    as_json: bool,
    verbose: bool,  # noqa: ARG001 - acts in its callback
    **flags: Any,
) -> None:
    """Turn MODEL (default: the one in edgekit.toml) into a checked artifact.

    MODEL is a .keras or .h5 file, a SavedModel folder, a float .tflite, an .onnx, a PyTorch .pt2, or a
    package.module:function that returns a torch.nn.Module.
    """
    from edgekit.build import build
    from edgekit.cache import open_cache
    from edgekit.errors import TargetError
    from edgekit.plan import BuildOptions, plan
    from edgekit.project import load_project
    from edgekit.target import load_target

    project = load_project()
    name = target or project.build.target
    if name is None:
        raise TargetError("No target was given.", hint="Add --target NAME; `edgekit target list` shows them.")
    planned = plan(project, load_target(name), BuildOptions(**flags))
    said: list[str] = []
    with progress() as bar:
        artifact = build(
            planned,
            bar_progress(bar),
            cache=None if no_cache else open_cache(),
            locked=locked,
            said=said.append,
        )
    for line in said:
        console().print(line, markup=False)
    if as_json:
        reused = {"path": str(artifact.path), "digest": artifact.digest, "reused": said}
        emit({**reused, "manifest": artifact.manifest})
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
    screen.print(f"  {describe_accuracy(manifest.evaluation)}", markup=False)
    for line in describe_losses(manifest.evaluation, manifest.labels) if manifest.evaluation else ():
        screen.print(f"    {line}", markup=False)


def describe_tensor(tensor: "TensorEntry") -> str:
    """Name, dtype, shape and quantization in a line."""
    text = f"{tensor.name}: {tensor.dtype} {list(tensor.shape)}"
    if tensor.quantization is None:
        return text
    return f"{text}, scale {tensor.quantization.scale:.6g}, zero point {tensor.quantization.zero_point}"


def describe_accuracy(evaluation: "EvaluationEntry | None") -> str:
    """What is known of the accuracy, in a line: a share in points, anything else in per cent of the source's."""
    if evaluation is None:
        return "accuracy: not measured (give --evaluate DATA)"
    unit = "pt" if evaluation.is_fraction else "%"
    scale = 100 / (1 if evaluation.is_fraction else abs(evaluation.source) or 1)
    level = f"{100 * evaluation.level:.0f} % interval"
    interval = f"no {level}: too few samples"
    if evaluation.drop_interval is not None:
        low, high = (scale * bound for bound in evaluation.drop_interval)
        interval = f"{level} {low:+.2f} to {high:+.2f} {unit}"
    number = ".4f" if evaluation.is_fraction else ".4g"
    return (
        f"{evaluation.metric} on {evaluation.samples} samples: {evaluation.source:{number}} -> "
        f"{evaluation.model:{number}}, drop {scale * evaluation.drop:+.2f} {unit} ({interval})"
        + (f", budget {evaluation.max_drop}" if evaluation.max_drop else "")
        + (f"; {evaluation.note}" if evaluation.note else "")
    )


def describe_losses(evaluation: "EvaluationEntry", labels: tuple[str, ...] | None) -> "Iterator[str]":
    """Where it is lost: the classes that lose most, and every output."""
    for change in evaluation.per_class[:SHOWN_CLASSES]:
        listed = labels[change.label] if labels and change.label < len(labels) else None
        name = change.name or listed or str(change.label)
        yield f"class {name}: {change.source:.4f} -> {change.model:.4f} on {change.samples}"
    for head in evaluation.heads:
        noise = "equal to the source" if head.max_error == 0 else f"largest error {head.max_error:.4g}"
        sqnr = "" if head.sqnr_db is None else f", SQNR {head.sqnr_db:.1f} dB"
        alone = (
            "" if head.drop is None else f"{100 * head.drop:+.2f} pt" if evaluation.is_fraction else f"{head.drop:+.4g}"
        )
        lost = alone and f", alone loses {alone}"
        yield f"output {head.name}: {noise}{sqnr}{lost}"

"""``edgekit build``: a trained model in, a checked artifact out."""

import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from edgekit.cli.artifact_text import render, render_trials
from edgekit.cli.options import bar_progress, common, console, emit, option, progress
from edgekit_converters.types import Calibrator

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


PRECISIONS = ("auto", "int8", "int16x8", "float16", "dynamic", "float32")
MIN_TRIALS = 4
IO_DTYPES = ("int8", "uint8", "int16", "float32")
CALIBRATORS = ("auto", *get_args(Calibrator))


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
@option("--calibrator", type=click.Choice(CALIBRATORS), help="How ranges are estimated; auto measures which is best.")
@option("--equalize/--no-equalize", default=None, help="Cross-layer equalization; default: if it surely helps.")
@option("--correct-biases/--no-correct-biases", default=None, help="Bias correction; default: if it surely helps.")
@option("--evaluate", metavar="DATA", help="Held-out labelled samples: measures what the model loses.")
@option("--metric", help="top1, top5, auc, map50, map, mse or package.module:function.")
@option("--max-drop", metavar="1pt|1%", help="Fail (exit 3) when it loses more: 1pt points, 1% of the value.")
@option("--max-trials", type=click.IntRange(min=MIN_TRIALS), help="Evaluations that --precision auto may make.")
@option("--device", help="Where --precision auto measures latency; else it goes by rule.")
@click.option("--keep-best", is_flag=True, help="Over the budget: keep the best file all the same (still exit 3).")
@option("--compiler-setting", multiple=True, metavar="NAME=VALUE", help="Of the accelerator's compiler; repeatable.")
@option("--compile/--no-compile", default=True, help="No: the quantized model alone, for a compiler elsewhere.")
@option("--output", type=click.Path(path_type=Path), help="The artifact's own folder.")
@option("--max-memory", "max_memory_mib", type=click.IntRange(min=256), metavar="MIB", help="Limit of the conversion.")
@click.option("--no-micro-check", is_flag=True, help="For a microcontroller: do not run the file in TFLite Micro.")
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
    from edgekit.errors import AccuracyError, TargetError
    from edgekit.plan import BuildOptions, plan
    from edgekit.project import load_project
    from edgekit.target import load_target

    project = load_project()
    name = target or project.build.target
    if name is None:
        raise TargetError("No target was given.", hint="Add --target NAME; `edgekit target list` shows them.")
    planned = plan(project, load_target(name), BuildOptions(**flags))
    said: list[str] = []
    try:
        with progress() as bar, _latency(device, said.append) as latency:
            cache = None if no_cache else open_cache()
            artifact = build(planned, bar_progress(bar), cache=cache, locked=locked, latency=latency, said=said.append)
    except AccuracyError as err:
        if not as_json and "trials" in err.details:
            render_trials(console(), err.details["trials"], err.details.get("evaluation"))
        raise
    for line in said:
        console().print(line, markup=False)
    if as_json:
        about = {"path": str(artifact.path), "digest": artifact.digest, "said": said}
        emit({**about, "manifest": artifact.manifest})
    else:
        render(artifact)
    if any(finding.severity == "error" for finding in artifact.manifest.findings):
        sys.exit(AccuracyError.exit_code)  # --keep-best kept what is over the budget


@contextmanager
def _latency(device: str | None, said: "Callable[[str], None]") -> "Iterator[Callable[[bytes], float | None] | None]":
    """What measures a .tflite on the device; without one nothing does, and the ladder goes by rule."""
    if device is None:
        yield None
        return
    from edgekit.bench.quick import latency_on
    from edgekit.transport import find_device

    with latency_on(find_device(device)) as measure:

        def measured(tflite: bytes) -> float | None:
            milliseconds = measure(tflite)
            shown = "could not be measured" if milliseconds is None else f"{milliseconds:.3f} ms"
            said(f"latency on {device}: {len(tflite):,} bytes: {shown}")
            return milliseconds

        yield measured

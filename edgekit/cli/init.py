"""``edgekit init MODEL``: a commented edgekit.toml with the inputs found by loading the model."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgekit.cli.options import common, emit, option

if TYPE_CHECKING:
    from edgekit.build import OpenSpec

TEMPLATE = """\
# edgekit.toml: what `edgekit build --target {target}` reads. Flags win over EDGEKIT_* variables, those over this file.
# Every key: docs/edgekit-toml.md

name = "{name}"

[model]
path = {path}  # {format}
{weights}batch = 1                  # static batch of the converted model
# layout = "nhwc"          # nchw | nhwc: turn image inputs and outputs; default: as the source has them
# labels = "labels.txt"    # one label a line, in the order of the output
{outputs}{inputs}
[build]
target = "{target}"        # edgekit target list
# precision = "int8"       # int8 | int16x8 | float16 | dynamic | float32; default: the target's. "auto": the fastest
#                          # that keeps [evaluation] max_drop
# io = "int8"              # int8 | uint8 | int16 | float32: what the application hands to a quantized model

# Real samples, a few hundred: int8 needs them. .npz (an array per input, or x), .npy, a folder of images,
# a folder of .npy, or package.module:function
# [calibration]
# data = "calibration.npz"
# samples = 200            # use at most this many

# Held-out labelled samples: .npz with x and y, or a folder of images with a subfolder a class
# [evaluation]
# data = "evaluation.npz"
# metric = "top1"          # top1 | top5 | auc | mse | map50 | map | package.module:function
# max_drop = "1pt"         # build fails when the file loses more; 1pt: percentage points, 1%: of the value

# [deploy]
# on_activate = "systemctl restart camera"      # told after the switch; run by sh on the device
# health_check = "curl -fs localhost:8000/ready" # must succeed in time, or the old version comes back
# health_timeout_s = 30
# keep_versions = 3
"""

CHANNELS = frozenset({1, 3, 4})
"""Gray, RGB, RGBA: which axis of an image is the channels'."""

INPUT = """
[input.{name}]
{shape}
dtype = "{dtype}"
# range = [0.0, 1.0]       # smallest and largest value the model is fed with
# [input.{name}.preprocessing]   # from the application's data to the model's input, also on the device
# resize = [{height}, {width}]         # [height, width]
{layout}# scale = 0.00392156862745098    # 1/255
# mean = [0.0]
# std = [1.0]
"""


@click.command()
@click.argument("model")
@option("--weights", type=click.Path(path_type=Path), help="State of a package.module:function: .pth, .safetensors.")
@click.option("--shape", "shapes", multiple=True, metavar="NAME=1,3,224,224", help="Of an input that has none.")
@option("--target", default="rpi4", show_default=True, help="Target to build for.")
@click.option("--force", is_flag=True, help="Replace an edgekit.toml that is there.")
@common
def command(
    model: str,
    weights: Path | None,
    shapes: tuple[str, ...],
    target: str,
    *,
    force: bool,
    as_json: bool,
    verbose: bool,  # noqa: ARG001 - acts in its callback
) -> None:
    """Write a commented edgekit.toml for MODEL.

    MODEL is a file, a SavedModel folder, or a package.module:function that makes a PyTorch network.
    """
    import tomlkit

    from edgekit.build import describe
    from edgekit.errors import ProjectError
    from edgekit.target import load_target

    path = Path("edgekit.toml")
    if path.exists() and not force:
        raise ProjectError("There is an edgekit.toml here already.", hint="Use --force to replace it.")
    load_target(target)
    description = describe(model, weights=weights, shapes=dict(_parse_shape(text) for text in shapes))
    path.write_text(
        TEMPLATE.format(
            name=description.name,
            path=tomlkit.string(model).as_string(),
            format=description.source_format,
            weights="" if weights is None else f"weights = {tomlkit.string(str(weights)).as_string()}\n",
            target=target,
            inputs="".join(_input(name, spec) for name, spec in description.inputs.items()),
            outputs="".join(
                f"# output {name}: {dtype} {_shape(shape)}\n" for name, (shape, dtype) in description.outputs.items()
            ),
        ),
        encoding="utf-8",
    )
    if as_json:
        emit({"path": str(path), "inputs": description.inputs, "outputs": description.outputs})
        return
    for name, (shape, dtype) in description.inputs.items():
        click.echo(f"input {name}: {dtype} {_shape(shape)}")
    if any(None in shape[1:] for shape, _ in description.inputs.values()):
        click.echo(f"wrote {path}; next: choose the sizes that the model leaves open there, then build")
    else:
        click.echo(f"wrote {path}; next: edgekit build --calibration DATA")


def _input(name: str, spec: "OpenSpec") -> str:
    """The table of one input; where a dimension is open, the shape is a comment: nobody but the user knows it."""
    import tomlkit

    shape, dtype = spec
    is_image = len(shape) == 4  # noqa: PLR2004 - (N, H, W, C) or (N, C, H, W)
    channels_first = is_image and shape[1] in CHANNELS and shape[3] not in CHANNELS
    height, width = (shape[2:4] if channels_first else shape[1:3]) if is_image else (None, None)
    fixed = _shape((shape[0] or 1, *shape[1:]))
    return INPUT.format(
        name=tomlkit.key(name).as_string(),
        shape=f"# shape = {fixed}  # open in the model: a number for each ?" if "?" in fixed else f"shape = {fixed}",
        dtype=dtype,
        height=height or 96,
        width=width or 96,
        layout='# layout = "nchw"        # as the model takes it; images are read as NHWC\n' if channels_first else "",
    )


def _parse_shape(text: str) -> tuple[str, tuple[int, ...]]:
    name, _, sizes = text.rpartition("=")
    numbers = sizes.split(",")
    if not name or not all(number.strip().isdigit() and int(number) > 0 for number in numbers):
        raise click.BadParameter(f"{text!r} is not like x=1,3,224,224", param_hint="--shape")
    return name, tuple(int(number) for number in numbers)


def _shape(shape: "tuple[int | None, ...]") -> str:
    return "[" + ", ".join("?" if size is None else str(size) for size in shape) + "]"

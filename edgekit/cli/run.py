"""``edgekit run``: one prediction."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgekit.cli.options import common, emit, output, print_findings

if TYPE_CHECKING:
    from rich.console import Console

    from edgekit.predict import Prediction

SHOWN = 16


@click.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.argument("sample", metavar="INPUT", type=click.Path(path_type=Path))
@common
def command(path: Path, sample: Path, *, as_json: bool, verbose: bool) -> None:  # noqa: ARG001
    """Run PATH (an artifact's folder or a .tflite) on one INPUT: an image, .npy or .npz.

    An artifact's own preprocessing and postprocessing are applied; a bare .tflite takes and gives real values.
    """
    from edgekit.predict import predict

    found = predict(path, sample)
    print_findings(found.findings)
    if as_json:
        emit(
            {
                "outputs": {name: array.tolist() for name, array in found.outputs.items()},
                "labels": found.labels,
                "classes": [item._asdict() for item in found.classes],
                "detections": [item._asdict() for item in found.detections],
                "findings": found.findings,
            }
        )
        return
    _show(found, output())


def _show(found: "Prediction", screen: "Console") -> None:
    """Each output, and in the place of their values what they mean where that is known."""
    for name, array in found.outputs.items():
        screen.print(f"{name}: {list(array.shape)}", markup=False)
        if not found.classes and not found.is_detector:
            values = " ".join(f"{value:.6g}" for value in array.ravel()[:SHOWN])
            more = f" ... ({array.size} values)" if array.size > SHOWN else ""
            screen.print(f"  {values}{more}", markup=False)
    for item in found.classes:
        screen.print(f"  {item.score:10.6f}  {item.label or item.class_index}", markup=False)
    if found.is_detector and not found.detections:
        screen.print("  nothing found", markup=False)
    for detection in found.detections:
        left, top, right, bottom = detection.box
        where = f"({left:.1f}, {top:.1f}) to ({right:.1f}, {bottom:.1f})"
        name = detection.label or f"class {detection.class_index}"
        screen.print(f"  {detection.score:10.6f}  {name}  {where}", markup=False)

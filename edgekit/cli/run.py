"""``edgekit run``: one prediction."""

from pathlib import Path

import click

from edgekit.cli.options import common, emit, output

TOP = 5
SHOWN = 16


@click.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.argument("sample", metavar="INPUT", type=click.Path(path_type=Path))
@common
def command(path: Path, sample: Path, *, as_json: bool, verbose: bool) -> None:  # noqa: ARG001
    """Run PATH (an artifact's folder or a .tflite) on one INPUT: an image, .npy or .npz.

    An artifact's own preprocessing is applied; a bare .tflite takes real values as they are.
    """
    from edgekit.predict import predict

    found = predict(path, sample)
    if as_json:
        outputs = {name: array.tolist() for name, array in found.outputs.items()}
        emit({"outputs": outputs, "labels": found.labels})
        return
    screen = output()
    for name, array in found.outputs.items():
        scores = array.ravel()
        screen.print(f"{name}: {list(array.shape)}", markup=False)
        if found.labels is not None and len(found.labels) == scores.size:
            best = scores.argsort()[::-1][:TOP]
            for index in best:
                screen.print(f"  {scores[index]:10.6f}  {found.labels[index]}", markup=False)
        else:
            values = " ".join(f"{value:.6g}" for value in scores[:SHOWN])
            more = f" ... ({scores.size} values)" if scores.size > SHOWN else ""
            screen.print(f"  {values}{more}", markup=False)

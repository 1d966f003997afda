"""``edgekit inspect``: what is in an artifact or a .tflite."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgekit.cli.options import common, emit, output, print_findings

if TYPE_CHECKING:
    from edgekit.inspection import Inspection
    from edgekit_converters.types import TensorSpec


@click.command()
@click.argument("path", type=click.Path(path_type=Path))
@common
def command(path: Path, *, as_json: bool, verbose: bool) -> None:  # noqa: ARG001 - verbose acts in its callback
    """Show inputs, outputs, ops, precisions, size and multiply-accumulates of PATH.

    PATH is an artifact's folder or any .tflite file.
    """
    from edgekit.inspection import inspect

    found = inspect(path)
    if as_json:
        structure = found.structure
        emit(
            {
                "path": str(path),
                "digest": found.artifact.digest if found.artifact else None,
                "precision": found.precision,
                "bytes": structure.size_bytes,
                "macs": structure.macs,
                "inputs": structure.inputs,
                "outputs": structure.outputs,
                "ops": structure.builtin_counts,
                "custom_ops": structure.custom_counts,
                "tensor_dtypes": structure.dtype_counts,
                "weights": structure.weight_granularity,
                "subgraphs": structure.subgraphs,
                "findings": found.findings,
                "manifest": found.artifact.manifest if found.artifact else None,
            }
        )
        return
    render(found)


def render(found: "Inspection") -> None:
    """Findings on stderr, facts on stdout."""
    from rich.markup import escape

    print_findings(found.findings)
    screen, structure = output(), found.structure
    screen.print(
        f"[bold]{escape(str(found.path))}[/bold]" + (f"  {found.artifact.digest[:12]}" if found.artifact else "")
    )
    macs = "unknown" if structure.macs is None else f"{structure.macs:,}"
    for key, value in (
        ("precision", f"{found.precision} (integer weights: {structure.weight_granularity})"),
        ("size", f"{structure.size_bytes:,} bytes"),
        ("multiply-accumulates", macs),
        ("tensors", ", ".join(f"{count} {dtype}" for dtype, count in structure.dtype_counts.items())),
    ):
        screen.print(f"  {key:<21} {value}", markup=False)
    for kind, tensors in (("input", structure.inputs), ("output", structure.outputs)):
        for tensor in tensors:
            screen.print(f"  {kind:<21} {describe(tensor)}", markup=False)
    counts = {**structure.builtin_counts, **{f"{name} (custom)": n for name, n in structure.custom_counts.items()}}
    for position, (name, count) in enumerate(sorted(counts.items(), key=lambda item: (-item[1], item[0]))):
        screen.print(f"  {'ops' if position == 0 else '':<21} {count:4} {name}", markup=False)


def describe(tensor: "TensorSpec") -> str:
    """Name, dtype, shape and quantization in a line."""
    text = f"{tensor.name}: {tensor.dtype} {list(tensor.shape)}"
    return text if tensor.scale is None else f"{text}, scale {tensor.scale:.6g}, zero point {tensor.zero_point}"

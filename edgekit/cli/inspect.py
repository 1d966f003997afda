"""``edgekit inspect``: what is in an artifact or a .tflite, and where a target would run it."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgekit.cli.options import bar_progress, common, emit, option, output, print_findings, progress

if TYPE_CHECKING:
    from edgekit.inspection import Inspection
    from edgekit.micro.examine import Examined
    from edgekit.target import Target
    from edgekit.target_placement import TargetPlacement
    from edgekit_converters.types import TensorSpec


@click.command()
@click.argument("path", type=click.Path(path_type=Path))
@option("--target", help="Show where its ops would run there; an artifact's own target unless given.")
@option("--compile/--no-compile", "compile_it", default=True, help="Ask the target's compiler where it is here.")
@common
def command(path: Path, *, target: str | None, compile_it: bool, as_json: bool, verbose: bool) -> None:
    """Show inputs, outputs, ops, precisions, size and multiply-accumulates of PATH, and where its ops run.

    PATH is an artifact's folder or any .tflite file.
    """
    from edgekit.inspection import inspect

    found, on = _with_target(inspect(path), target)
    placed = _placed(found, on, compile_it=compile_it) if on else None
    on_micro = _on_micro(found, on) if on else None
    if as_json:
        emit(_document(found, placed, on_micro))
        return
    render(found)
    if on_micro is not None:
        from edgekit.cli.micro_text import render_micro

        render_micro(on_micro)
    if placed is not None:
        from edgekit.cli.placement_text import render_placement

        render_placement(placed, whole=verbose)


def _with_target(found: "Inspection", name: str | None) -> "tuple[Inspection, Target | None]":
    """The target that is named, else the artifact's own; a finding where this machine has no profile of that."""
    from dataclasses import replace

    from edgekit.errors import TargetError
    from edgekit.target import load_target
    from edgekit_converters.types import Finding

    if name is not None:
        return found, load_target(name)
    if found.artifact is None:
        return found, None
    try:
        return found, load_target(found.artifact.manifest.target)
    except TargetError as err:
        said = Finding(name="no-profile", severity="info", message=f"{err.message} No op is placed.", fix=err.hint)
        return replace(found, findings=(*found.findings, said)), None


def _placed(found: "Inspection", target: "Target", *, compile_it: bool) -> "TargetPlacement":
    from edgekit.target_placement import place_on

    with progress() as bar:
        return place_on(
            found.model.read_bytes(),
            target,
            found.artifact,
            directory=Path(),
            compile_it=compile_it,
            progress=bar_progress(bar),
        )


def _on_micro(found: "Inspection", target: "Target") -> "Examined | None":
    """In TFLite Micro, where the target is a microcontroller."""
    from edgekit.microcontroller import look_on_micro

    return look_on_micro(target, found.model.read_bytes(), found.artifact)


def _document(found: "Inspection", placed: "TargetPlacement | None", on_micro: "Examined | None") -> dict[str, Any]:
    from edgekit.cli.placement_text import placement_json

    structure = found.structure
    return {
        "path": str(found.path),
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
        "placement": placement_json(placed) if placed else None,
        "micro": on_micro,
        "manifest": found.artifact.manifest if found.artifact else None,
    }


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

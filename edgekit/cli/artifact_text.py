"""An artifact as people read it: what was made, from what, and what it lost."""

from typing import TYPE_CHECKING, Any

from edgekit.cli.micro_text import describe_micro
from edgekit.cli.options import output as screen_output
from edgekit.cli.options import print_findings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from rich.console import Console

    from edgekit.artifact import Artifact
    from edgekit.compilers.entries import CompilationEntry
    from edgekit.entries import TensorEntry
    from edgekit.evaluate import Evaluation
    from edgekit.metrics.entries import EvaluationEntry
    from edgekit_converters.types import Fidelity

SHOWN_CLASSES = 3


def render(artifact: "Artifact") -> None:
    """Findings on stderr, the result on stdout."""
    from msgspec import to_builtins
    from rich.markup import escape

    manifest = artifact.manifest
    print_findings(manifest.findings)
    screen = screen_output()
    screen.print(f"[bold]{escape(str(artifact.path))}[/bold]  {artifact.digest[:12]}")
    size = manifest.files[manifest.model].bytes
    screen.print(f"  {manifest.precision} for {manifest.target} ({manifest.delegate}), {size:,} bytes")
    for line in describe_compilation(manifest.compilation) if manifest.compilation else ():
        screen.print(f"  {line}", markup=False)
    for line in describe_micro(manifest.micro) if manifest.micro else ():
        screen.print(f"  {line}", markup=False)
    for kind, tensors in (("input", manifest.inputs), ("output", manifest.outputs)):
        for tensor in tensors:
            screen.print(f"  {kind} {describe_tensor(tensor)}", markup=False)
    if manifest.calibration and manifest.calibration.calibrator:
        screen.print(f"  calibrated on {manifest.calibration.samples} samples ({manifest.calibration.calibrator})")
    elif manifest.calibration:
        screen.print(f"  golden vectors from {manifest.calibration.samples} calibration samples; no ranges needed")
    if manifest.fidelity is not None:
        screen.print(f"  {describe_fidelity(manifest.fidelity)}", markup=False)
    if manifest.search is not None:
        screen.print(f"  chosen: {manifest.search.candidate}; tried {len(manifest.search.trials)}:", markup=False)
        trials = [{**to_builtins(trial), "size_bytes": trial.bytes} for trial in manifest.search.trials]
        render_trials(screen, trials, manifest.evaluation)
    screen.print(f"  {describe_accuracy(manifest.evaluation)}", markup=False)
    for line in describe_losses(manifest.evaluation, manifest.labels) if manifest.evaluation else ():
        screen.print(f"    {line}", markup=False)


def describe_fidelity(fidelity: "Fidelity") -> str:
    """How true the conversion is, in a line: the worst output."""
    ratios = [output.sqnr_db for output in fidelity.outputs if output.sqnr_db is not None]
    error = max(output.max_error for output in fidelity.outputs)
    worst = f"{min(ratios):.0f} dB, largest error {error:.2g}" if ratios else "no difference"
    return f"float model equals its source on {fidelity.samples} {fidelity.kind} samples: {worst}"


def describe_tensor(tensor: "TensorEntry") -> str:
    """Name, dtype, shape and quantization in a line."""
    text = f"{tensor.name}: {tensor.dtype} {list(tensor.shape)}"
    if tensor.quantization is None:
        return text
    return f"{text}, scale {tensor.quantization.scale:.6g}, zero point {tensor.quantization.zero_point}"


def describe_compilation(entry: "CompilationEntry") -> "Iterator[str]":
    """What the compiler did with the model, and what it expects of it; none of it is measured."""
    version = f" {entry.version}" if entry.version else ""
    left = ", ".join(f"{count} {name}" for name, count in entry.ops_on_cpu.items())
    if entry.ops_on_accelerator is None:
        yield f"{entry.compiler}{version}: which ops run on {entry.accelerator} is not known"
    else:
        taken = f"{entry.ops_on_accelerator} ops on {entry.accelerator}"
        yield f"compiled by {entry.compiler}{version}: {taken}, {left or 'none'} on the CPU"
    for name in entry.ops_on_cpu:
        if name in entry.reasons:
            yield f"  {name}: {entry.reasons[name]}"
    memory = {name.removesuffix("_used_kib"): kib for name, kib in entry.figures.items() if name.endswith("_used_kib")}
    if any(memory.values()):
        yield "  memory: " + ", ".join(
            f"{kib:,.1f} KiB {area.replace('_', ' ')}" for area, kib in memory.items() if kib
        )
    seconds, cycles = entry.figures.get("estimated_inference_s"), entry.figures.get("cycles_total")
    if seconds and cycles:
        yield f"  {entry.compiler}'s estimate, not measured: {cycles:,.0f} cycles, {1000 * seconds:.3f} ms an inference"


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


def render_trials(
    screen: "Console", trials: "Sequence[Mapping[str, Any]]", evaluation: "Evaluation | EvaluationEntry | None"
) -> None:
    """The table of what was tried, in its order; drops as ``evaluation`` has them, a share in points."""
    in_points = evaluation is not None and evaluation.is_fraction
    from rich.table import Table

    timed = any(trial.get("latency_ms") is not None for trial in trials)
    columns = ("    candidate", "drop where chosen", "budget there", "bytes", *(["latency"] if timed else []))
    table = Table(*columns, box=None, pad_edge=False)
    for trial in trials:
        drop, size, latency = trial["drop"], trial["size_bytes"], trial.get("latency_ms")
        row = [
            f"    {trial['candidate']}",
            "-" if drop is None else f"{100 * drop:+.2f} pt" if in_points else f"{drop:+.4g}",
            trial["failure"] or _verdict(trial),
            "-" if size is None else f"{size:,}",
            "-" if latency is None else f"{latency:.3f} ms",
        ]
        table.add_row(*row[: 5 if timed else 4])
    screen.print(table)


def _verdict(trial: "Mapping[str, Any]") -> str:
    if trial["refuted"]:
        return "exceeded where confirmed"
    return "kept" if trial["keeps"] else "exceeded"

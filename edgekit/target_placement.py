"""Where a model's ops run on a target: predicted from rules, and told by the compiler or by the file it made."""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from edgekit.artifact import Artifact
from edgekit.audit import check_ops, read
from edgekit.compilers import load_compiler
from edgekit.compilers.plan import compiled_for
from edgekit.compilers.step import check_compiler, place_by_compiler
from edgekit.compilers.told import told_placement
from edgekit.errors import CompilerError
from edgekit.placement import OpPlacement, Placement, from_taken, place, rules_of
from edgekit.progress import Progress
from edgekit.project import load_project
from edgekit.target import Accelerator, CompilerName, Target
from edgekit_converters.structure import Structure
from edgekit_converters.types import Finding

QUICK: frozenset[CompilerName] = frozenset({"vela", "edgetpu"})
"""Compilers that take seconds and need the quantized file alone: run to look, not only to build."""


@dataclass(frozen=True, kw_only=True)
class TargetPlacement:
    """What is known of one model on one target."""

    target: Target
    structure: Structure
    """The model that the placements number the ops of: of a compiled artifact its reference."""
    prediction: Placement | None
    """From the target's rules; None for a file that a compiler made and whose original is not here."""
    told: Placement | None
    """By the compiler, or by the file it made; None where nothing tells."""
    findings: tuple[Finding, ...]

    @property
    def placement(self) -> Placement:
        """What was told, else the prediction."""
        found = self.told or self.prediction
        assert found is not None  # one of the two is always there  # noqa: S101
        return found

    @property
    def differences(self) -> tuple[tuple[OpPlacement, OpPlacement], ...]:
        """(predicted, told) of every op that only one of the two gives to the compiler's accelerator.

        What the compiler leaves, it calls ``cpu``: a delegate of the CPU may still take that.
        """
        accelerator = compiled_for(self.target)
        if self.prediction is None or self.told is None or accelerator is None:
            return ()
        told = {op.index: op for op in self.told.ops if op.subgraph == 0}
        pairs = ((op, told[op.index]) for op in self.prediction.ops if op.subgraph == 0)
        return tuple(pair for pair in pairs if [op.processor for op in pair].count(accelerator.name) == 1)


def place_on(
    tflite: bytes, target: Target, artifact: Artifact | None, *, directory: Path, compile_it: bool, progress: Progress
) -> TargetPlacement:
    """Predict, and ask the compiler where it is here, quick and wanted (``compile_it``).

    ``tflite`` is the file that runs; the model an artifact was compiled from is read from it.

    Raises:
        ModelError: no .tflite.
        TargetError: the rules of an accelerator are missing or broken.
    """
    structure = read(tflite)
    accelerator = compiled_for(target)
    if accelerator is not None and _compiled_ops(structure, accelerator):
        return _of_compiled(structure, target, accelerator, artifact, directory)
    prediction = place(structure, target, rules_of(target, directory))
    findings = list(_not_predicted(prediction, target))
    told = None
    if accelerator is not None:
        told, said = _ask(tflite, target, accelerator, directory, compile_it, progress)
        findings += said
    findings += check_ops(_left(structure, told or prediction, accelerator), target)
    return TargetPlacement(
        target=target, structure=structure, prediction=prediction, told=told, findings=tuple(findings)
    )


def _left(structure: Structure, placement: Placement, accelerator: Accelerator | None) -> Structure:
    """What the runtime itself must have: all but the ops that a compiler takes out of the file."""
    if accelerator is None:
        return structure
    taken = {(op.subgraph, op.index) for op in placement.ops if op.processor == accelerator.name}
    return replace(structure, ops=tuple(op for op in structure.ops if (op.subgraph, op.index) not in taken))


def _compiled_ops(structure: Structure, accelerator: Accelerator) -> tuple[int, ...]:
    """Indices of the ops that stand for what the accelerator's compiler took."""
    marks = load_compiler(accelerator.compiler).ACCELERATOR_OPS if accelerator.compiler else frozenset()
    return tuple(op.index for op in structure.ops if op.subgraph == 0 and op.custom in marks)


def _of_compiled(
    structure: Structure, target: Target, accelerator: Accelerator, artifact: Artifact | None, directory: Path
) -> TargetPlacement:
    """What a compiled file says itself; against its original where an artifact keeps that."""
    findings = tuple(check_ops(structure, target))
    entry = artifact.manifest.compilation if artifact else None
    if artifact is None or entry is None or artifact.reference == artifact.model:
        taken = _compiled_ops(structure, accelerator)
        told = from_taken(structure, target, {accelerator.name: taken}, basis="compiler", told_by="the file itself")
        return TargetPlacement(target=target, structure=structure, prediction=None, told=told, findings=findings)
    assert accelerator.compiler is not None  # it made the file  # noqa: S101
    reference = read(artifact.reference.read_bytes())
    told = told_placement(
        reference,
        structure,
        target=target,
        accelerator=accelerator,
        accelerator_ops=load_compiler(accelerator.compiler).ACCELERATOR_OPS,
        told_by=f"{entry.compiler} {entry.version or ''}".strip(),
        reasons=entry.reasons,
    )
    prediction = place(reference, target, rules_of(target, directory))
    return TargetPlacement(target=target, structure=reference, prediction=prediction, told=told, findings=findings)


def _ask(
    tflite: bytes,
    target: Target,
    accelerator: Accelerator,
    directory: Path,
    compile_it: bool,
    progress: Progress,
) -> tuple[Placement | None, Sequence[Finding]]:
    """What the compiler makes of the model, in a folder that is gone afterwards; else why nobody was asked."""
    name = accelerator.compiler
    assert name is not None  # compiled_for() gives no other  # noqa: S101
    try:
        wishes = {setting: str(value) for setting, value in load_project(directory).compiler.get(name, {}).items()}
        settings, _ = check_compiler(target, accelerator, wishes, directory)
    except CompilerError as err:
        return None, [_prediction_only(f"{name} cannot be asked: {err.message}", err.hint)]
    if name not in QUICK:
        why = f"{name} takes long or needs more than this file, so it was not run to look."
        return None, [_prediction_only(why, "`edgekit build` compiles, and says what the compiler took.")]
    if not compile_it:
        return None, [_prediction_only(f"{name} is here and was not run.", "Leave --no-compile away.")]
    try:
        with tempfile.TemporaryDirectory(prefix="edgekit-log-") as logs:
            return place_by_compiler(
                tflite,
                target=target,
                accelerator=accelerator,
                settings=settings,
                directory=directory,
                log_folder=Path(logs),
                progress=progress,
            )
    except CompilerError as err:
        return None, [_prediction_only(err.message, err.hint.partition(" Log: ")[0])]


def _prediction_only(why: str, fix: str) -> Finding:
    return Finding(name="prediction-only", severity="info", message=why, fix=fix)


def _who_knows(target: Target) -> str:
    """Who tells what ran where, where no rules do."""
    if target.support.deploy == "ready":
        return f"Build for {target.name} and measure there: `edgekit bench --device NAME` says what ran where."
    accelerator = compiled_for(target)
    if accelerator is None:
        return f"Its own tools say it. {target.support.missing}"
    return f"`edgekit build --target {target.name}` says what {accelerator.compiler} took, where it tells."


def _not_predicted(prediction: Placement, target: Target) -> Iterator[Finding]:
    for name in prediction.not_predicted:
        yield Finding(
            name="not-predicted",
            severity="warning",
            message=f"No source tells which ops {name} takes, so nothing is predicted for it"
            + (": what it takes is listed as another processor's." if prediction.told_by else "."),
            fix=_who_knows(target),
        )

"""What an artifact or any .tflite holds, for people and for ``--json``. Nothing is run."""

from dataclasses import dataclass
from pathlib import Path

from edgekit.artifact import Artifact, is_artifact, read_artifact
from edgekit.audit import read
from edgekit.errors import ModelError
from edgekit.precision import QUANTIZED, REAL
from edgekit_converters.structure import Structure
from edgekit_converters.types import Finding

MAX_BYTES = 2**31 - 1
"""A flatbuffer's offsets are 32 bits, signed."""


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """A model, looked at."""

    path: Path
    artifact: Artifact | None
    """None for a bare .tflite."""
    model: Path
    """The .tflite that was read: the file that runs, or its reference where that is of another format."""
    structure: Structure
    precision: str
    """What the tensors say: float32, float16, dynamic, int8, int16x8 or mixed."""
    findings: tuple[Finding, ...]


def inspect(path: Path) -> Inspection:
    """Look at an artifact (verified first) or a .tflite.

    Raises:
        ModelError: missing, unreadable, or no .tflite.
        IntegrityError: an artifact that was changed (exit code 8).
    """
    artifact = read_artifact(path) if path.is_dir() or is_artifact(path) else None
    model = _tflite_of(artifact) if artifact else path
    try:
        size = model.stat().st_size
        data = model.read_bytes() if size <= MAX_BYTES else b""
    except OSError as err:
        raise ModelError(f"{model} cannot be read: {err.strerror}.", hint="Check the path.") from err
    if size > MAX_BYTES:
        raise ModelError(f"{model} has {size:,} bytes: no flatbuffer is that large.", hint="Give a .tflite file.")
    structure = read(data, what=str(model))
    return Inspection(
        path=path,
        artifact=artifact,
        model=model,
        structure=structure,
        precision=precision_of(structure),
        findings=(*_recorded(artifact), *_findings(structure)),
    )


def _tflite_of(artifact: Artifact) -> Path:
    return artifact.model if artifact.model.suffix == ".tflite" else artifact.reference


def precision_of(structure: Structure) -> str:
    """Name of what the file is, from its tensors alone."""
    activations = {t.dtype for t in structure.tensors if not t.constant and t.dtype in QUANTIZED | REAL}
    weights = {t.dtype for t in structure.tensors if t.constant and t.dtype in QUANTIZED | REAL and len(t.shape) > 1}
    if activations <= {"float32", "float16"}:
        if weights & QUANTIZED:
            return "dynamic"
        return "float16" if "float16" in weights else "float32"
    if not activations & REAL:
        return "int16x8" if activations == {"int16"} else "int8"
    inside = {t.dtype for op in structure.ops if op.name not in {"QUANTIZE", "DEQUANTIZE"} for t in op.outputs}
    return "int8" if not inside & REAL else "mixed"


def _recorded(artifact: Artifact | None) -> tuple[Finding, ...]:
    entries = artifact.manifest.findings if artifact else ()
    return tuple(Finding(name=e.name, severity=e.severity, message=e.message, fix=e.fix) for e in entries)


def _findings(structure: Structure) -> tuple[Finding, ...]:
    found = []
    if structure.custom_counts:
        names = ", ".join(structure.custom_counts)
        found.append(
            Finding(
                name="custom-op",
                severity="warning",
                message=f"It holds custom operators: {names}.",
                fix="It runs only where a runtime or delegate has them, such as an Edge TPU for edgetpu-custom-op.",
            )
        )
    if any(size < 1 for tensor in (*structure.inputs, *structure.outputs) for size in tensor.shape):
        found.append(
            Finding(
                name="open-shape",
                severity="warning",
                message="An input or output has no static shape.",
                fix="Build it from its source with edgekit, which makes every shape static.",
            )
        )
    return tuple(found)

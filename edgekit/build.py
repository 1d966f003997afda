"""The way of a model: convert, calibrate, quantize, audit, evaluate, write."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgekit.artifact import MODEL, Artifact, sha256_files, sha256_source, write_artifact
from edgekit.errors import ProjectError
from edgekit.plan import BuildPlan, name_of
from edgekit.steps import (
    LOGS,
    Calibrated,
    Evaluated,
    Progress,
    calibrate,
    convert,
    evaluate,
    foreign_errors,
    quantize,
    silent,
)
from edgekit_converters.types import FloatModel, QuantizedModel

if TYPE_CHECKING:
    from edgekit.audit import Audit

OpenSpec = tuple[tuple[int | None, ...], str]
"""Shape with open dimensions as None, and dtype."""


@dataclass(frozen=True, kw_only=True)
class Description:
    """What can be said of a source model by loading it."""

    name: str
    source_format: str
    inputs: dict[str, OpenSpec]
    outputs: dict[str, OpenSpec]


def build(plan: BuildPlan, progress: Progress = silent) -> Artifact:
    """Make the artifact of ``plan``; nothing is written unless every promise is kept.

    Raises:
        ModelError: the source cannot be read, converted or quantized.
        DataError: calibration or evaluation data is wrong.
        AuditError, AccuracyError: the finished file is not what was asked for (exit code 3).
        ArtifactError: the output cannot be written.
    """
    from edgekit.audit import audit

    labels = read_labels(plan.labels)
    float_model = convert(plan, progress)
    calibrated = calibrate(plan, float_model, progress) if plan.calibration else None
    progress("quantize")
    quantized = quantize(plan, float_model, calibrated, labels)
    progress("audit")
    audited = audit(quantized.tflite, precision=plan.scheme.precision, io=plan.scheme.io, target=plan.target)
    evaluated = evaluate(plan, float_model, quantized, calibrated, progress) if plan.evaluation else None
    progress("write")
    return _write(plan, float_model, calibrated, quantized, audited, evaluated, labels)


def describe(model: str) -> Description:
    """Load a source model in a child process; raises ModelError."""
    from edgekit_converters import child
    from edgekit_converters.sources import open_source

    with foreign_errors():
        source = open_source(model)
        inputs, outputs = child.describe(source, log_folder=LOGS)
    return Description(name=name_of(model), source_format=source.format, inputs=inputs, outputs=outputs)


def read_labels(path: Path | None) -> tuple[str, ...] | None:
    """One label a line; None without a file."""
    if path is None:
        return None
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as err:
        raise ProjectError(f"The labels {path} cannot be read: {err}.", hint="Correct [model] labels.") from err
    return tuple(line.strip() for line in lines if line.strip())


def _write(
    plan: BuildPlan,
    float_model: FloatModel,
    calibrated: Calibrated | None,
    quantized: QuantizedModel,
    audited: "Audit",
    evaluated: Evaluated | None,
    labels: tuple[str, ...] | None,
) -> Artifact:
    from edgekit.golden import golden_files
    from edgekit.manifest import build_findings, calibration_entry, input_ranges, make_manifest

    spans = calibrated.seen.spans if calibrated else {}
    ranges = input_ranges(plan, float_model, spans)
    golden = golden_files(quantized.tflite, quantized.precision, calibrated.golden if calibrated else (), ranges)
    manifest = make_manifest(
        plan,
        source_sha256=source_digest(plan, float_model),
        float_model=float_model,
        quantized=quantized,
        audit=audited,
        labels=labels,
        ranges=ranges,
        calibration=calibration_entry(calibrated.seen.sha256(), calibrated.seen.count) if calibrated else None,
        evaluation=evaluated.entry if evaluated else None,
        findings=(
            *float_model.findings,
            *(calibrated.findings if calibrated else ()),
            *quantized.findings,
            *audited.findings,
            *(evaluated.findings if evaluated else ()),
            *build_findings(plan, quantized, labels, has_samples=calibrated is not None),
        ),
    )
    return write_artifact(plan.output, {MODEL: quantized.tflite, **golden}, manifest)


def source_digest(plan: BuildPlan, float_model: FloatModel) -> str:
    """sha256 of the source: its file or folder; of a function, the user's own modules and the weights."""
    source = plan.source
    if not float_model.files:
        return sha256_source(source.directory / source.spec)
    files = [source.directory / name for name in float_model.files]
    return sha256_files((*files, source.weights) if source.weights else tuple(files))

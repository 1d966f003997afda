"""The way of a model: convert, calibrate, quantize, audit, evaluate, write."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgekit.artifact import MANIFEST, MODEL, Artifact, Manifest, sha256_files, sha256_source, write_artifact
from edgekit.cache import Cache, put
from edgekit.errors import ProjectError
from edgekit.lock import check_after, check_before, locked_build, write_lock
from edgekit.plan import BuildPlan, name_of
from edgekit.project import has_project
from edgekit.reuse import artifact_key, convert_or_reuse, read_kept
from edgekit.steps import (
    LOGS,
    Calibrated,
    Evaluated,
    Progress,
    calibrate,
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


@dataclass(frozen=True, kw_only=True)
class Made:
    """An artifact that is not written yet."""

    files: dict[str, bytes]
    manifest: Manifest


def build(
    plan: BuildPlan,
    progress: Progress = silent,
    *,
    cache: Cache | None = None,
    locked: bool = False,
    said: Callable[[str], None] = lambda _text: None,
) -> Artifact:
    """Make the artifact of ``plan``; nothing is written unless every promise is kept.

    With ``cache`` an unchanged conversion, or the whole artifact, is taken from it, and ``said`` is told. With
    ``locked`` everything must be as edgekit.lock says; without, a project's lock is renewed.

    Raises:
        ModelError: the source cannot be read, converted or quantized.
        DataError: calibration or evaluation data is wrong.
        AuditError, AccuracyError: the finished file is not what was asked for (exit code 3).
        LockError: ``locked``, and something differs (exit code 3).
        ArtifactError: the output cannot be written.
    """
    expected = check_before(plan) if locked else None
    labels = read_labels(plan.labels)
    float_model, converted_before = convert_or_reuse(plan, cache, progress)
    key = artifact_key(plan, float_model, labels) if cache else None
    kept = read_kept(cache, key)
    if kept is not None:
        said("reused the whole artifact: model, data, settings and tools are unchanged")
        made = Made(files=kept[0], manifest=kept[1])
    else:
        if converted_before:
            said("reused the conversion: the model and its framework are unchanged")
        made = _make(plan, float_model, labels, progress)
    entry = locked_build(plan, made.manifest, float_model.files)
    if expected is not None:
        check_after(expected, entry)
    progress("write")
    artifact = write_artifact(plan.output, made.files, made.manifest)
    if cache and key and kept is None:
        put(cache, key, {**made.files, MANIFEST: (artifact.path / MANIFEST).read_bytes()})
    if expected is None and has_project(plan.directory):
        write_lock(plan, entry)
    return artifact


def _make(plan: BuildPlan, float_model: FloatModel, labels: tuple[str, ...] | None, progress: Progress) -> Made:
    """The way of a model, from the float one to the files of an artifact."""
    from edgekit.audit import audit

    calibrated = calibrate(plan, float_model, progress) if plan.calibration else None
    progress("quantize")
    quantized = quantize(plan, float_model, calibrated, labels)
    progress("audit")
    audited = audit(quantized.tflite, scheme=plan.scheme, target=plan.target)
    evaluated = evaluate(plan, float_model, quantized, calibrated, progress) if plan.evaluation else None
    return _assemble(plan, float_model, calibrated, quantized, audited, evaluated, labels)


def describe(
    model: str, *, weights: Path | None = None, shapes: Mapping[str, tuple[int, ...]] | None = None
) -> Description:
    """Load a source model in a child process; raises ModelError.

    ``shapes`` (with the batch) are those of inputs that the model itself does not describe.
    """
    from edgekit_converters import child
    from edgekit_converters.shapes import InputHint
    from edgekit_converters.sources import open_source

    hints = {name: InputHint(shape=shape, dtype=None, declared=True) for name, shape in (shapes or {}).items()}
    with foreign_errors():
        source = open_source(model, weights=weights)
        inputs, outputs = child.describe(source, hints=hints, log_folder=LOGS)
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


def _assemble(
    plan: BuildPlan,
    float_model: FloatModel,
    calibrated: Calibrated | None,
    quantized: QuantizedModel,
    audited: "Audit",
    evaluated: Evaluated | None,
    labels: tuple[str, ...] | None,
) -> Made:
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
    return Made(files={MODEL: quantized.tflite, **golden}, manifest=manifest)


def source_digest(plan: BuildPlan, float_model: FloatModel) -> str:
    """sha256 of the source: its file or folder; of a function, the user's own modules and the weights."""
    source = plan.source
    if not float_model.files:
        return sha256_source(source.directory / source.spec)
    files = [source.directory / name for name in float_model.files]
    return sha256_files((*files, source.weights) if source.weights else tuple(files))

"""The way of a model: convert, calibrate, quantize, audit, evaluate, compile, run in TFLite Micro, write."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from edgekit.artifact import MANIFEST, MODEL, REFERENCE, Artifact, write_artifact
from edgekit.cache import Cache, put
from edgekit.compilation import compile_for_target, with_compiler
from edgekit.compilers.types import Compiled
from edgekit.digests import sha256_files, sha256_source
from edgekit.entries import Manifest, SearchEntry
from edgekit.errors import ProjectError, foreign_errors
from edgekit.ladder import Latency
from edgekit.lock import check_after, check_before, locked_build, write_lock
from edgekit.microcontroller import check_ready, checked_on_micro
from edgekit.plan import BuildPlan, name_of
from edgekit.postprocessing import check_postprocessing
from edgekit.progress import Progress, silent
from edgekit.project import has_project
from edgekit.reuse import artifact_key, convert_or_reuse, read_kept
from edgekit.steps import (
    LOGS,
    Calibrated,
    Evaluated,
    calibrate,
    evaluate,
    finish,
    quantize,
)
from edgekit_converters.types import Calibrator, FloatModel, QuantizedModel, Scheme

if TYPE_CHECKING:
    from edgekit.audit import Audit
    from edgekit_converters.calibrators import CalibratorTrial

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
    latency: Latency | None = None,
    said: Callable[[str], None] = lambda _text: None,
) -> Artifact:
    """Make the artifact of ``plan``; nothing is written unless every promise is kept.

    With ``cache`` an unchanged conversion, or the whole artifact, is taken from it, and ``said`` is told. With
    ``locked`` everything must be as edgekit.lock says; without, a project's lock is renewed. ``latency`` (ms of one
    inference of a .tflite) decides what is fastest for ``--precision auto``; without it the ladder goes by rule.

    Raises:
        ModelError: the source cannot be read, converted or quantized.
        ProjectError: the labels cannot be read, or the postprocessing does not fit the model.
        DataError: calibration or evaluation data is wrong.
        CompilerError: the accelerator's compiler is missing, is set wrongly or fails.
        MicroError: the target is a microcontroller, and TFLite Micro cannot be run here.
        AuditError, AccuracyError: the finished file is not what was asked for (exit code 3).
        LockError: ``locked``, and something differs (exit code 3).
        ArtifactError: the output cannot be written.
    """
    measures = latency is not None and plan.precision == "auto"  # what a device does today is in no key
    plan = with_compiler(plan, measures=measures)
    check_ready(plan)
    expected = check_before(plan) if locked else None
    labels = read_labels(plan.labels)
    float_model, converted_before = convert_or_reuse(plan, cache, progress)
    if plan.postprocessing is not None:
        check_postprocessing(plan.postprocessing, float_model, labels)
    key = artifact_key(plan, float_model, labels) if cache and not measures else None
    kept = read_kept(cache, key)
    if kept is not None:
        said("reused the whole artifact: model, data, settings and tools are unchanged")
        made = Made(files=kept[0], manifest=kept[1])
    else:
        if converted_before:
            said("reused the conversion: the model and its framework are unchanged")
        made = _make(plan, float_model, labels, progress, latency or (lambda _tflite: None))
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


@dataclass(frozen=True, kw_only=True)
class _Parts:
    """What the way of a model leaves behind, beside the float model and the calibration."""

    model: QuantizedModel
    scheme: Scheme
    audit: "Audit"
    evaluated: Evaluated | None
    calibrator: Calibrator | None
    trials: "tuple[CalibratorTrial, ...]" = ()
    search: SearchEntry | None = None


def _make(
    plan: BuildPlan, float_model: FloatModel, labels: tuple[str, ...] | None, progress: Progress, latency: Latency
) -> Made:
    """The way of a model, from the float one to the files of an artifact."""
    calibrated = calibrate(plan, float_model, progress) if plan.calibration else None
    if plan.precision == "auto" and calibrated is not None:
        parts = _searched(plan, float_model, calibrated, labels, progress, latency)
    else:
        parts = _straight(plan, float_model, calibrated, labels, progress)
    compiled = compile_for_target(plan, float_model, parts.model, calibrated, progress)
    made = _assemble(plan, float_model, calibrated, parts, labels, compiled)
    return replace(made, manifest=checked_on_micro(plan, made.files, made.manifest, progress))


def _straight(
    plan: BuildPlan,
    float_model: FloatModel,
    calibrated: Calibrated | None,
    labels: tuple[str, ...] | None,
    progress: Progress,
) -> _Parts:
    """Quantize -> audit -> evaluate, at the precision that was asked for."""
    from edgekit.audit import audit

    quantized = quantize(plan, float_model, calibrated, progress)
    model = finish(plan, quantized.model, labels)
    progress("audit")
    audited = audit(model.tflite, scheme=plan.scheme, target=plan.target, states=float_model.states)
    evaluated = evaluate(plan, float_model, model, calibrated, progress) if plan.evaluation else None
    return _Parts(
        model=model,
        scheme=plan.scheme,
        audit=audited,
        evaluated=evaluated,
        calibrator=quantized.calibrator,
        trials=quantized.trials,
    )


def _searched(
    plan: BuildPlan,
    float_model: FloatModel,
    calibrated: Calibrated,
    labels: tuple[str, ...] | None,
    progress: Progress,
    latency: Latency,
) -> _Parts:
    """The fastest file that keeps the budget, whatever its precision."""
    from edgekit.audit import audit
    from edgekit.auto import find_file
    from edgekit.manifest import search_entry

    found = find_file(plan, float_model, calibrated, labels, progress, latency)
    result = found.result
    progress("audit")
    return _Parts(
        model=result.quantized,
        scheme=result.candidate.scheme,
        audit=audit(
            result.quantized.tflite, scheme=result.candidate.scheme, target=plan.target, states=float_model.states
        ),
        evaluated=found.evaluated,
        calibrator=result.calibrator,
        search=search_entry(result),
    )


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
    parts: _Parts,
    labels: tuple[str, ...] | None,
    compiled: Compiled | None,
) -> Made:
    from edgekit.golden import golden_files
    from edgekit.manifest import build_findings, calibration_entry, input_ranges, make_manifest

    ranges = input_ranges(plan, float_model, calibrated.seen.spans if calibrated else {})
    model, seen = parts.model, calibrated.seen if calibrated else None
    golden = golden_files(model.tflite, model.precision, calibrated.golden if calibrated else (), ranges)
    manifest = make_manifest(
        plan,
        source_sha256=source_digest(plan, float_model),
        float_model=float_model,
        quantized=model,
        audit=parts.audit,
        labels=labels,
        ranges=ranges,
        scheme=parts.scheme,
        calibration=calibration_entry(seen.sha256(), seen.count, parts.calibrator, parts.trials) if seen else None,
        evaluation=parts.evaluated.entry if parts.evaluated else None,
        search=parts.search,
        compiled=compiled,
        findings=(
            *float_model.findings,
            *(calibrated.findings if calibrated else ()),
            *model.findings,
            *parts.audit.findings,
            *(parts.evaluated.findings if parts.evaluated else ()),
            *(compiled.findings if compiled else ()),
            *build_findings(plan, model, labels, has_samples=calibrated is not None),
        ),
    )
    if compiled is None:
        return Made(files={MODEL: model.tflite, **golden}, manifest=manifest)
    files = {compiled.name: compiled.model, REFERENCE: model.tflite, **compiled.extra}
    return Made(files={**files, **golden}, manifest=manifest)


def source_digest(plan: BuildPlan, float_model: FloatModel) -> str:
    """sha256 of the source: its file or folder; of a function, the user's own modules and the weights."""
    source = plan.source
    if not float_model.files:
        return sha256_source(source.directory / source.spec)
    files = [source.directory / name for name in float_model.files]
    return sha256_files((*files, source.weights) if source.weights else tuple(files))

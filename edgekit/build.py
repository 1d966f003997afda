"""The way of a model: convert, calibrate, quantize, audit, evaluate, write. Each step takes a value and returns one."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from msgspec import to_builtins

from edgekit.artifact import MODEL, Artifact, EvaluationEntry, sha256_source, write_artifact
from edgekit.errors import DataError, ModelError, ProjectError
from edgekit.plan import BuildPlan, DataPlan, name_of
from edgekit_converters import errors as converter_errors
from edgekit_converters.types import Finding, FloatModel, QuantizedModel, Ranges

if TYPE_CHECKING:
    import numpy as np

    from edgekit.audit import Audit
    from edgekit_converters.calibration import Dataset, Sample
    from edgekit_converters.checks import Checks
    from edgekit_converters.metadata import Normalization

    Arrays = Mapping[str, np.ndarray[Any, Any]]

LOGS = Path("build/logs")
"""Where a framework's output is kept when it failed; below the project's folder."""

OpenSpec = tuple[tuple[int | None, ...], str]
"""Shape with open dimensions as None, and dtype."""


class Progress(Protocol):
    """Told of every step; ``done`` and ``total`` count samples where a step has them."""

    def __call__(self, step: str, done: int | None = None, total: int | None = None) -> None: ...


def silent(step: str, done: int | None = None, total: int | None = None) -> None:
    """Progress for callers that show none."""


@dataclass(frozen=True, kw_only=True)
class Description:
    """What can be said of a source model by loading it."""

    name: str
    source_format: str
    inputs: dict[str, OpenSpec]
    outputs: dict[str, OpenSpec]


@dataclass(frozen=True, kw_only=True)
class Calibrated:
    """What one pass over the representative dataset gave."""

    ranges: Ranges
    golden: "tuple[Arrays, ...]"
    """The first samples, as the float model takes them."""
    seen: "Checks"
    findings: tuple[Finding, ...]


@dataclass(frozen=True, kw_only=True)
class Evaluated:
    """Accuracy on held-out samples."""

    entry: EvaluationEntry
    findings: tuple[Finding, ...]


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
    audited = audit(quantized.tflite, precision=plan.precision, io=plan.io, target=plan.target)
    evaluated = evaluate(plan, float_model, quantized, calibrated, progress) if plan.evaluation else None
    progress("write")
    return _write(plan, float_model, calibrated, quantized, audited, evaluated, labels)


def describe(path: Path) -> Description:
    """Load a source model in a child process; raises ModelError."""
    from edgekit_converters import child

    with foreign_errors():
        inputs, outputs, source_format = child.describe(path, log_folder=LOGS)
    return Description(name=name_of(path), source_format=source_format, inputs=inputs, outputs=outputs)


def convert(plan: BuildPlan, progress: Progress) -> FloatModel:
    """Source -> float32 .tflite with a static batch and named signature, in a child process."""
    from edgekit_converters import child

    progress("start the framework")
    with foreign_errors():
        float_model = child.convert(
            plan.source,
            batch=plan.batch,
            input_shapes={name: table.shape for name, table in plan.inputs.items() if table.shape is not None},
            log_folder=plan.directory / LOGS,
            max_memory_mib=plan.max_memory_mib,
            on_event=progress,
        )
    names = [spec.name for spec in float_model.inputs]
    for name in plan.inputs:
        if name not in names:
            raise ProjectError(
                f"edgekit.toml has [input.{name}], and the model has no such input.",
                hint=f"Its inputs are: {', '.join(names)}.",
            )
    return float_model


def calibrate(plan: BuildPlan, float_model: FloatModel, progress: Progress) -> Calibrated:
    """One pass over the representative dataset: ranges, checks, golden samples; constant memory."""
    from edgekit.golden import VECTORS
    from edgekit_converters.checks import Checks
    from edgekit_converters.ranges import collect_ranges

    golden: list[Arrays] = []
    with foreign_errors():
        dataset = open_data(plan, plan.calibration, float_model)
        seen = Checks(float_model.inputs, declared=_declared_ranges(plan), role="calibration")

        def samples() -> "Iterator[Arrays]":
            for sample in observed(dataset, seen, "calibrate", progress):
                if len(golden) < VECTORS:
                    golden.append(sample.inputs)
                yield sample.inputs

        ranges = collect_ranges(float_model.tflite, samples(), on_outputs=seen.see_outputs)
    findings = seen.findings()
    stop_at_errors(findings)
    return Calibrated(ranges=ranges, golden=tuple(golden), seen=seen, findings=findings)


def quantize(
    plan: BuildPlan, float_model: FloatModel, calibrated: Calibrated | None, labels: tuple[str, ...] | None
) -> QuantizedModel:
    """Flatbuffer to flatbuffer, by the rules of the target; with the metadata that other tools read."""
    from edgekit_converters.metadata import embed_metadata
    from edgekit_converters.quantize import quantize as quantize_model

    with foreign_errors():
        quantized = quantize_model(
            float_model,
            precision=plan.precision,
            io=plan.io,
            ranges=calibrated.ranges if calibrated else None,
            per_channel_fully_connected=plan.target.quantization.per_channel_fully_connected,
        )
        tflite = embed_metadata(
            quantized.tflite, name=plan.name, labels=labels or (), normalization=_normalization(plan)
        )
    return replace(quantized, tflite=tflite)


def evaluate(
    plan: BuildPlan,
    float_model: FloatModel,
    quantized: QuantizedModel,
    calibrated: Calibrated | None,
    progress: Progress,
) -> Evaluated:
    """Source and finished file on the same held-out samples; AccuracyError when over the budget."""
    from edgekit.evaluate import check_budget, unproven_budget
    from edgekit.evaluate import evaluate as evaluate_models
    from edgekit.manifest import evaluation_entry
    from edgekit_converters.checks import Checks, contradiction, overlap

    with foreign_errors():
        dataset = open_data(plan, plan.evaluation, float_model, need_labels=True)
        seen = Checks(float_model.inputs, declared=_declared_ranges(plan), role="evaluation")
        result = evaluate_models(float_model.tflite, quantized.tflite, observed(dataset, seen, "evaluate", progress))
    findings = seen.findings()
    if calibrated is not None:
        findings += overlap(calibrated.seen.digests(), seen.digests())
        findings += contradiction(calibrated.seen.spans, seen.spans)
    stop_at_errors(findings)
    if plan.max_drop is not None:
        check_budget(result, plan.max_drop)
        findings += unproven_budget(result, plan.max_drop)
    return Evaluated(entry=evaluation_entry(result, seen.sha256(), plan.max_drop), findings=findings)


def open_data(
    plan: BuildPlan, data: DataPlan | None, float_model: FloatModel, *, need_labels: bool = False
) -> "Dataset":
    """The samples of a data plan, preprocessed as ``edgekit.toml`` declares."""
    from edgekit_converters.calibration import open_dataset

    assert data is not None  # noqa: S101 - build() asks only then
    return open_dataset(
        data.spec,
        float_model.inputs,
        transform=_transform(plan),
        limit=data.limit,
        base=plan.directory,
        need_labels=need_labels,
    )


def observed(dataset: "Dataset", seen: "Checks", step: str, progress: Progress) -> "Iterator[Sample]":
    """The samples, each seen by the checks and told to the progress."""
    for number, sample in enumerate(dataset.samples(), start=1):
        seen.see(sample)
        yield sample
        progress(step, number, dataset.count)


def read_labels(path: Path | None) -> tuple[str, ...] | None:
    """One label a line; None without a file."""
    if path is None:
        return None
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as err:
        raise ProjectError(f"The labels {path} cannot be read: {err}.", hint="Correct [model] labels.") from err
    return tuple(line.strip() for line in lines if line.strip())


@contextmanager
def foreign_errors() -> Iterator[None]:
    """Errors of the converters become edgekit's own, with their exit codes."""
    try:
        yield
    except converter_errors.DataError as err:
        raise DataError(err.message, hint=err.hint) from err
    except converter_errors.ConverterError as err:
        raise ModelError(err.message, hint=err.hint) from err


def stop_at_errors(findings: tuple[Finding, ...]) -> None:
    """Raise DataError for the first finding that is an error, with all of them in ``details``."""
    errors = [finding for finding in findings if finding.severity == "error"]
    if errors:
        raise DataError(f"{errors[0].name}: {errors[0].message}", hint=errors[0].fix, details={"findings": findings})


def _transform(plan: BuildPlan) -> "Callable[[str, Any], Any] | None":
    from edgekit.agent.preprocess import apply

    specs = {name: to_builtins(table.preprocessing) for name, table in plan.inputs.items() if table.preprocessing}
    return lambda name, array: apply(specs[name], array) if name in specs else array


def _normalization(plan: BuildPlan) -> "dict[str, Normalization]":
    """(x * scale - mean) / std, as the (x - mean) / std that TFLite metadata knows."""
    from edgekit_converters.metadata import Normalization

    found = {}
    for name, table in plan.inputs.items():
        steps = table.preprocessing
        if steps is not None and steps.scale:
            mean, std = steps.mean or (0.0,), steps.std or (1.0,)
            found[name] = Normalization(
                mean=tuple(value / steps.scale for value in mean), std=tuple(value / steps.scale for value in std)
            )
    return found


def _declared_ranges(plan: BuildPlan) -> dict[str, tuple[float, float]]:
    return {name: table.range for name, table in plan.inputs.items() if table.range is not None}


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
    golden = golden_files(quantized.tflite, plan.precision, calibrated.golden if calibrated else (), ranges)
    manifest = make_manifest(
        plan,
        source_sha256=sha256_source(plan.source),
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

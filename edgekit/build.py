"""The way of a model: convert, calibrate, quantize, audit, evaluate, write. Each step takes a value and returns one."""

import hashlib
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from edgekit.artifact import (
    MODEL,
    Artifact,
    AuditEntry,
    CalibrationEntry,
    EvaluationEntry,
    FindingEntry,
    Manifest,
    Quantization,
    Source,
    TensorEntry,
    sha256_source,
    write_artifact,
)
from edgekit.errors import DataError, EdgekitError, ModelError
from edgekit.plan import BuildPlan, DataPlan
from edgekit_converters import errors as converter_errors
from edgekit_converters.types import Finding, FloatModel, QuantizedModel, Ranges, TensorSpec

if TYPE_CHECKING:
    import numpy as np

    from edgekit.audit import Audit
    from edgekit.evaluate import Evaluation
    from edgekit_converters.calibration import Dataset
    from edgekit_converters.child import Description

    Sample = Mapping[str, np.ndarray[Any, Any]]


class Progress(Protocol):
    """Told of every step; ``done`` and ``total`` count samples where a step has them."""

    def __call__(self, step: str, done: int | None = None, total: int | None = None) -> None: ...


def silent(_step: str, _done: int | None = None, _total: int | None = None) -> None:
    """Progress for callers that show none."""


@dataclass(frozen=True, kw_only=True)
class Calibrated:
    """What one pass over the representative dataset gave."""

    ranges: Ranges
    entry: CalibrationEntry
    golden: "tuple[Sample, ...]"
    """The first samples, as the float model takes them."""
    digests: "np.ndarray[Any, np.dtype[np.uint64]]"
    """One a sample, to find overlap with the evaluation data."""
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
    from edgekit.golden import golden_files

    labels = _labels(plan)
    float_model = convert(plan, progress)
    calibrated = calibrate(plan, float_model, progress) if plan.calibration else None
    progress("quantize")
    quantized = quantize(plan, float_model, calibrated)
    tflite = _with_metadata(plan, quantized, labels)
    progress("audit")
    audited = audit(tflite, precision=plan.precision, io=plan.io, target=plan.target)
    evaluation = evaluate(plan, float_model, tflite, calibrated, progress) if plan.evaluation else None
    progress("golden vectors")
    ranges = _input_ranges(plan, float_model, calibrated)
    files = golden_files(tflite, plan.precision, calibrated.golden if calibrated else (), ranges)
    findings = _findings(plan, float_model, calibrated, quantized, audited, evaluation)
    manifest = _manifest(plan, float_model, calibrated, quantized, audited, evaluation, labels, findings)
    progress("write")
    return write_artifact(plan.output, {MODEL: tflite, **files}, manifest)


def describe(path: Path) -> "Description":
    """Inputs and outputs of a source model, open dimensions as -1; raises ModelError."""
    from edgekit_converters import child

    with foreign_errors(), _log_folder() as logs:
        return child.describe(path, log_folder=logs)


def convert(plan: BuildPlan, progress: Progress) -> FloatModel:
    """Source -> float32 .tflite with a static batch and named signature, in a child process."""
    from edgekit_converters import child

    progress("convert")
    shapes = {name: table.shape for name, table in plan.inputs.items() if table.shape is not None}
    with foreign_errors(), _log_folder() as logs:
        return child.convert(
            plan.source,
            batch=plan.batch,
            input_shapes=shapes,
            log_folder=logs,
            max_memory_mib=plan.max_memory_mib,
            on_event=progress,
            warm=_import_what_comes_next,
        )


def calibrate(plan: BuildPlan, float_model: FloatModel, progress: Progress) -> Calibrated:
    """One pass over the representative dataset: ranges, checks, golden samples; constant memory."""
    from edgekit.golden import VECTORS
    from edgekit_converters.checks import Checks
    from edgekit_converters.ranges import collect_ranges

    assert plan.calibration is not None  # noqa: S101 - build() asks only then
    with foreign_errors():
        dataset = open_data(plan, plan.calibration, float_model)
        checks = Checks(float_model.inputs, declared=_declared_ranges(plan), role="calibration")
        golden: list[Sample] = []

        def samples() -> Iterator[Sample]:
            for number, sample in enumerate(dataset.samples(), start=1):
                checks.see(sample)
                if len(golden) < VECTORS:
                    golden.append(sample.inputs)
                yield sample.inputs
                progress("calibrate", number, dataset.count)

        ranges = collect_ranges(float_model.tflite, samples())
        findings = checks.findings()
    _stop_at_errors(findings)
    entry = CalibrationEntry(sha256=checks.sha256(), samples=checks.count, method="min-max")
    return Calibrated(ranges=ranges, entry=entry, golden=tuple(golden), digests=checks.digests(), findings=findings)


def quantize(plan: BuildPlan, float_model: FloatModel, calibrated: Calibrated | None) -> QuantizedModel:
    """Flatbuffer to flatbuffer, by the rules of the target."""
    from edgekit_converters.quantize import quantize as quantize_model

    with foreign_errors():
        return quantize_model(
            float_model,
            precision=plan.precision,
            io=plan.io,
            ranges=calibrated.ranges if calibrated else None,
            per_channel_fully_connected=plan.target.quantization.per_channel_fully_connected,
        )

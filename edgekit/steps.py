"""The steps of a build: convert, calibrate, quantize, evaluate. Each takes a value and returns a new one."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from msgspec import to_builtins

from edgekit.errors import AuditError, DataError, ModelError, ProjectError
from edgekit.metrics.entries import EvaluationEntry
from edgekit.plan import BuildPlan, DataPlan
from edgekit_converters import errors as converter_errors
from edgekit_converters.types import Finding, FloatModel, QuantizedModel, Ranges

if TYPE_CHECKING:
    import numpy as np

    from edgekit_converters.calibration import Dataset, Sample
    from edgekit_converters.checks import Checks
    from edgekit_converters.child import Probes
    from edgekit_converters.metadata import Normalization
    from edgekit_converters.shapes import InputHint
    from edgekit_converters.sources import ModelSource
    from edgekit_converters.targets import Targets

    Arrays = Mapping[str, np.ndarray[Any, Any]]

LOGS = Path("build/logs")
"""Where a framework's output is kept when it failed; below the project's folder."""


class Progress(Protocol):
    """Told of every step; ``done`` and ``total`` count samples where a step has them."""

    def __call__(self, step: str, done: int | None = None, total: int | None = None) -> None: ...


def silent(step: str, done: int | None = None, total: int | None = None) -> None:
    """Progress for callers that show none."""


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


def source_of(plan: BuildPlan) -> "ModelSource":
    """What the model is; raises ModelError."""
    from edgekit_converters.sources import open_source

    source = plan.source
    with foreign_errors():
        return open_source(
            source.spec,
            directory=source.directory,
            weights=source.weights,
            layout=source.layout,
            unroll=plan.precision in {"int8", "int16x8", "dynamic", "auto"},
        )


def convert(plan: BuildPlan, progress: Progress) -> FloatModel:
    """Source -> float32 .tflite with a static batch and named signature, compared with its source on real inputs.

    Raises:
        ModelError: it cannot be read or converted.
        AuditError: the .tflite does not compute what the source does (exit code 3).
    """
    from edgekit_converters import child
    from edgekit_converters.environments import TOOLS, prepare

    source = source_of(plan)
    with foreign_errors():
        if source.format in TOOLS:
            prepare(TOOLS[source.format], progress)
        progress("start the framework")
        float_model = child.convert(
            source,
            batch=plan.batch,
            hints=input_hints(plan, source),
            probes=lambda model: _probes(plan, model),
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


def input_hints(plan: BuildPlan, source: "ModelSource") -> "dict[str, InputHint]":
    """Shapes and dtypes that edgekit.toml declares; for a network without any, those of the first sample."""
    from edgekit_converters.shapes import InputHint
    from edgekit_converters.sources import SHAPELESS

    hints = {}
    for name, table in plan.inputs.items():
        dtype = table.dtype or (table.preprocessing.dtype if table.preprocessing else None)
        if table.shape is not None or dtype is not None:
            hints[name] = InputHint(shape=table.shape, dtype=dtype, declared=True)
    data = plan.calibration or plan.evaluation
    if source.format not in SHAPELESS or data is None or any(hint.shape for hint in hints.values()):
        return hints
    from edgekit_converters.peek import peek

    names = tuple(plan.inputs)
    return peek(data.spec, names=names, transform=_transform(plan), batch=plan.batch, base=plan.directory)


def _probes(plan: BuildPlan, float_model: FloatModel) -> "Probes":
    """A few real inputs, from the data that there is; seeded random ones where there is none."""
    from edgekit_converters.child import Probes
    from edgekit_converters.fidelity import SAMPLES, random_samples

    kinds: tuple[tuple[Literal["calibration", "evaluation"], DataPlan | None], ...] = (
        ("calibration", plan.calibration),
        ("evaluation", plan.evaluation),
    )
    for kind, data in kinds:
        if data is not None:
            few = replace(data, limit=min(SAMPLES, data.limit or SAMPLES))
            samples = [sample.inputs for sample in open_data(plan, few, float_model).samples()]
            return Probes(kind=kind, samples=samples)
    return Probes(kind="random", samples=random_samples(float_model, _declared_ranges(plan)))


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
            scheme=plan.scheme,
            ranges=calibrated.ranges if calibrated else None,
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
    from edgekit.metrics import metric_of
    from edgekit_converters.checks import Checks, contradiction, overlap

    metric = metric_of(plan.metric, detection=plan.detection, directory=plan.directory)
    with foreign_errors():
        dataset = open_data(plan, plan.evaluation, float_model, targets=metric.targets)
        seen = Checks(float_model.inputs, declared=_declared_ranges(plan), role="evaluation")
        samples = observed(dataset, seen, "evaluate", progress)
        result = evaluate_models(float_model.tflite, quantized.tflite, samples, metric)
    findings = (*seen.findings(), *result.findings)
    if calibrated is not None:
        findings += overlap(calibrated.seen.digests(), seen.digests())
        findings += contradiction(calibrated.seen.spans, seen.spans)
    stop_at_errors(findings)
    if plan.max_drop is not None:
        check_budget(result, plan.max_drop)
        findings += unproven_budget(result, plan.max_drop)
    return Evaluated(entry=evaluation_entry(result, seen.sha256(), plan.max_drop), findings=findings)


def open_data(
    plan: BuildPlan, data: DataPlan | None, float_model: FloatModel, *, targets: "Targets" = "any"
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
        targets=targets,
    )


def observed(dataset: "Dataset", seen: "Checks", step: str, progress: Progress) -> "Iterator[Sample]":
    """The samples, each seen by the checks and told to the progress."""
    for number, sample in enumerate(dataset.samples(), start=1):
        seen.see(sample)
        yield sample
        progress(step, number, dataset.count)


@contextmanager
def foreign_errors() -> Iterator[None]:
    """Errors of the converters become edgekit's own, with their exit codes."""
    try:
        yield
    except converter_errors.DataError as err:
        raise DataError(err.message, hint=err.hint) from err
    except converter_errors.MismatchError as err:
        raise AuditError(err.message, hint=err.hint) from err
    except converter_errors.ConverterError as err:
        raise ModelError(err.message, hint=err.hint) from err


def stop_at_errors(findings: tuple[Finding, ...]) -> None:
    """Raise DataError for the first finding that is an error, with all of them in ``details``."""
    errors = [finding for finding in findings if finding.severity == "error"]
    if errors:
        raise DataError(f"{errors[0].name}: {errors[0].message}", hint=errors[0].fix, details={"findings": findings})


def _transform(plan: BuildPlan) -> "Callable[[str, Any], Any]":
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

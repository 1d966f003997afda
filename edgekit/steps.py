"""The steps of a build: convert, calibrate, quantize, evaluate. Each takes a value and returns a new one."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from edgekit.errors import ProjectError, foreign_errors
from edgekit.metrics.entries import EvaluationEntry
from edgekit.plan import BuildPlan, DataPlan
from edgekit.progress import Progress
from edgekit.samples import (
    check_held_out,
    declared_ranges,
    inferences,
    observed,
    open_data,
    open_held_out,
    runner_of,
    stop_at_errors,
    transform_of,
)
from edgekit_converters.types import Calibrator, Finding, FloatModel, QuantizedModel

if TYPE_CHECKING:
    import numpy as np

    from edgekit_converters.calibrators import CalibratorTrial
    from edgekit_converters.checks import Checks
    from edgekit_converters.child import Probes
    from edgekit_converters.metadata import Normalization
    from edgekit_converters.shapes import InputHint
    from edgekit_converters.sources import ModelSource
    from edgekit_converters.statistics import Samples, Statistics

    Arrays = Mapping[str, np.ndarray[Any, Any]]

LOGS = Path("build/logs")
"""Where a framework's output is kept when it failed; below the project's folder."""


@dataclass(frozen=True, kw_only=True)
class Calibrated:
    """What the representative dataset gave."""

    statistics: "Statistics"
    samples: "Samples"
    """Reads the inputs of the same samples again."""
    golden: "tuple[Arrays, ...]"
    """The first samples, as the float model takes them."""
    seen: "Checks"
    findings: tuple[Finding, ...]


@dataclass(frozen=True, kw_only=True)
class Quantized:
    """A file without its metadata, and how its ranges were found."""

    model: QuantizedModel
    calibrator: Calibrator | None = None
    """None where there are no ranges."""
    trials: "tuple[CalibratorTrial, ...]" = ()
    """Every estimator that ``--calibrator auto`` measured."""


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
        float_model = _as_stream(plan, float_model)
    names = [spec.name for spec in float_model.inputs]
    for name in plan.inputs:
        if name not in names:
            raise ProjectError(
                f"edgekit.toml has [input.{name}], and the model has no such input.",
                hint=f"Its inputs are: {', '.join(names)}.",
            )
    return float_model


def _as_stream(plan: BuildPlan, float_model: FloatModel) -> FloatModel:
    """With the states that [stream] names; raises the converters' SourceError where they do not fit."""
    from edgekit_converters.states import check_states

    if plan.stream is None:
        return float_model
    check_states(float_model, plan.stream.state)
    return replace(float_model, states=dict(plan.stream.state))


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
    return peek(data.spec, names=names, transform=transform_of(plan), batch=plan.batch, base=plan.directory)


def _probes(plan: BuildPlan, float_model: FloatModel) -> "Probes":
    """A few real inputs, from the data that there is; seeded random ones where there is none."""
    from edgekit_converters.child import Probes
    from edgekit_converters.fidelity import SAMPLES, random_samples

    float_model = _as_stream(plan, float_model)
    kinds: tuple[tuple[Literal["calibration", "evaluation"], DataPlan | None], ...] = (
        ("calibration", plan.calibration),
        ("evaluation", plan.evaluation),
    )
    for kind, data in kinds:
        if data is not None:
            few = replace(data, limit=min(SAMPLES, data.limit or SAMPLES))
            samples = inferences(plan, float_model, open_data(plan, few, float_model).samples())
            return Probes(kind=kind, samples=list(islice(samples, SAMPLES)))
    return Probes(kind="random", samples=random_samples(float_model, declared_ranges(plan)))


def calibrate(plan: BuildPlan, float_model: FloatModel, progress: Progress) -> Calibrated:
    """One pass over the representative dataset (two for histograms): statistics, checks, golden samples."""
    from edgekit.golden import VECTORS
    from edgekit_converters.checks import Checks
    from edgekit_converters.statistics import collect_statistics

    golden: list[Arrays] = []
    with foreign_errors():
        dataset = open_data(plan, plan.calibration, float_model)
        seen = Checks(float_model.inputs, declared=declared_ranges(plan), role="calibration")

        def first_pass() -> "Iterator[Arrays]":
            for inputs in inferences(plan, float_model, observed(dataset, seen, "calibrate", progress)):
                if len(golden) < VECTORS:
                    golden.append(inputs)
                yield inputs

        def samples() -> "Iterable[Arrays]":
            return inferences(plan, float_model, dataset.samples()) if seen.count else first_pass()

        statistics = collect_statistics(
            float_model.tflite,
            samples,
            histograms=_needs_histograms(plan),
            on_outputs=None if plan.stream else seen.see_outputs,  # a frame may well say what the last one said
        )
    findings = seen.findings()
    stop_at_errors(findings)
    return Calibrated(statistics=statistics, samples=samples, golden=tuple(golden), seen=seen, findings=findings)


def quantize(plan: BuildPlan, float_model: FloatModel, calibrated: Calibrated | None, progress: Progress) -> Quantized:
    """Flatbuffer to flatbuffer, by the scheme and with the ranges that the calibrator gives."""
    from edgekit.candidates import CALIBRATED
    from edgekit_converters.calibrators import check_stability
    from edgekit_converters.quantize import quantize as quantize_model
    from edgekit_converters.refinement import refine
    from edgekit_converters.trials import start_trials

    progress("quantize")
    scheme = plan.scheme
    with foreign_errors():
        if scheme.precision not in CALIBRATED or calibrated is None:
            return Quantized(model=quantize_model(float_model, scheme=scheme))
        trials = start_trials(float_model, scheme, calibrated.samples)
        found = refine(
            float_model,
            calibrated.statistics,
            calibrated.samples,
            trials,
            calibrator=plan.calibrator,
            equalization=plan.equalize,
            bias_correction=plan.correct_biases,
            on_trial=lambda trial: progress(f"measured {trial.calibrator}"),
        )
        made = trials.make(found.model, found.ranges)
        unstable = check_stability(float_model, found.calibrator, calibrated.statistics, trials)
        findings = (*found.findings, *unstable)
    made = replace(made, findings=(*made.findings, *findings))
    return Quantized(model=made, calibrator=found.calibrator, trials=found.trials)


def finish(plan: BuildPlan, quantized: QuantizedModel, labels: tuple[str, ...] | None) -> QuantizedModel:
    """With the metadata that other tools read; the bytes that will be written."""
    from edgekit_converters.metadata import embed_metadata

    with foreign_errors():
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

    held_out = open_held_out(plan, float_model)
    with foreign_errors():
        samples = observed(held_out.dataset, held_out.seen, "evaluate", progress)
        result = evaluate_models(
            float_model.tflite, quantized.tflite, samples, held_out.metric, make_run=runner_of(plan)
        )
    findings = (*result.findings, *check_held_out(held_out.seen, calibrated.seen if calibrated else None))
    if plan.max_drop is not None:
        check_budget(result, plan.max_drop)
        findings += unproven_budget(result, plan.max_drop)
    return Evaluated(entry=evaluation_entry(result, held_out.seen.sha256(), plan.max_drop), findings=findings)


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


def _needs_histograms(plan: BuildPlan) -> bool:
    from edgekit_converters.estimators import needs_histograms

    return plan.precision == "auto" or plan.calibrator == "auto" or needs_histograms(plan.calibrator)

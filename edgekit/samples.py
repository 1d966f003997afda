"""Calibration and evaluation data of a build: opened with its preprocessing, watched while read, judged afterwards."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from msgspec import to_builtins

from edgekit.errors import DataError, foreign_errors
from edgekit.plan import BuildPlan, DataPlan
from edgekit.progress import Progress
from edgekit_converters.types import Finding, FloatModel

if TYPE_CHECKING:
    import numpy as np

    from edgekit.evaluate import Run
    from edgekit.metrics.protocol import Metric
    from edgekit_converters.calibration import Dataset, Sample
    from edgekit_converters.checks import Checks
    from edgekit_converters.targets import Targets

    Arrays = Mapping[str, np.ndarray[Any, Any]]


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """Evaluation data, opened."""

    metric: "Metric"
    dataset: "Dataset"
    seen: "Checks"


def open_held_out(plan: BuildPlan, float_model: FloatModel) -> HeldOut:
    """The evaluation data with the metric that it is for; raises DataError and what ``metric_of`` raises."""
    from edgekit.metrics import metric_of
    from edgekit_converters.checks import Checks

    metric = metric_of(plan.metric, detection=plan.detection, directory=plan.directory)
    with foreign_errors():
        dataset = open_data(plan, plan.evaluation, float_model, targets=metric.targets)
    seen = Checks(float_model.inputs, declared=declared_ranges(plan), role="evaluation")
    return HeldOut(metric=metric, dataset=dataset, seen=seen)


def check_held_out(seen: "Checks", calibrated: "Checks | None") -> tuple[Finding, ...]:
    """What a whole pass over the evaluation data showed; raises DataError for what makes it worthless."""
    from edgekit_converters.checks import contradiction, overlap

    findings = seen.findings()
    if calibrated is not None:
        findings += overlap(calibrated.digests(), seen.digests())
        findings += contradiction(calibrated.spans, seen.spans)
    stop_at_errors(findings)
    return findings


def open_data(
    plan: BuildPlan, data: DataPlan | None, float_model: FloatModel, *, targets: "Targets" = "any"
) -> "Dataset":
    """The samples of a data plan, preprocessed as ``edgekit.toml`` declares."""
    from edgekit_converters.calibration import open_dataset
    from edgekit_converters.states import frame_inputs

    assert data is not None  # noqa: S101 - build() asks only then
    return open_dataset(
        data.spec,
        frame_inputs(float_model),
        transform=transform_of(plan),
        limit=data.limit,
        base=plan.directory,
        targets=targets,
        frames=plan.stream is not None,
    )


def inferences(plan: BuildPlan, float_model: FloatModel, samples: "Iterable[Sample]") -> "Iterator[Arrays]":
    """What the model is given, one inference after the other: a sample each, or every frame of a stream's sequences."""
    sequences = (sample.inputs for sample in samples)
    if plan.stream is None:
        return sequences
    from edgekit_converters.streams import float_frames

    return float_frames(float_model, sequences)


def runner_of(plan: BuildPlan) -> "Callable[[bytes], Run]":
    """What makes a .tflite a model that ``measure`` takes: sample by sample, or sequence by sequence."""
    from edgekit.evaluate import runner
    from edgekit.streams import stream_runner

    stream = plan.stream
    return runner if stream is None else lambda tflite: stream_runner(tflite, stream)


def observed(dataset: "Dataset", seen: "Checks", step: str, progress: Progress) -> "Iterator[Sample]":
    """The samples, each seen by the checks and told to the progress."""
    for number, sample in enumerate(dataset.samples(), start=1):
        seen.see(sample)
        yield sample
        progress(step, number, dataset.count)


def stop_at_errors(findings: tuple[Finding, ...]) -> None:
    """Raise DataError for the first finding that is an error, with all of them in ``details``."""
    errors = [finding for finding in findings if finding.severity == "error"]
    if errors:
        raise DataError(f"{errors[0].name}: {errors[0].message}", hint=errors[0].fix, details={"findings": findings})


def transform_of(plan: BuildPlan) -> "Callable[[str, Any], Any]":
    from edgekit.agent.preprocess import apply

    specs = {name: to_builtins(table.preprocessing) for name, table in plan.inputs.items() if table.preprocessing}
    return lambda name, array: apply(specs[name], array) if name in specs else array


def declared_ranges(plan: BuildPlan) -> dict[str, tuple[float, float]]:
    return {name: table.range for name, table in plan.inputs.items() if table.range is not None}

"""``--precision auto`` in a build: the search over the plan's own data, target and device."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from edgekit.audit import audit
from edgekit.candidates import Maker
from edgekit.errors import foreign_errors
from edgekit.ladder import Candidate, Latency
from edgekit.manifest import evaluation_entry
from edgekit.plan import BuildPlan
from edgekit.progress import Progress
from edgekit.rungs import Options, rescues_of
from edgekit.samples import check_held_out, observed, open_held_out, runner_of
from edgekit.search import SearchInputs, search
from edgekit.search_result import SearchResult, refusal
from edgekit.steps import Calibrated, Evaluated, finish
from edgekit_converters.recipes import IO_DTYPES
from edgekit_converters.types import FloatModel, Precision

if TYPE_CHECKING:
    import numpy as np

    from edgekit.candidates import CandidateFile

    Arrays = Mapping[str, np.ndarray[Any, Any]]


def _precisions(plan: BuildPlan) -> tuple[Precision, ...]:
    """What the target takes, of it what has the inputs and outputs that the user named."""
    taken = plan.target.quantization.precisions
    return tuple(item for item in taken if not plan.fixed_io or plan.scheme.io in IO_DTYPES[item])


@dataclass(frozen=True, kw_only=True)
class Found:
    """A file, how it was found, and what it is worth."""

    result: SearchResult
    evaluated: Evaluated


def find_file(
    plan: BuildPlan,
    float_model: FloatModel,
    calibrated: Calibrated,
    labels: tuple[str, ...] | None,
    progress: Progress,
    latency: Latency,
) -> Found:
    """The fastest file that keeps the budget.

    Raises AccuracyError with the table of trials when nothing keeps it, unless ``plan.keep_best``.
    """
    from edgekit_converters.recipes import layer_choices

    held_out = open_held_out(plan, float_model)
    with foreign_errors():
        for _ in observed(held_out.dataset, held_out.seen, "check the held-out samples", progress):
            pass
        choices = layer_choices(float_model)
    findings = check_held_out(held_out.seen, calibrated.seen)

    def make(candidate: Candidate) -> "CandidateFile":
        file = maker(candidate)
        finished = finish(plan, file.quantized, labels)
        audit(finished.tflite, scheme=candidate.scheme, target=plan.target, states=float_model.states)
        return replace(file, quantized=finished)

    def calibration() -> "Iterator[Arrays]":
        yield from calibrated.samples()

    maker = Maker(float_model=float_model, statistics=calibrated.statistics, samples=calibrated.samples)
    result = search(
        SearchInputs(
            float_model=float_model,
            options=Options(
                scheme=plan.scheme,
                calibrator=plan.calibrator,
                equalize=plan.equalize == "on",
                correct_bias=plan.correct_biases == "on",
                precisions=_precisions(plan),
                rescues=rescues_of(plan.target),
                choices=choices,
            ),
            make=make,
            samples=held_out.dataset.samples,
            calibration=calibration,
            metric=held_out.metric,
            max_drop=plan.max_drop or "",
            max_trials=plan.max_trials,
            run=runner_of(plan),
            latency=latency,
        ),
        progress=progress,
        keep_best=plan.keep_best,
    )
    if not result.kept and not plan.keep_best:
        raise refusal(result)
    entry = evaluation_entry(result.evaluation, held_out.seen.sha256(), plan.max_drop)
    return Found(result=result, evaluated=Evaluated(entry=entry, findings=(*findings, *result.findings)))

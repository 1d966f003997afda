"""What a search found, as a value, as an error, as a table. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from edgekit.errors import AccuracyError
from edgekit.evaluate import Evaluation
from edgekit.ladder import Candidate, Trial
from edgekit.metrics.budget import describe_drop, unproven_budget
from edgekit_converters.types import Calibrator, Finding, QuantizedModel, Scheme


@dataclass(frozen=True, kw_only=True)
class SearchResult:
    """The file, and how it was found."""

    candidate: Candidate
    quantized: QuantizedModel
    calibrator: Calibrator | None
    """The estimator of its ranges; None where it has none."""
    evaluation: Evaluation
    """On the half that had no part in the choice, its interval widened for every look at that half; on the half that
    chose where ``confirmed`` is False."""
    confirmed: bool
    kept: bool
    """The budget is kept; False only for the best of what does not keep it."""
    trials: tuple[Trial, ...]
    looks: int
    """Times the half that confirms was looked at."""
    max_drop: str
    findings: tuple[Finding, ...]


def refusal(result: SearchResult) -> AccuracyError:
    """The error of a budget that nothing keeps, with the table of what was tried in its details."""
    evaluation = result.evaluation
    low, high = evaluation.drop_interval
    part = "that had no part in the choice" if result.confirmed else "that chose it"
    return AccuracyError(
        f"None of the {len(result.trials)} files that were tried keeps the budget of {result.max_drop}. The best, "
        f"{result.candidate.label}, loses {describe_drop(evaluation, evaluation.drop)} of {evaluation.metric} on the "
        f"{evaluation.samples} samples {part} ({evaluation.source:.4g} to {evaluation.model:.4g}; "
        f"{100 * evaluation.level:.3g} % interval {describe_drop(evaluation, low, sign=True)} to "
        f"{describe_drop(evaluation, high, sign=True)}).",
        hint="--keep-best writes it nevertheless; otherwise give better calibration samples, a larger --max-trials or "
        "a larger --max-drop.",
        details={"trials": trial_rows(result.trials), "evaluation": evaluation, "max_drop": result.max_drop},
    )


def trial_rows(trials: Sequence[Trial]) -> list[dict[str, Any]]:
    """The table of what was tried, in its order: plain values, for a terminal, JSON and the manifest."""
    return [
        {
            "candidate": trial.candidate.label,
            "drop": trial.drop,
            "keeps": trial.keeps,
            "refuted": trial.refuted,
            "latency_ms": trial.latency_ms,
            "size_bytes": trial.size_bytes,
            "failure": trial.failure,
        }
        for trial in trials
    ]


def result_findings(result: SearchResult, *, asked: Scheme, stopped: bool, measured: bool) -> Iterator[Finding]:
    """What a user should know of a search.

    ``asked``: the int8 it started from; ``stopped``: the trials ran out; ``measured``: latency decided the order.
    """
    yield Finding(
        name="search-order",
        severity="info",
        message=(
            "Candidates were ordered by their measured latency."
            if measured
            else "Candidates were ordered by rule (int8, rescued layers, whole precisions): no latency was measured."
        ),
        fix="Nothing to do." if measured else "Give --device NAME; what is fastest differs between devices.",
    )
    scheme = result.candidate.scheme
    if scheme.io != asked.io:
        yield Finding(
            name="io-changed",
            severity="warning",
            message=f"Inputs and outputs are {scheme.io}, not {asked.io}, which no {scheme.precision} file has.",
            fix="Hand in what `edgekit inspect` shows, or use a fixed --precision int8.",
        )
    if stopped:
        yield Finding(
            name="search-stopped",
            severity="warning",
            message=f"The search ended after {len(result.trials) + result.looks} evaluations; a faster file may exist.",
            fix="Give a larger --max-trials.",
        )
    if result.looks > 1:
        yield Finding(
            name="search-looks",
            severity="warning",
            message=(
                f"The samples that confirm were looked at {result.looks} times; the interval is widened for it "
                f"({100 * result.evaluation.level:.3g} %, Bonferroni)."
            ),
            fix="Evaluate on more samples: then what keeps the budget on one half keeps it on the other.",
        )
    if not result.kept:
        yield _over_budget(result)
    else:
        yield from unproven_budget(result.evaluation, result.max_drop)


def _over_budget(result: SearchResult) -> Finding:
    """Either half may be the one on which it loses too much, so both are said."""
    evaluation = result.evaluation
    chosen = next((trial.drop for trial in result.trials if trial.candidate.label == result.candidate.label), None)
    drops = []
    if chosen is not None:
        drops.append(f"{describe_drop(evaluation, chosen)} on the samples that chose")
    if result.confirmed:
        drops.append(f"{describe_drop(evaluation, evaluation.drop)} on those that had no part in it")
    return Finding(
        name="budget-exceeded",
        severity="error",
        message=(
            f"This file does not keep the budget of {result.max_drop} on both halves of the held-out samples: it loses "
            f"{' and '.join(drops)} ({evaluation.metric}). It was the best of {len(result.trials)} and is kept because "
            "of --keep-best."
        ),
        fix="Do not ship it unless the loss is acceptable.",
    )

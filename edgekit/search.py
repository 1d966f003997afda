"""``--precision auto``: the fastest file that keeps the accuracy budget, measured, and confirmed on other samples.

The held-out samples are split in two. One half chooses: each candidate of the ladder is made and its drop measured
there, with the source's scores computed once. What keeps the budget is measured again on the other half, which had no
part in the choice; what fails there counts as failed, and the climb goes on.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from edgekit.candidates import CandidateFile
from edgekit.errors import AuditError, ModelError, foreign_errors
from edgekit.evaluate import Evaluation, Scores, compare, measure, runner
from edgekit.halves import Halves, split
from edgekit.ladder import Candidate, Latency, Trial, climb
from edgekit.metrics.budget import ROUNDING, allowed_drop
from edgekit.metrics.intervals import LEVEL
from edgekit.metrics.protocol import EvaluationSample, Metric
from edgekit.progress import Progress
from edgekit.rungs import Options, best_int8, int8_candidates, make_rungs, rescue_candidates, whole_candidates
from edgekit.search_result import SearchResult, result_findings
from edgekit_converters.types import FloatModel

if TYPE_CHECKING:
    import numpy as np

    Arrays = Mapping[str, np.ndarray[Any, Any]]
    Run = Callable[[Arrays], Arrays]

MARGIN = 0.1
"""Share of the budget that a candidate leaves on the half that chooses: one that spends it all there exceeds it on the
other half every second time."""

MOST_COMPARED = 64
"""Calibration samples on which int8 files of the same speed are compared."""


@dataclass(frozen=True, kw_only=True)
class SearchInputs:
    """Everything a search needs."""

    float_model: FloatModel
    options: Options
    make: Callable[[Candidate], CandidateFile]
    """Such as ``candidates.Maker``: raises ModelError or AuditError; the same candidate gives the same file."""
    samples: Callable[[], Iterable[EvaluationSample]]
    """The held-out samples, the same each time."""
    calibration: "Callable[[], Iterable[Arrays]]"
    """Inputs that rank the layers."""
    metric: Metric
    max_drop: str
    max_trials: int
    latency: Latency = lambda _tflite: None
    """On the device."""
    run: "Callable[[bytes], Run]" = runner
    """A .tflite as ``measure`` takes it."""


def search(inputs: SearchInputs, *, progress: Progress, keep_best: bool = False) -> SearchResult:
    """Climb the ladder; where nothing keeps the budget the result is the smallest drop, with ``kept`` False.

    Raises DataError for held-out samples that cannot be split or measured, ModelError where no candidate can be made.
    """
    progress("split the held-out samples")
    halves = split(inputs.samples())
    climber = _Search(inputs=inputs, halves=halves, progress=progress)
    floors = climber.floors_ms()
    rungs = make_rungs(inputs.options, climber.corrected, climber.rescued, floors_ms=floors)
    # What is kept over budget is confirmed too: one of the trials is for that.
    outcome = climb(rungs, climber.try_, climber.confirm, max_trials=inputs.max_trials - keep_best)
    chosen = outcome.chosen or _smallest_drop(outcome.trials)
    if keep_best and chosen.candidate.label not in climber.confirmed:
        climber.confirm(chosen)
    evaluation = climber.evaluation(chosen.candidate)
    file = climber.made(chosen.candidate)
    result = SearchResult(
        candidate=chosen.candidate,
        quantized=file.quantized,
        calibrator=file.calibrator,
        evaluation=evaluation,
        confirmed=chosen.candidate.label in climber.confirmed,
        kept=outcome.chosen is not None,
        trials=outcome.trials,
        looks=len(climber.confirmed),
        max_drop=inputs.max_drop,
        findings=(),
    )
    found = result_findings(
        result, asked=inputs.options.scheme, stopped=outcome.reason == "stopped-at-bound", measured=bool(floors)
    )
    return replace(result, findings=(*halves.findings(), *found, *evaluation.findings))


def _smallest_drop(trials: Sequence[Trial]) -> Trial:
    made = [trial for trial in trials if trial.drop is not None]
    if not made:
        why = next((trial.failure for trial in trials if trial.failure), "there is none for this target.")
        raise ModelError(
            f"No candidate could be made. The first one: {why}",
            hint="Build with --precision float32 to see whether the model itself is sound.",
        )
    return min(made, key=lambda trial: trial.drop or 0.0)


@dataclass(kw_only=True)
class _Search:
    """Makes and measures candidates for the climb."""

    inputs: SearchInputs
    halves: Halves
    progress: Progress
    files: dict[str, CandidateFile] = field(default_factory=dict)
    """Of candidates that keep, by label: at most as many as there are trials."""
    latencies: dict[str, float | None] = field(default_factory=dict)
    sources: dict[bool, Scores] = field(default_factory=dict)
    """Confirming or not -> what the source makes of that half."""
    chosen_by: dict[str, Scores] = field(default_factory=dict)
    """Label -> its scores on the half that chooses."""
    confirmed: dict[str, Scores] = field(default_factory=dict)
    """Label -> its scores on the other half; one look each."""
    tried: int = 0

    def made(self, candidate: Candidate) -> CandidateFile:
        return self.files.get(candidate.label) or self.inputs.make(candidate)

    def try_(self, candidate: Candidate) -> Trial:
        self.tried += 1
        step = f"trial {self.tried} of at most {self.inputs.max_trials}: {candidate.label}"
        self.progress(step)
        try:
            file = self.made(candidate)
            scores = self.scores(file.quantized.tflite, step, confirming=False)
        except (AuditError, ModelError) as err:
            return Trial(candidate=candidate, drop=None, keeps=False, within=False, failure=err.message)
        self.chosen_by[candidate.label] = scores
        evaluation = compare(self.source(confirming=False), scores)
        allowed = allowed_drop(evaluation, self.inputs.max_drop)
        within = evaluation.drop <= allowed + ROUNDING
        if within:
            self.files[candidate.label] = file
        return Trial(
            candidate=candidate,
            drop=evaluation.drop,
            keeps=evaluation.drop <= (1 - MARGIN) * allowed + ROUNDING,
            within=within,
            latency_ms=self.latency_ms(candidate) if within else None,
            size_bytes=len(file.quantized.tflite),
        )

    def confirm(self, trial: Trial) -> bool:
        label = trial.candidate.label
        step = f"confirm {label}"
        scores = self.scores(self.made(trial.candidate).quantized.tflite, step, confirming=True)
        self.confirmed[label] = scores
        evaluation = compare(self.source(confirming=True), scores)
        return evaluation.drop <= allowed_drop(evaluation, self.inputs.max_drop) + ROUNDING

    def evaluation(self, candidate: Candidate) -> Evaluation:
        """On the half that had no part in the choice, if the candidate was measured there."""
        label = candidate.label
        if label not in self.confirmed:
            return compare(self.source(confirming=False), self.chosen_by[label])
        # Bonferroni: with several looks at the same samples, each must prove more.
        level = 1 - (1 - LEVEL) / len(self.confirmed)
        return compare(self.source(confirming=True), self.confirmed[label], level=level)

    def source(self, *, confirming: bool) -> Scores:
        if confirming not in self.sources:
            tflite = self.inputs.float_model.tflite
            self.sources[confirming] = self.scores(tflite, "measure the source", confirming=confirming)
        return self.sources[confirming]

    def scores(self, tflite: bytes, step: str, *, confirming: bool) -> Scores:
        half = self.halves.confirming if confirming else self.halves.selecting
        total, done = self.halves.samples[confirming], 0

        def on_sample() -> None:
            nonlocal done
            done += 1
            self.progress(step, done, total)

        return measure(self.inputs.run(tflite), half(self.inputs.samples()), self.inputs.metric, on_sample)

    def latency_ms(self, candidate: Candidate) -> float | None:
        if candidate.label not in self.latencies:
            self.progress(f"measure the latency of {candidate.label}")
            try:
                self.latencies[candidate.label] = self.inputs.latency(self.made(candidate).quantized.tflite)
            except (AuditError, ModelError):
                self.latencies[candidate.label] = math.inf  # it will be a trial that failed
        return self.latencies[candidate.label]

    def floors_ms(self) -> dict[str, float]:
        """Latency of int8 and of each whole precision; empty where one of them cannot be measured."""
        found = {}
        for candidate in (*int8_candidates(self.inputs.options)[:1], *whole_candidates(self.inputs.options)):
            latency = self.latency_ms(candidate)
            if latency is None:
                return {}
            found[candidate.label] = latency
        return found

    def corrected(self, trials: Sequence[Trial]) -> Sequence[Candidate]:
        """The other int8 files with surely less noise on the calibration samples, the least first.

        They are as fast as each other, and this costs no evaluation.
        """
        from edgekit_converters import comparison

        first, *others = int8_candidates(self.inputs.options) or (None,)
        if first is None or best_int8(trials) is None:
            return ()
        self.progress("compare range estimators and corrections")
        with foreign_errors():
            reference = comparison.take_reference(
                self.inputs.float_model, self.inputs.calibration(), most=MOST_COMPARED
            )
            base = comparison.compare(self.made(first).quantized.tflite, reference)
            better: list[tuple[float, Candidate]] = []
            for candidate in others:
                try:
                    found = comparison.compare(self.made(candidate).quantized.tflite, reference)
                except (AuditError, ModelError):
                    continue  # another one can be made
                if comparison.is_surely_better(found, base):
                    better.append((comparison.gain(found, base)[0], candidate))
        return [candidate for _, candidate in sorted(better, key=lambda item: -item[0])]

    def rescued(self, trials: Sequence[Trial]) -> Sequence[Candidate]:
        """int8 with more and more layers rescued, as far as that is faster than a whole precision above it."""
        best = best_int8(trials)
        if best is None or not self.inputs.options.rescues:
            return ()
        self.progress("rank the layers")
        rows = self._rescue_rows(best.candidate)
        above = [self.latencies.get(candidate.label) for candidate in whole_candidates(self.inputs.options)]
        limits = [latency for latency in above if latency is not None]
        if not limits:
            return next((row for row in rows if row), ())
        found = [self._faster_than(min(limits), row) for row in rows]
        return max(found, key=len, default=())

    def _rescue_rows(self, base: Candidate) -> list[tuple[Candidate, ...]]:
        from edgekit_converters.layer_errors import layer_errors

        file = self.made(base)
        with foreign_errors():
            errors = layer_errors(file.float_model.tflite, file.quantized.tflite, self.inputs.calibration())
        return [rescue_candidates(self.inputs.options, base, errors, kind) for kind in self.inputs.options.rescues]

    def _faster_than(self, limit_ms: float, row: tuple[Candidate, ...]) -> tuple[Candidate, ...]:
        """As many candidates of a row as are faster, by bisection: each is slower than the one before."""
        low, high = 0, len(row)
        while low < high:
            middle = (low + high) // 2
            latency = self.latency_ms(row[middle])
            if latency is not None and latency < limit_ms:
                low = middle + 1
            else:
                high = middle
        return row[:low]

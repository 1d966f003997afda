"""Climb a ladder of candidates to the fastest one that keeps an accuracy budget, in few evaluations. Pure.

A ladder is a list of rungs, fastest first. A rung holds either alternatives of the same speed (range estimators,
bias correction), which are tried one after the other, or an *ordered* row in which each candidate is slower and more
exact than the one before (0, 1, 2 ... rescued layers), which is bisected. What keeps the budget on the samples that
choose is confirmed on samples that did not; what fails there counts as failed, and the climb goes on.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from edgekit_converters.types import Calibrator, Scheme

MIN_TRIALS = 3
"""One for a guess, one for the safest candidate, one to confirm."""

TIE = 0.03
"""Latencies that differ by less are the same: the plainer file wins, not the noise."""

Latency = Callable[[bytes], float | None]
"""A .tflite -> milliseconds of one inference; None where it cannot be measured."""

Reason = Literal["kept", "stopped-at-bound", "nothing-keeps"]


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One way to make the file."""

    label: str
    """Unique in its ladder, such as ``int8, 2 layers float32``."""
    scheme: Scheme
    calibrator: Calibrator | Literal["auto"] | None = None
    """How ranges are estimated; None where the precision needs none."""
    equalize: bool = False
    """Cross-layer equalization first (Nagel et al. 2019)."""
    correct_bias: bool = False
    """Empirical bias correction (Nagel et al. 2019)."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One evaluation of a candidate on the samples that choose."""

    candidate: Candidate
    drop: float | None
    """Metric of the source - metric of the file; None where the file could not be made."""
    keeps: bool
    """The drop is within the budget, with the margin."""
    within: bool
    """The drop is within the budget, margin or not."""
    latency_ms: float | None = None
    """None where it was not measured."""
    size_bytes: int | None = None
    failure: str | None = None
    """Why the file could not be made."""
    refuted: bool = False
    """It exceeds the budget on the samples that confirm."""


@dataclass(frozen=True, kw_only=True)
class Rung:
    """Candidates that belong together."""

    name: str
    candidates: Callable[[Sequence[Trial]], Sequence[Candidate]]
    """Asked when the rung is reached, with the trials until then; empty skips the rung."""
    ordered: bool = False
    """Each candidate is slower and more exact than the one before."""
    floor_ms: float | None = None
    """No candidate of the rung is faster than this; None where nothing was measured."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Where the climb ended."""

    chosen: Trial | None
    """The fastest confirmed one; None where nothing was confirmed."""
    trials: tuple[Trial, ...]
    """In the order they were made."""
    looks: int
    """Times the confirmation samples were looked at; each look after the first weakens what they prove."""
    reason: Reason
    """``stopped-at-bound``: trials ran out, so a faster one may exist even where one was chosen."""


def climb(
    rungs: Sequence[Rung],
    try_: Callable[[Candidate], Trial],
    confirm: Callable[[Trial], bool],
    *,
    max_trials: int,
) -> Outcome:
    """The first rung's fastest candidate that keeps the budget here and when confirmed.

    At most ``max_trials`` calls of ``try_`` and ``confirm`` together. When they run short and nothing keeps yet, the
    last one that can be afforded goes to the last candidate of the last rung, the safest. A rung after the one that
    was found is climbed only if its ``floor_ms`` says that it may be faster. Raises ValueError for fewer than
    ``MIN_TRIALS``.
    """
    if max_trials < MIN_TRIALS:
        raise ValueError(f"max_trials must be {MIN_TRIALS} or more")
    climber = _Climber(try_=try_, confirm=confirm, max_trials=max_trials)
    chosen: Trial | None = None
    stopped = False
    try:
        for rung in _by_speed(rungs):
            if chosen is not None and not _is_faster(rung.floor_ms, chosen.latency_ms):
                continue
            found = climber.climb_rung(rung)
            if found is not None and (chosen is None or _is_faster(found.latency_ms, chosen.latency_ms)):
                chosen = found
        if chosen is None:
            chosen = climber.confirm_within()
    except _OutOfTrialsError:
        stopped = True
        chosen = chosen or climber.end(rungs)
    reason: Reason = "stopped-at-bound" if stopped else "nothing-keeps" if chosen is None else "kept"
    trials = tuple(replace(trial, refuted=trial.candidate.label in climber.refuted) for trial in climber.trials)
    return Outcome(chosen=chosen, trials=trials, looks=climber.looks, reason=reason)


class _OutOfTrialsError(Exception):
    """No further trial can be afforded."""


@dataclass(kw_only=True)
class _Climber:
    """What is known so far; no candidate is tried twice."""

    try_: Callable[[Candidate], Trial]
    confirm: Callable[[Trial], bool]
    max_trials: int
    trials: list[Trial] = field(default_factory=list)
    by_speed: list[str] = field(default_factory=list)
    """Labels of the candidates of every rung reached, fastest first."""
    refuted: set[str] = field(default_factory=set)
    """Labels that kept the budget where they were chosen and not where they were to be confirmed."""
    looks: int = 0

    @property
    def left(self) -> int:
        return self.max_trials - len(self.trials) - self.looks

    def climb_rung(self, rung: Rung) -> Trial | None:
        candidates = rung.candidates(self.trials)
        self.by_speed.extend(candidate.label for candidate in candidates)
        if rung.ordered:
            return self._bisect(candidates)
        return self.confirm_first(self._known(candidate) for candidate in candidates if self._keeps(candidate))

    def _bisect(self, candidates: Sequence[Candidate]) -> Trial | None:
        """The first that keeps, if every one after it keeps too; whatever the truth, one that was seen to keep."""
        last, fails = len(candidates) - 1, -1
        while fails < last and self._keeps(candidates[last]):
            keeps = last
            while keeps - fails > 1:
                middle = (keeps + fails) // 2
                if self._keeps(candidates[middle]):
                    keeps = middle
                else:
                    fails = middle
            found = self.confirm_first([self._known(candidates[keeps])])
            if found is not None:
                return found
            fails = keeps
        return None

    def _keeps(self, candidate: Candidate) -> bool:
        if self._known(candidate) is None:
            # One trial stays for the confirmation, and one for the safest candidate while nothing else keeps.
            if self.left <= (1 if any(map(self._stands, self.trials)) else 2):
                raise _OutOfTrialsError
            self.trials.append(self.try_(candidate))
        return any(self._stands(trial) for trial in self.trials if trial.candidate.label == candidate.label)

    def _known(self, candidate: Candidate) -> Trial | None:
        return next((trial for trial in self.trials if trial.candidate.label == candidate.label), None)

    def _stands(self, trial: Trial) -> bool:
        return trial.keeps and trial.candidate.label not in self.refuted

    def confirm_first(self, trials: Iterable[Trial | None]) -> Trial | None:
        """The first that also keeps the budget where it was not chosen."""
        for trial in trials:
            if trial is None or trial.candidate.label in self.refuted:
                continue
            if self.left < 1:
                raise _OutOfTrialsError
            self.looks += 1
            if self.confirm(trial):
                return trial
            self.refuted.add(trial.candidate.label)
        return None

    def confirm_within(self) -> Trial | None:
        """What keeps the budget without the margin: better than nothing."""
        return self.confirm_first(self._fastest_first(trial for trial in self.trials if trial.within))

    def end(self, rungs: Sequence[Rung]) -> Trial | None:
        """Trials ran short: confirm the fastest one seen to keep, or try the safest one."""
        if not any(map(self._stands, self.trials)) and self.left > 1:
            safest = [candidate for rung in rungs for candidate in rung.candidates(self.trials)][-1]
            if self._known(safest) is None:
                self.trials.append(self.try_(safest))
        try:
            return self.confirm_first(self._fastest_first(filter(self._stands, self.trials))) or self.confirm_within()
        except _OutOfTrialsError:
            return None

    def _fastest_first(self, trials: Iterable[Trial]) -> list[Trial]:
        places = {label: place for place, label in enumerate(self.by_speed)}
        return sorted(trials, key=lambda trial: places.get(trial.candidate.label, len(places)))


def _by_speed(rungs: Sequence[Rung]) -> Sequence[Rung]:
    """Measured floors decide where every rung has one and they differ; else the order they were given in: the rule."""
    if any(rung.floor_ms is None for rung in rungs):
        return rungs
    ordered: list[Rung] = []
    for rung in rungs:
        slower = (place for place, other in enumerate(ordered) if _is_faster(rung.floor_ms, other.floor_ms))
        ordered.insert(next(slower, len(ordered)), rung)
    return ordered


def _is_faster(milliseconds: float | None, other: float | None) -> bool:
    return milliseconds is not None and other is not None and milliseconds < (1 - TIE) * other

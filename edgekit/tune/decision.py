"""Which file, how many threads, which delegate: the frontier, one recommendation, and its reason in words. Pure."""

from collections.abc import Sequence
from typing import Literal

from edgekit.bench.latency import Latency
from edgekit.bench.statistics import LEVEL, ratio
from edgekit.documents import Document

FIDELITY = ("float32", "float16", "int16x8", "dynamic", "int8")
"""Precisions from the most to the least faithful: who is preferred where accuracy was not measured."""
NEGLIGIBLE = 1.02
"""A latency that is higher by less is the same: no accuracy is paid for it."""
WORTHWHILE = 1.10
"""A speed-up that must be excluded before "not faster" is said."""

Verdict = Literal["faster", "not-faster", "inconclusive", "only-candidate", "emulated"]


class Candidate(Document, frozen=True, kw_only=True):
    """One file."""

    name: str
    """Its precision, or the artifact's folder where several have the same."""
    precision: str | None
    """None for a bare .tflite."""
    size_bytes: int
    metric: float | None = None
    """None: not measured."""
    drop: float | None = None
    """Against the reference, in the metric's unit, positive where worse; None where there is none."""
    lost: str | None = None
    """``drop`` as it is read, such as ``0.20 points``."""
    higher_is_better: bool = True
    """Of the metric; False for errors."""
    keeps_budget: bool | None = None
    """None: there is no budget."""

    @property
    def quality(self) -> float | None:
        """The metric, more is better."""
        return self.metric if self.metric is None or self.higher_is_better else -self.metric


class Setup(Document, frozen=True, kw_only=True):
    """One file run in one way."""

    candidate: Candidate
    delegate: str
    num_threads: int
    latency_ms: Latency
    peak_rss_bytes: int | None
    rounds_ms: tuple[float, ...]
    """Median of the fresh process of every round; the setups took turns."""

    @property
    def label(self) -> str:
        """Such as ``int8, 4 threads, xnnpack``."""
        return label_of(self.candidate.name, self.num_threads, self.delegate)


class SpeedUp(Document, frozen=True, kw_only=True):
    """How many times faster one setup is than another, measured in turns."""

    times: float
    interval: tuple[float, float]
    level: float

    @property
    def proven(self) -> bool:
        """Faster, and enough rounds to say so."""
        return self.level >= LEVEL and self.interval[0] > 1

    @property
    def excluded(self) -> bool:
        """No speed-up worth having is left possible, and enough rounds to say so."""
        return self.level >= LEVEL and self.interval[1] < WORTHWHILE

    def __str__(self) -> str:
        low, high = self.interval
        return f"{self.times:.2f}, interval {low:.2f} to {high:.2f}"


class Recommendation(Document, frozen=True, kw_only=True):
    """What to use, and why."""

    setup: Setup
    verdict: Verdict
    """``inconclusive`` and ``emulated``: the latencies do not decide; the choice rests on accuracy and size."""
    reason: str
    speed_up: SpeedUp | None
    """Of ``setup`` over the best of the most faithful file, or of the best other file over ``setup``; None without."""


def label_of(name: str, num_threads: int, delegate: str) -> str:
    """What a setup is called."""
    return f"{name}, {num_threads} thread{'s' * (num_threads > 1)}, {delegate}"


def speed_up(fast: Setup, slow: Setup) -> SpeedUp:
    """How many times faster ``fast`` is than ``slow``."""
    times, held = ratio(slow.rounds_ms, fast.rounds_ms)
    return SpeedUp(times=times, interval=(held.low, held.high), level=held.level)


def frontier(setups: Sequence[Setup]) -> tuple[Setup, ...]:
    """Those that no other beats: accuracy up, latency and size down (Pareto); fastest first.

    Accuracy counts where it was measured for every file.
    """
    counts = all(item.candidate.quality is not None for item in setups)

    def costs(item: Setup) -> tuple[float, ...]:
        quality = (item.candidate.quality or 0.0) if counts else 0.0
        return item.latency_ms.median, item.candidate.size_bytes, -quality

    def beats(one: Setup, other: Setup) -> bool:
        pairs = list(zip(costs(one), costs(other), strict=True))
        return all(a <= b for a, b in pairs) and any(a < b for a, b in pairs)

    kept = [item for item in setups if not any(beats(other, item) for other in setups)]
    return tuple(sorted(kept, key=costs))


def recommend(setups: Sequence[Setup], *, emulated: bool = False) -> Recommendation | None:
    """The fastest that keeps the budget; what is as fast goes by accuracy, then size, then fewer threads.

    None where no file keeps the budget. ``emulated``: the latencies are no device's, and decide nothing.
    """
    eligible = [item for item in setups if item.candidate.keeps_budget is not False]
    if not eligible:
        return None
    fastest = min(eligible, key=lambda item: item.latency_ms.median)
    tied = [item for item in eligible if emulated or not _is_slower(item, fastest)]
    chosen = min(tied, key=_preference)
    verdict, gain = _compare(chosen, eligible)
    if emulated:
        verdict = "emulated"
    reason = " ".join([_why(chosen, eligible, verdict, gain), *_left_out(chosen, setups, emulated=emulated)])
    return Recommendation(setup=chosen, verdict=verdict, reason=reason, speed_up=gain)


def _is_slower(item: Setup, fastest: Setup) -> bool:
    if item is fastest:
        return False
    gain = speed_up(fastest, item)
    return gain.interval[0] > 1 and gain.times > NEGLIGIBLE


def _preference(item: Setup) -> tuple[float, ...]:
    """Smaller is better; the latency only where nothing else decides."""
    file = item.candidate
    return *_loss(file), file.size_bytes, item.num_threads, item.latency_ms.median


def _loss(file: Candidate) -> tuple[float, ...]:
    """What is lost of the reference, where better than it counts as equal: by chance; else what stands for it."""
    if file.drop is not None:
        return (max(0.0, file.drop),)
    return (-file.quality,) if file.quality is not None else (_fidelity(file),)


def _fidelity(file: Candidate) -> float:
    return FIDELITY.index(file.precision) if file.precision in FIDELITY else len(FIDELITY)


def _best(setups: Sequence[Setup]) -> Setup:
    return min(setups, key=lambda item: item.latency_ms.median)


def _rival(chosen: Setup, eligible: Sequence[Setup]) -> Setup | None:
    """The best way to run another file: of the most faithful one, or of all where that one is chosen."""
    others = [item for item in eligible if item.candidate != chosen.candidate]
    if not others:
        return None
    faithful = min((item.candidate for item in eligible), key=_fidelity)
    of_faithful = [item for item in others if item.candidate == faithful]
    return _best(of_faithful or others)


def _compare(chosen: Setup, eligible: Sequence[Setup]) -> tuple[Verdict, SpeedUp | None]:
    rival = _rival(chosen, eligible)
    if rival is None:
        return "only-candidate", None
    gain = speed_up(chosen, rival)
    if gain.proven:
        return "faster", gain
    other_way = speed_up(rival, chosen)
    if other_way.excluded:
        return "not-faster", other_way
    return "inconclusive", gain if gain.times > 1 else other_way


def _why(chosen: Setup, eligible: Sequence[Setup], verdict: Verdict, gain: SpeedUp | None) -> str:
    rival = _rival(chosen, eligible)
    if verdict == "emulated":
        return f"{chosen.label}: by accuracy and size alone; the CPU is emulated, and its latencies are no device's."
    if rival is None or gain is None:
        return _why_this_way(chosen, eligible)
    if verdict == "faster":
        return f"{chosen.label}: {gain.times:.2f}x as fast as {rival.label} (interval {_range(gain)}){_costs(chosen)}."
    if verdict == "not-faster":
        return f"{rival.candidate.name} is not faster here (ratio {gain}): {chosen.label} {_keeps(chosen, rival)}."
    if gain == speed_up(chosen, rival):
        return (
            f"{chosen.label} {_keeps(chosen, rival)} and looks {gain.times:.2f}x as fast as {rival.label}; that is not "
            f"proven (interval {_range(gain)}): use more --processes on a quiet machine."
        )
    return (
        f"{chosen.label} {_keeps(chosen, rival)}; whether {rival.label} is faster cannot be said (ratio {gain}): "
        "use more --processes on a quiet machine."
    )


def _why_this_way(chosen: Setup, eligible: Sequence[Setup]) -> str:
    """Only one file is left: why these threads and this delegate."""
    others = [item for item in eligible if item is not chosen]
    if not others:
        return f"{chosen.label}: the only one that was measured{_costs(chosen)}."
    slowest = max(others, key=lambda item: item.latency_ms.median)
    gain = speed_up(chosen, slowest)
    if gain.proven:
        return f"{chosen.label}: {gain.times:.2f}x as fast as {slowest.label} (interval {_range(gain)})."
    return f"{chosen.label}: no other number of threads or delegate is faster here."


def _costs(chosen: Setup) -> str:
    file = chosen.candidate
    if file.drop is None:
        return ""
    return f", loses {file.lost}" if file.drop > 0 else ", loses nothing"


def _keeps(chosen: Setup, rival: Setup) -> str:
    mine, other = chosen.candidate, rival.candidate
    if _loss(mine) < _loss(other):
        if mine.metric is None or other.metric is None:
            return "keeps the accuracy"
        return f"is more accurate ({mine.metric:.4f} against {other.metric:.4f})"
    if mine.size_bytes < other.size_bytes:
        return "is the smaller file" + (" and loses nothing" if mine.drop is not None else "")
    return "is as good"


def _left_out(chosen: Setup, setups: Sequence[Setup], *, emulated: bool) -> list[str]:
    """What would be faster and breaks the budget."""
    broken = [item for item in setups if item.candidate.keeps_budget is False]
    faster = [item for item in broken if _is_slower(chosen, item)]
    if not faster or emulated:
        return []
    best = _best(faster)
    lost = "" if best.candidate.lost is None else f", but it loses {best.candidate.lost}"
    return [f"{best.label} would be {speed_up(best, chosen).times:.2f}x as fast{lost}: over the budget."]


def _range(gain: SpeedUp) -> str:
    return f"{gain.interval[0]:.2f} to {gain.interval[1]:.2f}"

"""From where a latency no longer changes, and how far two parts of a run differ. Pure; docs/heat.md has the evidence.

Latencies of neighbouring seconds resemble each other: heat, clocks and other programs last longer than a second. So a
series is cut into stretches, each of which counts by the logarithm of its median, which single slow seconds do not
move; and what resemblance is left between neighbouring stretches widens the intervals.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import exp, inf, log, sqrt

from edgekit.bench.statistics import median

LEVEL = 0.90
"""What the intervals promise for a series like an autoregressive process of first order."""
TOLERANCE = 0.01
"""A change of less than this, of a latency, is none."""
LATEST = 2 / 3
"""Where a plateau begins at the latest: one that is seen for less than a third of the run may be none."""
MAX_RESEMBLANCE = 0.95
STUDENT = {
    1: 6.314, 2: 2.920, 3: 2.353, 4: 2.132, 5: 2.015, 6: 1.943, 8: 1.860, 10: 1.812, 15: 1.753, 20: 1.725, 30: 1.697,
    60: 1.671, inf: 1.645,
}  # fmt: skip
"""Degrees of freedom -> the 95 % quantile of Student's t, so that both tails leave ``LEVEL`` inside."""


@dataclass(frozen=True, kw_only=True)
class Level:
    """The mean of the logarithms of stretches, and how well it is known."""

    mean: float
    variance: float
    """Of ``mean``."""
    freedom: float
    """Degrees of freedom of ``variance``."""


def cut(values: Sequence[float], length: int) -> list[float]:
    """Logarithms of the medians of stretches of about ``length`` values (all above 0), in order; none is left over."""
    count = max(1, round(len(values) / length))
    edges = [len(values) * place // count for place in range(count + 1)]
    return [log(median(values[edges[place] : edges[place + 1]])) for place in range(count)]


def find_plateau(levels: Sequence[float]) -> tuple[int, bool]:
    """Where the plateau of a series of stretches begins, and whether there is one; the last third where there is none.

    The series is cut where the standard error of what follows is smallest: White's rule (MSER; K. P. White, An
    effective truncation heuristic for bias reduction in simulation output, Simulation 69(6), 1997), on medians of
    stretches as MSER-5 is on means of five. That place is the estimate of a change point by cumulative sums (R. J. Wang
    and P. W. Glynn, On the marginal standard error rule, ACM TOMACS 27(1), 2016). What comes before it and stays
    within the range of the plateau, give or take ``TOLERANCE``, belongs to it too. An oscillation that goes on to the
    end is a plateau. There is none where the cut comes later than ``LATEST``, where the last twelfth lies outside the
    range of all but the last sixth, or where a line through the plateau surely changes by more than ``TOLERANCE``.
    """
    smooth = _smooth(levels)
    latest = int(len(levels) * LATEST)
    start = _truncate(smooth)
    if start > latest:
        low, high = _range(smooth[start:], TOLERANCE / 4)
        if not low <= _mean(levels[latest:start]) <= high:
            return latest, False
        start = latest
    end = max(1, len(levels) // 12)
    low, high = _range(smooth[start : -2 * end], TOLERANCE)
    if not low <= median(levels[-end:]) <= high or _drifts(levels[start:]):
        return latest, False
    low, high = _range(smooth[start:], TOLERANCE)
    outside = [place for place, value in enumerate(smooth) if not low <= value <= high]
    return (outside[-1] + 1 if outside else 0), True


def measure_levels(first: Sequence[float], second: Sequence[float]) -> tuple[Level, Level]:
    """The levels of two parts of one series, each of three stretches or more.

    The variance of a mean counts the resemblance of neighbours, as of an autoregressive process of first order whose
    coefficient both parts share, and is never below what both parts together say: the short first part alone would be
    lucky at times.
    """
    parts = (first, second)
    resemblance = _resemblance([_deviations(part) for part in parts], lost=2)
    inflations = [_inflation(len(part), resemblance) for part in parts]
    squares = [sum(value * value for value in _deviations(part)) for part in parts]
    pooled = sum(squares) / max(1.0, len(first) + len(second) - sum(inflations))
    one, other = (
        Level(
            mean=_mean(part),
            variance=max(own / max(1.0, len(part) - inflation), pooled) * inflation / len(part),
            freedom=max(1.0, len(part) / inflation - 1),
        )
        for part, own, inflation in zip(parts, squares, inflations, strict=True)
    )
    return one, other


def interval(level: Level) -> tuple[float, float]:
    """Interval of a level's latency (in the unit that ``cut`` was given)."""
    half = _quantile(level.freedom) * sqrt(level.variance)
    return exp(level.mean - half), exp(level.mean + half)


def ratio_interval(first: Level, second: Level) -> tuple[float, float]:
    """Interval of ``second`` over ``first``; degrees of freedom after Welch and Satterthwaite."""
    variance = first.variance + second.variance
    parts = first.variance**2 / first.freedom + second.variance**2 / second.freedom
    half = _quantile(variance**2 / parts if parts > 0 else inf) * sqrt(variance)
    middle = second.mean - first.mean
    return exp(middle - half), exp(middle + half)


def _truncate(values: Sequence[float]) -> int:
    """Where to cut so that the squared standard error of the rest is smallest; the last sixth is never cut."""
    backwards = _deviations(values[::-1])
    suffixes = list(accumulate(backwards))[::-1]
    squares = list(accumulate(value * value for value in backwards))[::-1]
    count = len(values)

    def error(start: int) -> float:
        left = count - start
        return float(max(0.0, squares[start] - suffixes[start] ** 2 / left) / left**2)

    return min(range(count - max(3, count // 6) + 1), key=error)


def _drifts(values: Sequence[float]) -> bool:
    """Whether the line of least squares surely changes by more than ``TOLERANCE`` from end to end."""
    count = len(values)
    times = [place - (count - 1) / 2 for place in range(count)]
    spread = sum(time * time for time in times)
    slope = sum(time * value for time, value in zip(times, values, strict=True)) / spread
    middle = _mean(values)
    rest = [value - middle - slope * time for time, value in zip(times, values, strict=True)]
    resemblance = _resemblance([rest], lost=1)
    inflation = (1 + resemblance) / (1 - resemblance)
    variance = sum(value * value for value in rest) / max(1, count - 2) * inflation / spread
    sure = abs(slope) - _quantile(max(1.0, count / inflation - 2)) * sqrt(variance)
    return sure * count > TOLERANCE


def _resemblance(parts: Sequence[Sequence[float]], *, lost: int) -> float:
    """Correlation of neighbours, of deviations from ``lost`` means; corrected for its bias, -(1 + 3 r)/n (Kendall)."""
    total = sum(value * value for part in parts for value in part)
    count = sum(len(part) for part in parts)
    if total == 0 or count <= 3 * lost:
        return 0.0 if total == 0 else MAX_RESEMBLANCE
    found = sum(part[place] * part[place + 1] for part in parts for place in range(len(part) - 1)) / total
    return min(MAX_RESEMBLANCE, max(0.0, (found * count + lost) / (count - 3 * lost)))


def _inflation(count: int, resemblance: float) -> float:
    """Variance of a mean of ``count`` values over that of independent ones."""
    return 1 + 2 * sum((1 - lag / count) * resemblance**lag for lag in range(1, min(count, 1000)))


def _quantile(freedom: float) -> float:
    """Of Student's t; between the table's places linear in 1/freedom, which is never too small."""
    below = max(place for place in STUDENT if place <= max(1.0, freedom))
    above = min(place for place in STUDENT if place >= freedom or place == inf)
    if below == above:
        return STUDENT[below]
    share = (1 / below - 1 / max(1.0, freedom)) / (1 / below - 1 / above)
    return STUDENT[below] + share * (STUDENT[above] - STUDENT[below])


def _smooth(values: Sequence[float]) -> list[float]:
    """Running medians of three, so that one disturbed stretch ends no plateau."""
    padded = [values[0], *values, values[-1]]
    return [median(padded[place : place + 3]) for place in range(len(values))]


def _range(values: Sequence[float], margin: float) -> tuple[float, float]:
    return min(values) - margin, max(values) + margin


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _deviations(values: Sequence[float]) -> list[float]:
    middle = _mean(values)
    return [value - middle for value in values]

"""Median and its interval over fresh processes, percentiles. Pure; docs/decisions/0004-interval.md has the evidence.

The bias of a latency belongs to the process (its memory layout) and to the moment (what else the machine does), so
the fresh process is the unit of resampling: samples of one process, however many, are one observation.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import comb

LEVEL = 0.90
"""What the interval of the median promises, where there are processes enough: five."""
BLOCKS = 10
"""Stretches of time that a process's samples are cut into."""


@dataclass(frozen=True, kw_only=True)
class Interval:
    """An interval of the long-run median, in the unit of the samples."""

    low: float
    high: float
    level: float
    """Chance to hold it: ``LEVEL`` or more, less only where there are too few processes for that."""


def percentile(ordered: Sequence[float], percent: float) -> float:
    """Percentile of sorted values, interpolated linearly between neighbours, as numpy does."""
    position = (len(ordered) - 1) * percent / 100
    index = min(int(position), len(ordered) - 2) if len(ordered) > 1 else 0
    if len(ordered) == 1 or ordered[index] == ordered[index + 1]:
        return float(ordered[index])
    return ordered[index] + (ordered[index + 1] - ordered[index]) * (position - index)


def median(values: Sequence[float]) -> float:
    """Median of values in any order."""
    return percentile(sorted(values), 50)


def estimate(processes: Sequence[Sequence[float]]) -> float:
    """The median of the processes' medians; ``processes`` holds the samples of each, in order."""
    return median([median(samples) for samples in processes])


def interval(processes: Sequence[Sequence[float]]) -> Interval:
    """Interval of the long-run median; it holds ``estimate(processes)``.

    Each process counts as the range of its block medians, what its median would have been a moment earlier or
    later; over the processes, order statistics of these ranges, which assume no distribution. From one process
    alone: order statistics of its block medians.
    """
    blocks = [block_medians(samples) for samples in processes]
    if len(blocks) == 1:
        blocks = [[value] for value in blocks[0]]
    rank, level = choose_rank(len(blocks))
    middle = estimate(processes)
    low, high = sorted(map(min, blocks))[rank], sorted(map(max, blocks))[-1 - rank]
    return Interval(low=min(low, middle), high=max(high, middle), level=level)


def ratio(first: Sequence[float], second: Sequence[float]) -> tuple[float, Interval]:
    """How many times longer ``first`` takes than ``second``, and its interval; medians of processes that took turns.

    The processes of one round ran one after the other, so what the machine did then is in both; their ratio is one
    observation. Estimate: the median over the rounds; interval: their order statistics (sign test).
    """
    rounds = sorted(one / other for one, other in zip(first, second, strict=True))
    rank, level = choose_rank(len(rounds))
    return percentile(rounds, 50), Interval(low=rounds[rank], high=rounds[-1 - rank], level=level)


def block_medians(samples: Sequence[float]) -> list[float]:
    """Medians of up to ``BLOCKS`` stretches of equal length, in order."""
    count = min(BLOCKS, len(samples))
    edges = [len(samples) * index // count for index in range(count + 1)]
    return [median(samples[start:end]) for start, end in pairwise(edges)]


def choose_rank(count: int) -> tuple[int, float]:
    """Largest k, and its level, so that the (k+1)th smallest to the (k+1)th largest of ``count`` hold the median.

    The level is 1 - 2 P(Binomial(count, 1/2) <= k), exact for independent observations (sign test); k = 0, the
    whole range, where even that stays below ``LEVEL``.
    """
    levels = {0: _level(count, 0)}
    for rank in range(1, (count + 1) // 2):
        if _level(count, rank) < LEVEL:
            break
        levels[rank] = _level(count, rank)
    return max(levels.items())


def _level(count: int, rank: int) -> float:
    outside = sum(comb(count, k) for k in range(rank + 1)) / (1 << count)
    return max(0.0, 1 - 2 * outside)

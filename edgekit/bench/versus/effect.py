"""Rounds of fresh processes that took turns -> how much slower one model is than another, and its interval. Pure.

Within a round the two blocks of a turn stand next to each other in time and on the same CPU, so what the machine does
is in both; the median over the turns of their log ratios is the round's one observation. Over the rounds: the
Hodges-Lehmann estimate (the median of all means of two observations) and the interval that belongs to it, from the
exact distribution of Wilcoxon's signed-rank statistic. It asks for independent, symmetric observations, never for
normal ones (Hollander, Wolfe, Chicken, Nonparametric Statistical Methods, 3rd ed. 2014, 3.1 to 3.3). In a comparison of
two equal models symmetry is not an assumption: nothing distinguishes them. docs/decisions/0011-compare.md has the
evidence.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from math import ceil, exp, expm1, log, log1p, sqrt
from statistics import NormalDist

from edgekit.bench.statistics import median

LEVEL = 0.95
"""That the intervals of all candidates of a comparison hold what they are for; less only with too few rounds."""
EXACT_ROUNDS = 60
"""Up to here the exact distribution; beyond, the normal one is good to 0.001."""
POWER = NormalDist().inv_cdf(0.8)
"""With the rounds that are said to be needed, four of five comparisons decide."""
MOST_ROUNDS = 100
"""Times the rounds that there are: what would need more cannot be foretold."""


@dataclass(frozen=True, kw_only=True)
class Effect:
    """Relative change of the latency of a candidate: 0.03 is 3 % slower."""

    value: float
    low: float
    high: float
    level: float
    """Chance that ``low`` to ``high`` holds the true one, at least."""


def log_ratio(baseline: Sequence[float], candidate: Sequence[float]) -> float:
    """One round's observation from the block medians of both, in the order of their turns."""
    return median([log(one / other) for one, other in zip(candidate, baseline, strict=True)])


def latency(blocks: Sequence[float]) -> float:
    """What a process of a round takes for an inference: the median of its block medians, in their unit."""
    return median(blocks)


def estimate_effect(log_ratios: Sequence[float], *, level: float = LEVEL) -> Effect:
    """The effect from one log ratio for each round, at least one; a single round promises nothing (level 0)."""
    means = walsh_means(log_ratios)
    rank, kept = choose_rank(len(log_ratios), level)
    return Effect(
        value=expm1(median(means)), low=expm1(means[rank]), high=expm1(means[len(means) - 1 - rank]), level=kept
    )


def typical(latencies: Sequence[float]) -> float:
    """What the rounds together say of one model, in their unit: estimated as the effect is, so that the two agree.

    Their plain median would not: where a machine has a fast and a slow state, it jumps with one round more of either.
    """
    return exp(median(walsh_means([log(value) for value in latencies])))


def walsh_means(values: Sequence[float]) -> Sequence[float]:
    """The means of all pairs, each value with itself too, sorted: n (n + 1) / 2 of them."""
    import numpy as np

    array = np.asarray(values, dtype=np.float64)
    first, second = np.triu_indices(len(array))
    found: list[float] = np.sort((array[first] + array[second]) / 2).tolist()
    return found


@cache
def choose_rank(count: int, level: float) -> tuple[int, float]:
    """Largest k, and its level, so that the (k+1)th smallest to the (k+1)th largest Walsh mean hold the centre.

    The level is 1 - 2 P(T <= k) of the signed-rank statistic T; k = 0, the whole range, where that stays below.
    """
    if count > EXACT_ROUNDS:
        mean, deviation = count * (count + 1) / 4, sqrt(count * (count + 1) * (2 * count + 1) / 24)
        rank = int(mean + NormalDist().inv_cdf((1 - level) / 2) * deviation - 0.5)
        return rank, 1 - 2 * NormalDist(mean, deviation).cdf(rank + 0.5)
    ways = _signed_rank_ways(count)
    below, rank = ways[0], 0
    while 1 - 2 * (below + ways[rank + 1]) / 2**count >= level:
        rank += 1
        below += ways[rank]
    return rank, max(0.0, 1 - 2 * below / 2**count)


def _signed_rank_ways(count: int) -> list[int]:
    """How many of the 2**count choices of signs have the ranks with a plus add up to 0, 1, 2, ..."""
    ways = [1] + [0] * (count * (count + 1) // 2)
    for rank in range(1, count + 1):
        for total in range(len(ways) - 1, rank - 1, -1):
            ways[total] += ways[total - rank]
    return ways


def needed_rounds(effect: Effect, margin: float, rounds: int) -> int | None:
    """How many more rounds would probably decide; None where that is not to be foretold: the effect is at the margin.

    An interval shrinks with the square root of the rounds; to decide it must fit between the effect, which more rounds
    will show to be a little different, and the margin.
    """
    low, high = log1p(effect.low), log1p(effect.high)
    half = (high - low) / 2
    distance = min(abs(log1p(effect.value) - bound) for bound in (log1p(-margin), log1p(margin)))
    if half == 0 or effect.level <= 0:
        return None
    quantile = NormalDist().inv_cdf((1 + effect.level) / 2)
    wanted = distance / (1 + POWER / quantile)
    times = (half / wanted) ** 2 if wanted > 0 else float("inf")
    return max(1, ceil(rounds * (times - 1))) if times <= MOST_ROUNDS else None

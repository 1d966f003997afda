"""How far a measured drop can be trusted. Pure; the two models saw the same samples, so everything is paired."""

import math
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

from edgekit.metrics.protocol import Statistic

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

LEVEL = 0.95
RESAMPLES = 2000
SEED = 20051215
"""The same records give the same interval."""
CHUNK_BYTES = 16 << 20
"""Weights of this size are drawn at a time."""


def paired_interval(lost: int, gained: int, count: int, level: float = LEVEL) -> tuple[float, float]:
    """Interval of the difference of two paired proportions, (lost - gained) / count.

    Adjusted Wald of Agresti and Min, "Simple improved confidence intervals for comparing matched proportions",
    Statistics in Medicine 24 (2005): half a sample is added to each cell of the 2 x 2 table.
    """
    lost_adjusted, gained_adjusted, total = lost + 0.5, gained + 0.5, count + 2
    difference = (lost_adjusted - gained_adjusted) / total
    spread = math.sqrt(lost_adjusted + gained_adjusted - (lost_adjusted - gained_adjusted) ** 2 / total) / total
    reach = NormalDist().inv_cdf((1 + level) / 2) * spread
    return max(-1.0, difference - reach), min(1.0, difference + reach)


def mcnemar(lost: int, gained: int) -> float:
    """Exact two-sided p of McNemar's test (1947): a change is as likely to lose as to gain. 1 without changes."""
    changes, few = lost + gained, min(lost, gained)
    tail = sum(math.comb(changes, count) for count in range(few + 1))
    return min(1.0, 2 * tail / (1 << changes))


def bootstrap_interval(
    source: Statistic, model: Statistic, samples: int, *, level: float = LEVEL, resamples: int = RESAMPLES
) -> tuple[float, float]:
    """Percentile interval of source - model under resampling of the samples (Efron 1979), both with the same ones.

    Seeded. Resamples in which the metric is not defined are left out; (-inf, inf) when that is most of them. Memory
    is bounded by ``CHUNK_BYTES`` and what the statistics need for as many weights.
    """
    import numpy as np

    generator = np.random.default_rng(SEED)
    differences = np.empty(resamples)
    rows = max(1, CHUNK_BYTES // (8 * samples))
    for start in range(0, resamples, rows):
        count = min(rows, resamples - start)
        weights = resample_weights(generator, count, samples)
        differences[start : start + count] = source.values(weights) - model.values(weights)
    differences = differences[np.isfinite(differences)]
    if 2 * differences.size < resamples:
        return -math.inf, math.inf
    low, high = np.quantile(differences, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def resample_weights(generator: "np.random.Generator", resamples: int, samples: int) -> "Array":
    """How often each of n samples is drawn in n draws with replacement: (resamples, n) float64."""
    import numpy as np

    drawn = generator.integers(0, samples, size=(resamples, samples))
    drawn += np.arange(resamples)[:, None] * samples
    counts = np.bincount(drawn.ravel(), minlength=resamples * samples)
    return counts.reshape(resamples, samples).astype(np.float64)

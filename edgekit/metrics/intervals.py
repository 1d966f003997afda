"""How far a measured drop can be trusted. Pure; the two models saw the same samples, so everything is paired."""

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

from edgekit.metrics.protocol import Statistic

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

LEVEL = 0.95
MAX_RESAMPLES = 2000
MIN_RESAMPLES = 200
OPERATIONS = 200_000_000
"""Elements that one model's resamples look at together, about a second's work."""
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


@dataclass(frozen=True, kw_only=True)
class Bootstrap:
    """An interval and what it was made of."""

    interval: tuple[float, float]
    resamples: int


def bootstrap(source: Statistic, model: Statistic, samples: int, *, level: float = LEVEL) -> Bootstrap:
    """Percentile interval of source - model under resampling of the samples (Efron 1979), both with the same ones.

    Seeded. Resamples in which the metric is not defined are left out; (-inf, inf) when that is most of them. Time and
    memory are bounded: a metric that looks at many elements gets fewer resamples (``OPERATIONS``, at least
    ``MIN_RESAMPLES``), as many at a time as ``CHUNK_BYTES`` hold.
    """
    import numpy as np

    generator = np.random.default_rng(SEED)
    cost = max(samples, source.cost, model.cost)
    resamples = min(MAX_RESAMPLES, max(MIN_RESAMPLES, OPERATIONS // cost))
    rows = max(1, CHUNK_BYTES // (8 * cost))
    differences = np.empty(resamples)
    for start in range(0, resamples, rows):
        weights = resample_weights(generator, min(rows, resamples - start), samples)
        with np.errstate(invalid="ignore"):  # infinity from both: not defined, as NaN is
            differences[start : start + rows] = source.values(weights) - model.values(weights)
    finite = differences[np.isfinite(differences)]
    if 2 * finite.size < resamples:
        return Bootstrap(interval=(-math.inf, math.inf), resamples=resamples)
    low, high = np.quantile(finite, [(1 - level) / 2, (1 + level) / 2])
    return Bootstrap(interval=(float(low), float(high)), resamples=resamples)


def resample_weights(generator: "np.random.Generator", resamples: int, samples: int) -> "Array":
    """How often each of n samples is drawn in n draws with replacement: (resamples, n) float64."""
    import numpy as np

    drawn = generator.integers(0, samples, size=(resamples, samples))
    drawn += np.arange(resamples)[:, None] * samples
    counts = np.bincount(drawn.ravel(), minlength=resamples * samples)
    return counts.reshape(resamples, samples).astype(np.float64)

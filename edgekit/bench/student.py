"""Student's t: the mean of few observations and its interval, without SciPy. Pure."""

from collections.abc import Sequence
from math import sqrt
from statistics import mean, stdev

LEVEL = 0.95
"""What an interval of energy or of a battery promises."""
QUANTILES = (
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228),
    *(2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086),
    *(2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042),
)
"""97.5 % quantiles for 1 to 30 degrees of freedom (NIST/SEMATECH e-Handbook of Statistical Methods, 1.3.6.7.2)."""


def half_width(observations: Sequence[float]) -> float | None:
    """Half of the 95 % interval of the mean of independent observations; None for fewer than two.

    Beyond 31 observations the quantile stays that of 31: 4 % too wide at most.
    """
    if len(observations) <= 1:
        return None
    freedom = min(len(observations) - 1, len(QUANTILES))
    return QUANTILES[freedom - 1] * stdev(observations) / sqrt(len(observations))


def interval(observations: Sequence[float], systematic: float = 0.0) -> tuple[float, float] | None:
    """95 % interval of the mean, wider by what averaging does not remove; None for fewer than two observations."""
    half = half_width(observations)
    if half is None:
        return None
    middle = mean(observations)
    return middle - half - systematic, middle + half + systematic

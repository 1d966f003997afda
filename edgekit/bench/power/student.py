"""Student's t: the mean of few observations and its interval, without SciPy. Pure."""

from collections.abc import Sequence
from math import sqrt
from statistics import stdev

LEVEL = 0.95
"""What an interval of energy or of a battery promises."""
NOMINAL = 0.975
"""What its quantiles are for: observations are few and not quite normal, and at 0.95 some kinds of gauges held the
truth in 93 of 100 runs (docs/decisions/0012-energy.md)."""
QUANTILES = (
    *(25.452, 6.205, 4.177, 3.495, 3.163, 2.969, 2.841, 2.752, 2.685, 2.634),
    *(2.593, 2.560, 2.533, 2.510, 2.490, 2.473, 2.458, 2.445, 2.433, 2.423),
    *(2.414, 2.405, 2.398, 2.391, 2.385, 2.379, 2.373, 2.368, 2.364, 2.360),
)
"""Two-sided, for 1 to 30 degrees of freedom."""


def half_width(observations: Sequence[float]) -> float | None:
    """Half of the interval of the mean of independent observations; None for fewer than two.

    Beyond 31 observations the quantile stays that of 31: 5 % too wide at most.
    """
    if len(observations) <= 1:
        return None
    freedom = min(len(observations) - 1, len(QUANTILES))
    return QUANTILES[freedom - 1] * stdev(observations) / sqrt(len(observations))

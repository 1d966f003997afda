"""Mean power of a stretch of time, and how far a gauge is behind. Pure; arrays as in ``series``."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import exp, sqrt

import numpy as np

from edgekit.bench.power.blocks import Block
from edgekit.bench.power.series import Array, Counter, Power

MIN_JUMPS = 2
"""Changes between idle and load, one up and one down."""
ANSWERED = 0.75
"""Share of them that the readings must follow in the same direction; of a gauge that shows chance, half do."""
MIN_MOVES = 3
"""Of a counter within a block: its edges are uncertain, what lies between them is not."""
SETTLED = 5.0
"""Time constants after which a first-order low-pass filter shows 99.3 % of a step."""
USUAL_SETTLE = 0.25
"""Share of a block that may be left out for a lag that the noise hides."""
MOST_SETTLE = 0.75
"""Share of a block that may be left out for a lag that is there."""
DITHER = 0.6
"""Noise over step from which on rounding averages out: two neighbouring values alone spread by 0.5 at most."""


@dataclass(frozen=True, kw_only=True)
class Lag:
    """How far readings are behind what they tell, on average: a sample-and-hold, an average, a low-pass filter."""

    mean_s: float
    lower_s: float
    """Two standard errors below."""
    upper_s: float
    """Two standard errors above."""


def mean_power(power: Power, start_s: float, end_s: float) -> float | None:
    """Time-weighted mean by the trapezoidal rule, W; to the edges the nearest reading holds. None: no reading."""
    first, last = np.searchsorted(power.times_s, [start_s, end_s])
    times, values = power.times_s[first:last], power.values_w[first:last]
    if len(times) == 0:
        return None
    times = np.concatenate([[start_s], times, [end_s]])
    values = np.concatenate([values[:1], values, values[-1:]])
    return float(np.trapezoid(values, times) / (end_s - start_s))


def counted_power(counter: Counter, start_s: float, end_s: float) -> float | None:
    """Mean power between the first and the last move of a counter within a stretch of time, W.

    None where it moved less than ``MIN_MOVES`` times. Steps of unknown energy (a reset) are left out with their time.
    """
    amounts, secs = moves(counter, start_s, end_s)
    return float(amounts.sum() / secs.sum()) if len(amounts) >= MIN_MOVES - 1 else None


def moves(counter: Counter, start_s: float, end_s: float) -> tuple[Array, Array]:
    """Amounts and seconds from one move to the next within a stretch of time, those that are known."""
    inside = np.flatnonzero((counter.earliest_s >= start_s) & (counter.latest_s <= end_s))
    amounts, secs = counter.amounts[inside[1:]], np.diff(counter.times_s[inside])
    known = ~np.isnan(amounts)
    return amounts[known], secs[known]


def estimate_lag(power: Power, found: Sequence[Block]) -> Lag | None:
    """Mean delay of the readings behind the power, from the changes between idle and load.

    For any filter that is linear and shows a constant as it is, the area between the step and the answer to it is step
    times mean delay (the first moment of its impulse response). Ups and downs count with their sign over equally long
    stretches, so that a linear drift cancels. None where there are no two such changes, or the readings do not follow.
    """
    pairs = [(one, two) for one, two in pairwise(found) if one.process == two.process]
    if not pairs:
        return None
    secs = min(block.secs for pair in pairs for block in pair)
    areas, jumps = [], []
    for one, two in pairs:
        before = mean_power(power, one.end_s - secs / 4, one.end_s)
        settled = mean_power(power, two.start_s + 0.75 * secs, two.start_s + secs)
        mean = mean_power(power, two.start_s, two.start_s + secs)
        if before is not None and settled is not None and mean is not None:
            sign = 1 if two.kind == "load" else -1
            areas.append(sign * (settled - mean) * secs)
            jumps.append(sign * (settled - before))
    total = sum(jumps)
    answered = sum(jump * total > 0 for jump in jumps)
    if len(jumps) < MIN_JUMPS or answered < ANSWERED * len(jumps):
        return None
    mean_s = sum(areas) / total
    spread = sum((area - mean_s * jump) ** 2 for area, jump in zip(areas, jumps, strict=True))
    error = sqrt(spread * len(jumps) / (len(jumps) - 1)) / abs(total)
    low, middle, high = (min(max(0.0, mean_s + shift * error), secs) for shift in (-2, 0, 2))
    return Lag(mean_s=middle, lower_s=low, upper_s=high)


def settle_time(lag: Lag | None, update_s: float | None, secs: float) -> float | None:
    """What to leave out at the start of each block of at least ``secs``; None where the gauge is too slow for them.

    A gauge of coarse steps changes seldom and is not slow for that: its answers to idle and load come in time.
    """
    prompt = lag is not None and settled_after(lag.upper_s, None) <= MOST_SETTLE * secs
    if update_s is not None and update_s > MOST_SETTLE * secs and not prompt:
        return None
    if lag is None:
        return USUAL_SETTLE * secs
    if settled_after(lag.lower_s, update_s) > MOST_SETTLE * secs:
        return None
    known = min(settled_after(lag.mean_s, update_s), MOST_SETTLE * secs)
    return min(settled_after(lag.upper_s, update_s), max(known, USUAL_SETTLE * secs))


def settled_after(lag_s: float, update_s: float | None) -> float:
    """Seconds until a gauge of this mean delay tells of the new level alone; a hold delays by half its interval."""
    held = min(update_s or 0.0, 2 * lag_s)
    return held + SETTLED * (lag_s - held / 2)


def unsettled_share(lag: Lag | None, update_s: float | None, settle_s: float, block: Block) -> float:
    """Largest share of a step that may be missing in the mean of a block after ``settle_s``; all of it at lag None."""
    if lag is None:
        return 1.0
    held = min(update_s or 0.0, 2 * lag.upper_s)
    constant = lag.upper_s - held / 2
    if constant <= 0:
        return 0.0
    return min(1.0, exp(-max(0.0, settle_s - held) / constant) * constant / (block.secs - settle_s))


def rounding_bound(power: Power, spans: Sequence[tuple[float, float]]) -> float:
    """Largest error of a mean that the gauge's steps may cause, W: half a step, or 0 where noise dithers them.

    Neighbouring updates are compared, so that a slow drift does not pass for noise.
    """
    every = max(power.update_s or 0.0, 1e-9)
    steps = [np.diff(_updates(power, start, end, every)) for start, end in spans]
    found = np.concatenate(steps) if steps else np.zeros(0)
    if len(found) and np.median(np.abs(found)) > 0 and sqrt(float(np.mean(found**2)) / 2) > DITHER * power.step_w:
        return 0.0
    return power.step_w / 2


def _updates(power: Power, start_s: float, end_s: float, every_s: float) -> Array:
    """One reading an update."""
    first, last = np.searchsorted(power.times_s, [start_s, end_s])
    times = power.times_s[first:last]
    _, places = np.unique(np.floor((times - start_s) / every_s), return_index=True)
    return power.values_w[first:last][places]

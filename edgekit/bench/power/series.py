"""The readings of a gauge -> power over time, or amounts by the moments at which a counter moved. Pure.

Arrays are float64 of shape (N,); seconds count from the start of the first segment.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgekit.bench.power.blocks import NS_PER_S
from edgekit.bench.power.choice import CHANNELS, Method
from edgekit.bench.recording import ChannelName, Trace

Array = NDArray[np.float64]
MANY_VALUES = 8
"""Different values from which on the smallest step seen is believed to be the gauge's."""
EVERY = 0.9
"""Share of readings that changed, from which on a counter moves faster than it is read."""
FAST_GAPS = 10
TYPICAL_GAPS = 50
"""Percentiles of the times between two changes. The first is taken for the interval of a gauge's updates, for longer
ones are updates to the same value; the second is what is told."""


@dataclass(frozen=True, kw_only=True)
class Power:
    """Readings of power."""

    times_s: Array
    values_w: Array
    step_w: float
    """The smallest step, as the gauge tells or as seen; the larger of the two."""
    update_s: float | None
    """Interval of its updates, rather too short than too long; None: it never changed."""
    changes_s: float | None = None
    """Median time between two changes."""


@dataclass(frozen=True, kw_only=True)
class Counter:
    """What was drawn, by the moments at which a counter moved."""

    times_s: Array
    """When it moved, or was first seen to have."""
    earliest_s: Array
    """When it was last read before: it moved since."""
    latest_s: Array
    """When it was read first after it."""
    amounts: Array
    """Drawn since it moved before: J, or per cents of a battery; NaN where it fell."""
    resets: int
    """How often it fell, which no gauge announced."""
    update_s: float | None
    changes_s: float | None = None


def columns(trace: Trace, names: Sequence[ChannelName], zero_ns: int) -> tuple[Array, list[Array]]:
    """Times and values of the readings that answered, with numbers, in all channels of ``names``."""
    times = (np.array(trace.monotonic_ns, dtype=np.int64) - zero_ns) / NS_PER_S
    values = [np.array([np.nan if v is None else v for v in trace.values[name]], dtype=np.float64) for name in names]
    there = np.all([np.isfinite(column) for column in values], axis=0)
    return times[there], [column[there] for column in values]


def read_power(trace: Trace, method: Method, zero_ns: int) -> Power:
    """Readings of power, or of current times voltage; a step of either is a step of their product."""
    names = CHANNELS[method]
    times, found = columns(trace, names, zero_ns)
    steps = [_step(trace, name, column) for name, column in zip(names, found, strict=True)]
    if method == "power":
        values, step = found[0], steps[0]
    else:
        values = found[0] * found[1]
        amperes, volts = (float(np.mean(np.abs(column))) if len(column) else 0.0 for column in found)
        step = steps[0] * volts + steps[1] * amperes
    changed = times[1:][np.diff(values) != 0]
    return Power(
        times_s=times,
        values_w=values,
        step_w=step,
        update_s=_gap(changed, times, FAST_GAPS),
        changes_s=_gap(changed, times, TYPICAL_GAPS),
    )


def read_counter(trace: Trace, method: Method, zero_ns: int) -> Counter:
    """When a counter of energy, or of charge at a voltage, moved, and by how many joules.

    A counter that falls has wrapped where it says at what value it does and fell by more than half of that; else it was
    reset.
    """
    times, found = columns(trace, CHANNELS[method], zero_ns)
    steps = np.diff(found[0])
    wraps_at = trace.gauge.channels[CHANNELS[method][0]].wraps_at
    if wraps_at is not None:
        steps = np.where(steps < -wraps_at / 2, steps + wraps_at, steps)
    volts = found[1] if method == "charge" else np.ones(len(times))
    return _counter(times, steps, (volts[1:] + volts[:-1]) / 2)


def read_percent(trace: Trace, zero_ns: int) -> Counter:
    """When a battery's per cent moved; ``amounts`` are the per cents used up."""
    times, found = columns(trace, ("capacity_percent",), zero_ns)
    return _counter(times, -np.diff(found[0]), np.ones(max(0, len(times) - 1)))


def _counter(times: Array, steps: Array, factors: Array) -> Counter:
    moved = np.flatnonzero(steps != 0)
    earliest, latest = times[moved], times[moved + 1]
    faster = len(moved) >= EVERY * len(steps)
    amounts = np.where(steps < 0, np.nan, steps * factors)[moved]
    return Counter(
        # a counter that is slower than its readings moved somewhere between two of them
        times_s=latest if faster else (earliest + latest) / 2,
        earliest_s=latest if faster else earliest,
        latest_s=latest,
        amounts=amounts,
        resets=int(np.isnan(amounts).sum()),
        update_s=_gap(latest, times, FAST_GAPS),
        changes_s=_gap(latest, times, TYPICAL_GAPS),
    )


def _step(trace: Trace, name: ChannelName, values: Array) -> float:
    told = trace.gauge.channels[name].resolution
    distinct = np.unique(values)
    gaps = np.diff(distinct)
    # numbers that differ by rounding alone are the same
    gaps = gaps[gaps > 1e-9 * max(abs(distinct[0]), abs(distinct[-1]))] if len(distinct) > 1 else gaps
    seen = float(gaps.min()) if len(gaps) else 0.0
    if told is None:
        return seen
    return max(told, seen) if len(gaps) >= MANY_VALUES else told


def _gap(changed: Array, times: Array, percent: float) -> float | None:
    if len(changed) == 0:
        return None
    gaps = np.diff(changed)
    return float(np.percentile(gaps, percent)) if len(gaps) else float(times[-1] - times[0])

"""How fast a battery is drained while idle and under load: a mean and its interval. Pure.

One process without a break: the observations are stretches of time within it, not processes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import mean

import numpy as np

from edgekit.bench.power import student
from edgekit.bench.power.blocks import Block, origin_ns
from edgekit.bench.power.choice import CHANNELS, Method, methods
from edgekit.bench.power.integrate import (
    Lag,
    estimate_lag,
    mean_power,
    moves,
    rounding_bound,
    settle_time,
    unsettled_share,
)
from edgekit.bench.power.series import Counter, Power, read_counter, read_percent, read_power
from edgekit.bench.recording import ChannelName, Recording, Trace

PARTS = 8
"""Stretches that a block is cut into."""
MIN_STEPS = 4
"""Whole steps of a counter from which on their scatter tells the interval; below, their number does."""
KINDS = ("idle", "load")


@dataclass(frozen=True, kw_only=True)
class Drain:
    """W, or per cents per second."""

    value: float
    low: float
    high: float


def drain_by_power(power: Power, lag: Lag | None, found: Sequence[Block], kind: str) -> Drain | None:
    """Mean power of the blocks of a kind; None where the gauge is too slow for them."""
    settle = settle_time(lag, power.update_s, min(block.secs for block in found))
    own = [block for block in found if block.kind == kind]
    if settle is None or power.update_s is None:
        return None
    observed = []
    spans = [(block.start_s + settle, block.end_s) for block in own]
    for start, end in spans:
        parts = max(1, min(PARTS, int((end - start) / power.update_s)))
        edges = np.linspace(start, end, parts + 1).tolist()
        observed += [mean_power(power, first, last) for first, last in pairwise(edges)]
    known = [value for value in observed if value is not None]
    half = student.half_width(known)
    if half is None or len(known) < len(observed):
        return None
    value = mean(known)
    others = [mean_power(power, block.start_s + settle, block.end_s) for block in found if block.kind != kind]
    step = max((abs(value - other) for other in others if other is not None), default=0.0)
    hidden = max(unsettled_share(lag, power.update_s, settle, block) for block in own)
    half += rounding_bound(power, spans) + hidden * step
    return Drain(value=value, low=value - half, high=value + half)


def drain_by_steps(counter: Counter, found: Sequence[Block], kind: str) -> Drain | None:
    """Mean rate of a counter that moves in steps, such as whole per cents; None where it moved less than twice.

    Between the first and the last move exactly the steps between them were drawn. Many steps are grouped in time; of
    fewer than ``MIN_STEPS`` nothing is known but their number, and before the first and after the last move up to a
    whole step more.
    """
    observed: list[float] = []
    total = secs = span = late = largest = 0.0
    for block in found:
        amounts, durations = moves(counter, block.start_s, block.end_s)
        if block.kind != kind or not len(amounts):
            continue
        groups = zip(
            np.array_split(amounts, min(PARTS, len(amounts))),
            np.array_split(durations, min(PARTS, len(amounts))),
            strict=True,
        )
        observed += [float(one.sum() / other.sum()) for one, other in groups]
        total, secs, span = total + float(amounts.sum()), secs + float(durations.sum()), span + block.secs
        largest = max(largest, float(amounts.max()))
        late = max(late, float(np.max(counter.latest_s - counter.earliest_s)))
    if not observed:
        return None
    value = total / secs
    half = student.half_width(observed)
    if len(observed) < MIN_STEPS or half is None:
        return Drain(value=value, low=total / span, high=max(value, (total + 2 * largest) / span))
    half += value * late / secs
    return Drain(value=value, low=value - half, high=value + half)


@dataclass(frozen=True, kw_only=True)
class Drains:
    """Of one battery; None: it did not tell."""

    channels: tuple[ChannelName, ...]
    """What was read for it."""
    idle_w: Drain | None
    load_w: Drain | None
    idle_percent: Drain | None
    """Per cents per second."""
    load_percent: Drain | None
    needed_secs: float | None
    """How long a run should be at least that tells the drain under load; None: this one did, or no length helps."""


def measure_drains(recording: Recording, trace: Trace, found: Sequence[Block]) -> Drains:
    """In watts by the first method that is fast enough; in per cents from these and what a full battery holds.

    A battery that does not tell what it holds, or no power, is taken by its per cents.
    """
    zero = origin_ns(recording)
    idle_w = load_w = idle = load = None
    channels: tuple[ChannelName, ...] = ()
    for method in methods(trace):
        idle_w, load_w = (_drain(trace, method, zero, found, kind) for kind in KINDS)
        channels = CHANNELS[method]
        if load_w is not None:
            break
    if load_w is not None and trace.gauge.capacity_j is not None:
        factor = 100 / trace.gauge.capacity_j
        idle, load = _scaled(idle_w, factor), _scaled(load_w, factor)
    elif "capacity_percent" in trace.gauge.channels:
        counter = read_percent(trace, zero)
        idle, load = (drain_by_steps(counter, found, kind) for kind in KINDS)
        channels = (*channels, "capacity_percent") if load_w is not None else ("capacity_percent",)
    return Drains(
        channels=channels or ("capacity_percent",),
        idle_w=idle_w,
        load_w=load_w,
        idle_percent=idle,
        load_percent=load,
        needed_secs=None if load is not None else _needed(trace, zero, found),
    )


def _drain(trace: Trace, method: Method, zero_ns: int, found: Sequence[Block], kind: str) -> Drain | None:
    if method in {"counter", "charge"}:
        return drain_by_steps(read_counter(trace, method, zero_ns), found, kind)
    power = read_power(trace, method, zero_ns)
    return drain_by_power(power, estimate_lag(power, found), found, kind)


def _scaled(drain: Drain | None, factor: float) -> Drain | None:
    if drain is None:
        return None
    return Drain(value=factor * drain.value, low=factor * drain.low, high=factor * drain.high)


def _needed(trace: Trace, zero_ns: int, found: Sequence[Block]) -> float | None:
    """Seconds of a run in which as many steps of a per cent should be seen as an interval is made of."""
    if "capacity_percent" not in trace.gauge.channels:
        return None
    counter = read_percent(trace, zero_ns)
    seen = max(
        sum(block.start_s <= moment <= block.end_s for moment in counter.times_s.tolist())
        for block in found
        if block.kind == "load"
    )
    return float(sum(block.secs for block in found) * (MIN_STEPS + 2) / (seen + 1))

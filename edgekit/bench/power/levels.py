"""Mean power of every block of a recording, by one gauge, and what is uncertain in it beyond its scatter. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import inf

from edgekit.bench.power.blocks import Block, neighbours, origin_ns, rate
from edgekit.bench.power.choice import Method
from edgekit.bench.power.integrate import (
    MIN_MOVES,
    MOST_SETTLE,
    counted_power,
    estimate_lag,
    mean_power,
    rounding_bound,
    settle_time,
    settled_after,
    unsettled_share,
)
from edgekit.bench.power.series import read_counter, read_power
from edgekit.bench.recording import Recording, Trace

SPARE = 1.5
"""A run that is told to be longer is told to be this much longer than it must be at least."""


@dataclass(frozen=True, kw_only=True)
class Level:
    """One block."""

    block: Block
    start_s: float
    """From here to its end the gauge tells of this block alone."""
    power_w: float | None
    """Mean; None: the gauge moved too seldom to tell."""
    rate_per_s: float
    """Inferences meanwhile; 0 while idle."""

    @property
    def center_s(self) -> float:
        """The moment that ``power_w`` belongs to where power drifts."""
        return (self.start_s + self.block.end_s) / 2


@dataclass(frozen=True, kw_only=True)
class Levels:
    """All blocks by one gauge."""

    method: Method
    levels: tuple[Level, ...]
    changes_s: float | None
    """Median time between two changes of the gauge's value; None: it never changed."""
    lag_s: float | None
    step_w: float | None
    """Smallest step of a reading of power; None for counters."""
    rounding_w: float
    """Largest error of any level that rounding may cause, the same in all blocks of a kind."""
    unsettled: float
    """What lag may hide of the difference between load and idle, relative to what is seen of it; infinite where that
    may be all of it."""
    needed_block_s: float | None
    """How long the shortest block must be for this gauge; None: as they were."""
    resets: int = 0


def measure_levels(recording: Recording, trace: Trace, method: Method, found: Sequence[Block]) -> Levels:
    """Every block's mean power, integrated by ``method``."""
    if method in {"counter", "charge"}:
        return _by_counter(recording, trace, method, found)
    return _by_power(recording, trace, method, found)


def _by_power(recording: Recording, trace: Trace, method: Method, found: Sequence[Block]) -> Levels:
    power = read_power(trace, method, origin_ns(recording))
    lag = estimate_lag(power, found)
    settle = settle_time(lag, power.update_s, min(block.secs for block in found))
    start = settle or 0.0
    powers = [None if settle is None else mean_power(power, block.start_s + start, block.end_s) for block in found]
    kinds = [[block for block in found if block.kind == kind] for kind in ("idle", "load")]
    spans = [[(block.start_s + start, block.end_s) for block in own] for own in kinds]
    hidden = sum(max(unsettled_share(lag, power.update_s, start, block) for block in own) for own in kinds if own)
    known = settled_after(lag.mean_s, power.update_s) if lag else 0.0
    return Levels(
        method=method,
        levels=_each(recording, found, powers, start),
        changes_s=power.changes_s,
        lag_s=lag.mean_s if lag else None,
        step_w=power.step_w,
        rounding_w=max(rounding_bound(power, own) for own in spans),
        unsettled=hidden / (1 - hidden) if hidden < 1 else inf,
        needed_block_s=SPARE * max(known, power.update_s or 0.0) / MOST_SETTLE if settle is None else None,
    )


def _by_counter(recording: Recording, trace: Trace, method: Method, found: Sequence[Block]) -> Levels:
    counter = read_counter(trace, method, origin_ns(recording))
    secs = min(block.secs for block in found)
    # published late by up to an update: what moved then may tell of the block before
    settle = min(counter.update_s or 0.0, secs / 4)
    powers = [counted_power(counter, block.start_s + settle, block.end_s) for block in found]
    needed = None
    if None in powers and counter.update_s is not None:
        needed = SPARE * (MIN_MOVES + 1) * max(counter.update_s, _longest_wait(counter.times_s.tolist()))
    return Levels(
        method=method,
        levels=_each(recording, found, powers, settle),
        changes_s=counter.changes_s,
        lag_s=None,
        step_w=None,
        rounding_w=0.0,
        unsettled=0.0,
        needed_block_s=needed,
        resets=counter.resets,
    )


def _longest_wait(times: Sequence[float]) -> float:
    return max((later - earlier for earlier, later in pairwise(times)), default=0.0)


def _each(
    recording: Recording, found: Sequence[Block], powers: Sequence[float | None], settle_s: float
) -> tuple[Level, ...]:
    zero = origin_ns(recording)
    return tuple(
        Level(
            block=block,
            start_s=block.start_s + settle_s,
            power_w=power,
            rate_per_s=rate(block, recording.windows, zero, block.start_s + settle_s) if block.kind == "load" else 0.0,
        )
        for block, power in zip(found, powers, strict=True)
    )


@dataclass(frozen=True, kw_only=True)
class Contrast:
    """A block of load and the idle power next to it."""

    process: int
    load_w: float
    idle_w: float
    """At the same moment: between the idle blocks before and after, or of the one there is."""
    rate_per_s: float

    @property
    def energy_mj(self) -> float:
        """Of one inference, above idle."""
        return 1000 * (self.load_w - self.idle_w) / self.rate_per_s


def contrasts(levels: Sequence[Level]) -> tuple[Contrast, ...]:
    """Every block of load that has a neighbour, inferences and a power; a linear drift between neighbours cancels."""
    by_block = {level.block: level for level in levels}
    found = [level.block for level in levels]
    results = []
    for place, level in enumerate(levels):
        if level.block.kind != "load" or level.power_w is None or level.rate_per_s <= 0:
            continue
        idle = [by_block[block] for block in neighbours(found, place) if block is not None]
        known = [(item.center_s, item.power_w) for item in idle if item.power_w is not None]
        if known:
            results.append(
                Contrast(
                    process=level.block.process,
                    load_w=level.power_w,
                    idle_w=_between(known, level.center_s),
                    rate_per_s=level.rate_per_s,
                )
            )
    return tuple(results)


def _between(known: Sequence[tuple[float, float]], moment: float) -> float:
    (first, start_w), (last, end_w) = known[0], known[-1]
    return start_w + (end_w - start_w) * (moment - first) / (last - first) if last > first else start_w

"""How long a battery lasts: its drain while the device is idle and under load. Pure.

docs/energy.md says what is measured and how; docs/decisions/0012-energy.md has the evidence.
"""

from collections.abc import Iterator, Sequence
from statistics import mean
from typing import TYPE_CHECKING

from edgekit.bench.power import student
from edgekit.bench.power.choice import choose_battery
from edgekit.bench.recording import Gauge, Recording, Segment, Trace
from edgekit.documents import Document
from edgekit.entries import FindingEntry
from edgekit.errors import DeviceFaultError

if TYPE_CHECKING:
    from edgekit.bench.power.blocks import Block
    from edgekit.bench.power.drain import Drain, Drains

BATTERY_PROCESSES = 1
"""One load without a break: a battery that tells whole per cents moves only every few minutes."""
BATTERY_SECS = 600.0
SECS_PER_H = 3600
SAME_RATE = 0.02
"""Difference of two rates, relative, below which they are the same."""
IDLE_SHARE = 0.2
"""Of the time, before the load and once more after it."""


class BatteryReport(Document, frozen=True, kw_only=True):
    """Drain of a battery, and the hours of operation that follow."""

    gauge: Gauge
    capacity_percent: tuple[float, float] | None
    """At the start and at the end of the run; None where the battery does not tell."""
    drain_percent_per_h: float | None
    """Under the load that was run; None: it did not move by as much as the gauge shows."""
    drain_interval: tuple[float, float] | None
    idle_drain_percent_per_h: float | None
    """With the model loaded and nothing to do."""
    idle_drain_interval: tuple[float, float] | None
    load_power_w: float | None
    """Under the load; None where the battery tells per cents alone."""
    idle_power_w: float | None
    level: float
    rate_per_s: float | None
    """Inferences per second that ``hours`` holds for; None: as fast as they go."""
    measured_rate_per_s: float | None
    """Inferences per second of the load that was run."""
    hours: float | None
    """From full to empty, at that rate."""
    hours_interval: tuple[float, float] | None
    needed_secs: float | None
    """How long a run (``--battery-secs``) must be at least to tell; None where this one did."""


def battery_schedule(secs: float = BATTERY_SECS, rate_per_s: float | None = None) -> tuple[Segment, ...]:
    """What the one process (``BATTERY_PROCESSES``) runs: idle, load at ``rate_per_s`` (None: as fast as it goes), idle.

    secs: seconds of the whole run.
    """
    idle = Segment(kind="idle", secs=IDLE_SHARE * secs)
    return (idle, Segment(kind="load", secs=(1 - 2 * IDLE_SHARE) * secs, rate_per_s=rate_per_s), idle)


def summarize_battery(
    recording: Recording, *, rate_per_s: float | None = None, gauge: str | None = None
) -> tuple[BatteryReport, tuple[FindingEntry, ...]]:
    """Drain and hours of operation, from a run of ``battery_schedule`` or of any other that has load.

    rate_per_s: what ``hours`` are for; where the load ran at another rate, idle power and the energy of an inference
    give it. None: the load as it ran. gauge: the name of one; None: the first battery that was discharging.

    Raises:
        DeviceFaultError: no battery tells its state, or none has this name; the schedule has no load.
    """
    from edgekit.bench.power.blocks import blocks
    from edgekit.bench.power.drain import measure_drains
    from edgekit.bench.power.findings import check_recording, check_trace

    trace = choose_battery(recording.traces, gauge)
    found = blocks(recording)
    if not any(block.kind == "load" for block in found):
        raise DeviceFaultError(
            "This run has no load: nothing tells what inferences take from the battery.",
            hint="Measure with edgekit bench --battery.",
        )
    drains = measure_drains(recording, trace, found)
    report = _report(recording, trace, found, drains, rate_per_s)
    return report, (
        *check_trace(trace, drains.channels, recording, found),
        *check_recording(recording, throttled="warning"),
        *_power_findings(trace, drains),
        *_judge(recording, report),
    )


def _report(
    recording: Recording, trace: Trace, found: Sequence["Block"], drains: "Drains", rate_per_s: float | None
) -> BatteryReport:
    from edgekit.bench.power.blocks import origin_ns, rate

    zero = origin_ns(recording)
    measured = mean([rate(block, recording.windows, zero, block.start_s) for block in found if block.kind == "load"])
    asked = _at_rate(drains, 1.0 if rate_per_s is None else _same(rate_per_s, measured))
    if rate_per_s is not None and not _reached(recording, rate_per_s, measured):
        asked = None
    known = [value for value in trace.values.get("capacity_percent", ()) if value is not None]
    idle, load = drains.idle_percent, drains.load_percent
    return BatteryReport(
        gauge=trace.gauge,
        capacity_percent=(known[0], known[-1]) if known else None,
        drain_percent_per_h=SECS_PER_H * load.value if load else None,
        drain_interval=(SECS_PER_H * load.low, SECS_PER_H * load.high) if load else None,
        idle_drain_percent_per_h=SECS_PER_H * idle.value if idle else None,
        idle_drain_interval=(SECS_PER_H * idle.low, SECS_PER_H * idle.high) if idle else None,
        load_power_w=drains.load_w.value if drains.load_w else None,
        idle_power_w=drains.idle_w.value if drains.idle_w else None,
        level=student.LEVEL,
        rate_per_s=rate_per_s,
        measured_rate_per_s=measured,
        hours=_hours(asked.value) if asked else None,
        hours_interval=(_hours(asked.high), _hours(asked.low)) if asked else None,
        needed_secs=drains.needed_secs,
    )


def _same(rate_per_s: float, measured: float) -> float:
    """Share of the measured load that a rate is; 1 where they are the same."""
    share = rate_per_s / measured if measured > 0 else 1.0
    return 1.0 if abs(share - 1) <= SAME_RATE else share


def _reached(recording: Recording, rate_per_s: float, measured: float) -> bool:
    """Whether the device runs that many inferences: it did, or it was not asked for so many."""
    paced = [item.rate_per_s for item in recording.schedule if item.kind == "load" and item.rate_per_s is not None]
    return rate_per_s <= (1 + SAME_RATE) * measured or (bool(paced) and max(paced) < (1 - SAME_RATE) * rate_per_s)


def _at_rate(drains: "Drains", share: float) -> "Drain | None":
    """Drain with so many times the inferences of the load: idle, and their share of what is above it."""
    from edgekit.bench.power.drain import Drain

    idle, load = drains.idle_percent, drains.load_percent
    if load is None or (share != 1 and idle is None):
        return None
    if idle is None or share == 1:
        return load if load.low > 0 else None
    value = idle.value + share * (load.value - idle.value)
    # the bounds of both at once: their errors may have either sign
    below = abs(1 - share) * (idle.value - idle.low) + share * (load.value - load.low)
    above = abs(1 - share) * (idle.high - idle.value) + share * (load.high - load.value)
    return Drain(value=value, low=value - below, high=value + above) if value > below else None


def _hours(percent_per_s: float) -> float:
    return 100 / percent_per_s / SECS_PER_H


def _power_findings(trace: Trace, drains: "Drains") -> Iterator[FindingEntry]:
    from edgekit.bench.power.findings import check_power

    watts = [drain.high for drain in (drains.idle_w, drains.load_w) if drain is not None]
    yield from check_power(trace, "power", watts, 0.0)


def _judge(recording: Recording, report: BatteryReport) -> Iterator[FindingEntry]:
    from edgekit.bench.power.findings import finding

    name, measured = report.gauge.name, report.measured_rate_per_s or 0.0
    if report.drain_percent_per_h is None:
        longer = f"Use --battery-secs {report.needed_secs:.0f}s or more." if report.needed_secs else ""
        yield finding(
            "warning",
            "below-resolution",
            f"{name} did not move often enough under load to tell its drain.",
            longer or "It tells neither per cents nor what it holds; use --energy and the battery's own watt-hours.",
        )
    elif report.rate_per_s is not None and not _reached(recording, report.rate_per_s, measured):
        yield finding(
            "warning",
            "rate-not-reached",
            f"The device runs {measured:.3g} inferences per second at most, not {report.rate_per_s:g}: no hours.",
            "Use a lower --rate, more threads, or a faster model.",
        )
    elif report.hours is None:
        yield finding(
            "warning",
            "idle-unknown",
            f"{name} did not tell its drain while idle, so that no hours follow for another rate than was run.",
            "Run the load at the rate itself (--rate), or longer (--battery-secs).",
        )

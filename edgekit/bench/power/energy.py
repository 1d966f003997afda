"""Energy of one inference: idle and load in turns, a gauge's readings integrated with their own times.

docs/energy.md says what is measured and how; docs/decisions/0012-energy.md has the evidence. Pure.
"""

from collections.abc import Iterator, Sequence
from math import isfinite
from statistics import mean
from typing import TYPE_CHECKING

from edgekit.bench.power import student
from edgekit.bench.power.choice import CHANNELS, Method, choose_gauge, methods
from edgekit.bench.recording import Gauge, Recording, Segment, Trace
from edgekit.documents import Document
from edgekit.entries import FindingEntry
from edgekit.errors import DeviceFaultError

if TYPE_CHECKING:
    from edgekit.bench.power.levels import Contrast, Levels

ENERGY_PROCESSES = 6
"""Fresh processes of a run; each is one observation (docs/decisions/0004-interval.md)."""
ENERGY_SECS = 60.0
"""What a run takes unless told otherwise: enough for a gauge that updates twice a second."""
QUARTERS = 4
"""Of each process's time: idle, load, load, idle."""

MIN_PROCESSES = 3
"""With fewer each block of load is an observation, and the interval holds for these processes alone."""
RESOLVED = 0.1
"""Half width over estimate that a run should reach."""


class EnergyReport(Document, frozen=True, kw_only=True):
    """What one inference costs, by one gauge."""

    gauge: Gauge
    method: Method
    energy_per_inference_mj: float | None
    """Millijoules above idle; None: less than the gauge can resolve in this run."""
    interval_mj: tuple[float, float] | None
    """It holds the long-run value with a chance of ``level``; None where nothing can be said."""
    level: float
    idle_power_w: float | None
    """Mean over the idle blocks; None where the gauge was too slow to tell."""
    load_power_w: float | None
    """Mean over the load blocks."""
    inferences: int
    blocks: int
    """Blocks of load, each with the idle blocks next to it."""
    processes: int
    update_interval_s: float | None
    """Median time between two changes of the gauge's value; None where it never changed."""
    lag_s: float | None
    """How far its values are behind on average, from the changes between idle and load; None where they do not tell,
    and for counters."""
    resolution_w: float | None
    """The smallest step of a power reading, as the gauge tells or as seen; None for counters."""
    systematic_mj: float | None
    """Share of the interval's half width that no averaging removes: quantization and lag."""
    resolvable_mj: float | None
    """The smallest energy of one inference that this run could have told from idle."""
    needed_secs: float | None
    """How long a run (``--energy-secs``) must be to know it to a tenth; None where this one did, or where no length
    would do."""


def energy_schedule(secs: float = ENERGY_SECS) -> tuple[Segment, ...]:
    """What each of ``ENERGY_PROCESSES`` runs: idle, twice as long load, idle, so that a linear drift cancels.

    secs: seconds of the whole run over all processes, without their start. The longer the run, the longer its blocks,
    not the more of them: what slow gauges need is time to settle (``needed_schedule``).
    """
    quarter = secs / ENERGY_PROCESSES / QUARTERS
    return (
        Segment(kind="idle", secs=quarter),
        Segment(kind="load", secs=2 * quarter),
        Segment(kind="idle", secs=quarter),
    )


def needed_schedule(block_s: float) -> float:
    """``secs`` of ``energy_schedule`` whose shortest blocks are ``block_s`` seconds long."""
    return block_s * ENERGY_PROCESSES * QUARTERS


def summarize_energy(
    recording: Recording, *, gauge: str | None = None
) -> tuple[EnergyReport, tuple[FindingEntry, ...]]:
    """What one inference costs, from a run of ``energy_schedule`` or of any other that has idle next to load.

    gauge: the name of one; None: the best there is (``choose_gauge``).

    Raises:
        DeviceFaultError: no gauge tells power, or none has this name; the schedule has no load next to idle.
    """
    from edgekit.bench.power.blocks import blocks
    from edgekit.bench.power.findings import check_power, check_recording, check_trace, resets

    trace = choose_gauge(recording.traces, gauge, blocked=recording.blocked)
    found = blocks(recording)
    if {block.kind for block in found} != {"idle", "load"}:
        raise DeviceFaultError(
            "This run has no load next to idle: nothing tells the energy of an inference from that of the device.",
            hint="Measure with edgekit bench --energy.",
        )
    levels, pairs = _measure(recording, trace)
    report = _report(trace, levels, pairs, secs=sum(block.secs for block in found))
    watts = [level.power_w for level in levels.levels if level.power_w is not None]
    return report, (
        *check_trace(trace, CHANNELS[levels.method], recording, found),
        *check_recording(recording),
        *check_power(trace, levels.method, watts, levels.step_w or 0.0),
        *resets(trace, levels.method, levels.resets),
        *_judge(report, levels, pairs),
    )


def _measure(recording: Recording, trace: Trace) -> tuple["Levels", tuple["Contrast", ...]]:
    """By the first method that is fast enough for these blocks, else by the first."""
    from edgekit.bench.power.blocks import blocks
    from edgekit.bench.power.levels import contrasts, measure_levels

    tried = [measure_levels(recording, trace, method, blocks(recording)) for method in methods(trace)]
    # a block that is left out because the gauge moved too seldom in it is one that drew little: all or none
    able = [levels for levels in tried if all(level.power_w is not None for level in levels.levels)]
    return (able[0], contrasts(able[0].levels)) if able else (tried[0], ())


def _report(trace: Trace, levels: "Levels", pairs: Sequence["Contrast"], *, secs: float) -> EnergyReport:
    observed = _observations(pairs)
    known = bool(observed) and levels.changes_s is not None
    estimate = mean(observed) if known else 0.0
    random = student.half_width(observed) if known else None
    rounding = 2000 * levels.rounding_w / mean([pair.rate_per_s for pair in pairs]) if known else 0.0
    systematic = rounding + levels.unsettled * abs(estimate) if isfinite(levels.unsettled) else None
    half = None if random is None or systematic is None else random + systematic
    resolved = known and (random is None or (half is not None and half < estimate))
    loads = [level for level in levels.levels if level.block.kind == "load"]
    return EnergyReport(
        gauge=trace.gauge,
        method=levels.method,
        energy_per_inference_mj=estimate if resolved else None,
        interval_mj=None if half is None else (max(0.0, estimate - half), max(0.0, estimate + half)),
        level=student.LEVEL,
        idle_power_w=_mean_power(levels, "idle"),
        load_power_w=_mean_power(levels, "load"),
        inferences=sum(level.block.inferences for level in loads),
        blocks=len(loads),
        processes=len({level.block.process for level in loads}),
        update_interval_s=levels.changes_s,
        lag_s=levels.lag_s,
        resolution_w=levels.step_w,
        systematic_mj=systematic if known else None,
        resolvable_mj=None if random is None else half or random + rounding,
        needed_secs=_needed(levels, estimate, random, rounding, secs),
    )


def _observations(pairs: Sequence["Contrast"]) -> list[float]:
    """Energy of an inference, mJ, of each process; of each block where there are few processes."""
    processes = sorted({pair.process for pair in pairs})
    if len(processes) < MIN_PROCESSES:
        return [pair.energy_mj for pair in pairs]
    return [mean([pair.energy_mj for pair in pairs if pair.process == process]) for process in processes]


def _mean_power(levels: "Levels", kind: str) -> float | None:
    known = [
        (level.power_w, level.block.secs)
        for level in levels.levels
        if level.block.kind == kind and level.power_w is not None
    ]
    return sum(power * secs for power, secs in known) / sum(secs for _, secs in known) if known else None


def _needed(levels: "Levels", estimate: float, random: float | None, rounding: float, secs: float) -> float | None:
    """Seconds of a run whose scatter and rounding together are a tenth of the energy.

    Where even the sign of the energy is open it may be as large as the interval's upper end, and no larger: then this
    is the least that may do.
    """
    if levels.needed_block_s is not None:
        return needed_schedule(levels.needed_block_s)
    if random is None:
        return None
    half = random + rounding + (levels.unsettled * abs(estimate) if isfinite(levels.unsettled) else 0.0)
    largest = estimate if half < estimate else estimate + half
    left = RESOLVED * largest - rounding
    if half <= RESOLVED * largest or left <= 0:
        return None
    return float(max(secs, secs * (random / left) ** 2))


def _judge(report: EnergyReport, levels: "Levels", pairs: Sequence["Contrast"]) -> Iterator[FindingEntry]:
    from edgekit.bench.power.findings import finding

    name = report.gauge.name
    longer = f"Use --energy-secs {report.needed_secs:.0f}s." if report.needed_secs else ""
    if levels.changes_s is None:
        yield finding(
            "warning",
            "gauge-stuck",
            f"{name} never changed: it is stuck, or its steps are larger than all that happened.",
            "Use a finer gauge (--gauge), or an external meter.",
        )
    elif not pairs:
        every = f"every {levels.changes_s:.2g} s" + (f", {levels.lag_s:.2g} s late" if levels.lag_s else "")
        shortest = min(level.block.secs for level in levels.levels)
        coarse = f", or its steps of {levels.step_w:.2g} W hide them" if levels.step_w and not levels.lag_s else ""
        yield finding(
            "warning",
            "gauge-slow",
            f"{name} changes {every}: too slow for blocks of {shortest:.1f} s{coarse}.",
            longer or "Use a faster gauge (--gauge), or an external meter.",
        )
    elif report.interval_mj is None and report.blocks > 1:
        yield finding(
            "warning",
            "below-resolution",
            f"{name} cannot tell this load from idle, nor how far it is behind: an inference that is to be seen must "
            f"cost more than {report.resolvable_mj:.3g} mJ.",
            f"{longer[:-1]} or more, or a finer gauge." if longer else "No length of a run helps; use a finer gauge.",
        )
    elif report.interval_mj is None:
        yield finding(
            "warning",
            "one-block",
            "One block of load tells nothing of the next: there is no interval.",
            "Measure with edgekit bench --energy.",
        )
    elif report.interval_mj[1] <= 0:
        yield finding(
            "error",
            "gauge-impossible",
            f"{name} tells of less power under load than while idle.",
            "Something else ran on the device while it was idle, or the driver has the sign wrong (docs/sensors.md).",
        )
    elif report.energy_per_inference_mj is None:
        yield finding(
            "warning",
            "below-resolution",
            f"{name} cannot tell this load from idle: an inference costs at most {report.interval_mj[1]:.3g} mJ.",
            f"{longer[:-1]} or more, or a finer gauge." if longer else "No length of a run helps; use a finer gauge.",
        )
    elif report.processes < MIN_PROCESSES:
        yield finding(
            "warning",
            "few-processes",
            f"{report.processes} processes: the interval holds for them, the next may differ more.",
            "Measure with edgekit bench --energy.",
        )

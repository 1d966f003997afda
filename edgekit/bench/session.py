"""Everything ``edgekit bench`` was asked for, one part after the other over one connection, as one report."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from edgekit.artifact import Artifact
from edgekit.bench.coverage_run import measure_coverage, start_if_needed, target_of
from edgekit.bench.heat.sustained import summarize_sustained, sustained_schedule
from edgekit.bench.plan import BenchOptions, Configuration, Subject, configurations, read_subject
from edgekit.bench.power.battery import BATTERY_SECS, IDLE_SHARE, battery_schedule, summarize_battery
from edgekit.bench.power.choice import choose_battery, choose_gauge
from edgekit.bench.power.energy import ENERGY_PROCESSES, ENERGY_SECS, energy_schedule, summarize_energy
from edgekit.bench.power.external import Meter, record_beside
from edgekit.bench.profile import measure_profile
from edgekit.bench.record import OnSecond, record
from edgekit.bench.recording import Recording, Segment, gauge_notes
from edgekit.bench.report import BenchmarkReport
from edgekit.bench.run import bench
from edgekit.bench.stages import measure_stages, read_way
from edgekit.bench.throughput import ThroughputReport, measure_throughput, tune_threads
from edgekit.entries import FindingEntry
from edgekit.progress import Progress, silent
from edgekit.transport import Connection

OF_THE_MACHINE = frozenset({"emulated", "virtual", "battery-current-sign"})
"""Findings that are true of every part of a run; said once."""
OF_THE_RUN = frozenset({"throttled", "clock-jumped"})
"""Those of a recording that two parts are read from."""


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What is measured beside latency and memory."""

    energy: bool = False
    """Joules of an inference."""
    energy_secs: float = ENERGY_SECS
    gauge: str | None = None
    """The gauge for energy and battery; None: the best there is."""
    battery: bool = False
    """Drain, and hours of operation."""
    battery_secs: float = BATTERY_SECS
    """Of a battery run without ``sustained_secs``."""
    sustained_secs: float | None = None
    """Seconds of load without a break; None: no sustained run."""
    rate_per_s: float | None = None
    """Inferences per second of the sustained load and the battery's; None: as fast as they go."""
    whole_way: bool = False
    """Pre- and postprocessing, timed apart."""
    sample: Path | None = None
    """What the whole way begins with; None: drawn."""
    streams: tuple[int, ...] = ()
    """Numbers of interpreters at once."""
    tune_threads: bool = False
    """Every sensible number of threads and streams."""
    profile: bool = False
    """The time of each op."""
    coverage: bool = False
    """Which ops the delegate took, and the time without it; always where a library stands for the CPU."""
    allow_fallback: bool = False
    """Where that library cannot be used, the CPU runs the model, and that is said."""


def run_session(
    model: Artifact | Path,
    connection: Connection,
    options: BenchOptions,
    parts: Parts,
    *,
    meter: Meter | None = None,
    progress: Progress = silent,
) -> BenchmarkReport:
    """The report of all parts; see ``measure_parts``."""
    *_, report = measure_parts(model, connection, options, parts, meter=meter, progress=progress)
    return report


def measure_parts(
    model: Artifact | Path,
    connection: Connection,
    options: BenchOptions,
    parts: Parts,
    *,
    meter: Meter | None = None,
    progress: Progress = silent,
) -> Iterator[BenchmarkReport]:
    """Latency and memory first, from a cool device, and what lasts longest last; after each part the report so far.

    ``meter``: an external one, which is the gauge for energy then.

    Raises what ``bench``, ``record`` and the summaries do: DeviceFaultError without a gauge that can be read, DataError
    for a sample that does not fit, TransportError. What was yielded before stays true: ``mark_incomplete``.
    """
    target = target_of(model, connection)
    start = start_if_needed(
        model, connection, options, wanted=parts.coverage, allow_fallback=parts.allow_fallback
    )  # a delegate that cannot be used is said before minutes of measuring
    if start is not None:
        model, options = start.model, start.options
    subject = read_subject(model)
    first = configurations(subject, options, connection.device)[0]
    if parts.whole_way:
        read_way(model, parts.sample)  # what is wrong with a sample is said before minutes of measuring
    _check_gauges(first, connection, options, parts, metered=meter is not None)
    report = bench(model, connection, options, on_progress=_counting(progress, "latency"))
    yield report
    if start is not None:
        seconds = _seconds(progress, "with and without the delegate")
        coverage, said = measure_coverage(start, connection, target=target, on_progress=seconds)
        yield (report := _with(report, "Coverage", said, coverage=coverage))
    if parts.profile:
        told = _counting(progress, "profile")
        profile, found = measure_profile(model, connection, options, on_progress=told)
        yield (report := _with(report, "Profile", found, profile=profile))
    if parts.whole_way:
        told = _counting(progress, "whole way")
        stages, found = measure_stages(model, connection, options, sample=parts.sample, on_progress=told)
        yield (report := _with(report, "Whole way", found, stages=stages))
    if parts.tune_threads or parts.streams:
        throughput, found = _throughput(subject, connection, options, parts, progress)
        yield (report := _with(report, "Streams", found, throughput=throughput))
    if parts.energy:
        yield (report := _energy(report, first, connection, options, parts, meter, progress))
    if parts.sustained_secs is not None or parts.battery:
        yield _lasting(report, first, connection, options, parts, progress)


def mark_incomplete(report: BenchmarkReport, why: str) -> BenchmarkReport:
    """A report whose later parts are missing: invalid, and worth keeping for what it has."""
    finding = FindingEntry(
        name="incomplete",
        severity="error",
        message=f"The run ended before all of it was measured: {why}",
        fix="What is here was measured; measure again for the rest.",
    )
    marked: BenchmarkReport = replace(report, findings=(finding, *report.findings))
    return marked


def _throughput(
    subject: Subject, connection: Connection, options: BenchOptions, parts: Parts, progress: Progress
) -> tuple[ThroughputReport, tuple[FindingEntry, ...]]:
    if parts.tune_threads:
        return tune_threads(subject, connection, options, on_progress=_counting(progress, "threads"))
    return measure_throughput(
        subject,
        connection,
        options,
        streams=parts.streams,
        num_threads=options.num_threads,
        on_progress=_counting(progress, "streams"),
    )


def _check_gauges(
    first: Configuration, connection: Connection, options: BenchOptions, parts: Parts, *, metered: bool
) -> None:
    """Raise DeviceFaultError before minutes of measuring, where energy or battery have no gauge to be read from."""
    if not (parts.battery or (parts.energy and not metered)):
        return
    cold: BenchOptions = replace(options, cooldown_c=None)
    there = record(first, connection, (), cold, processes=0)
    if parts.energy and not metered:
        choose_gauge(there.traces, parts.gauge, blocked=there.blocked)
    if parts.battery:
        choose_battery(there.traces, parts.gauge)


def _energy(
    report: BenchmarkReport,
    first: Configuration,
    connection: Connection,
    options: BenchOptions,
    parts: Parts,
    meter: Meter | None,
    progress: Progress,
) -> BenchmarkReport:
    def take() -> Recording:
        return record(
            first,
            connection,
            energy_schedule(parts.energy_secs),
            options,
            processes=ENERGY_PROCESSES,
            on_second=_seconds(progress, "energy"),
        )

    recording, said = (take(), ()) if meter is None else record_beside(meter, connection, take)
    energy, found = summarize_energy(recording, gauge=parts.gauge if meter is None else meter.gauge.name)
    findings = (*said, *gauge_notes(recording), *found)
    recordings = {**report.recordings, "energy": recording}
    return _with(report, "Energy", findings, energy=energy, recordings=recordings)


def _lasting(
    report: BenchmarkReport,
    first: Configuration,
    connection: Connection,
    options: BenchOptions,
    parts: Parts,
    progress: Progress,
) -> BenchmarkReport:
    recording = record(
        first, connection, lasting_schedule(parts), options, processes=1, on_second=_seconds(progress, "sustained")
    )
    recordings = {**report.recordings, "sustained": recording}
    report = _with(report, "Sustained", gauge_notes(recording), recordings=recordings)
    if parts.sustained_secs is not None:
        sustained, found = summarize_sustained(recording)
        report = _with(report, "Sustained", found, sustained=sustained)
    if parts.battery:
        battery, found = summarize_battery(recording, rate_per_s=parts.rate_per_s, gauge=parts.gauge)
        same = OF_THE_MACHINE if parts.sustained_secs is None else OF_THE_MACHINE | OF_THE_RUN
        report = _with(report, "Battery", found, same=same, battery=battery)
    return report


def _counting(progress: Progress, step: str) -> Callable[[int, int], None]:
    return lambda done, total: progress(step, done, total)


def _seconds(progress: Progress, step: str) -> OnSecond:
    return lambda done, total: progress(f"{step}, s", round(done), round(total))


def _with(
    report: BenchmarkReport,
    part: str,
    findings: Iterable[FindingEntry],
    *,
    same: frozenset[str] = OF_THE_MACHINE,
    **parts: Any,
) -> BenchmarkReport:
    """With these parts and findings. What was found before, and is again with other figures, says in which part.

    same: names of findings that would say the same again.
    """
    known = {item.name: item.severity for item in report.findings}
    said = {item.message for item in report.findings}
    new = [
        replace(item, message=f"{part}: {item.message}") if item.name in known else item
        for item in findings
        if item.message not in said and not (item.name in same and known.get(item.name) == item.severity)
    ]
    changed: BenchmarkReport = replace(report, findings=(*report.findings, *new), **parts)
    return changed


def lasting_schedule(parts: Parts) -> tuple[Segment, ...]:
    """One load without a break, for heat and battery both; a battery's has idle time before and after it."""
    if not parts.battery:
        return sustained_schedule(parts.sustained_secs or 0.0, parts.rate_per_s)
    load = parts.sustained_secs
    whole = parts.battery_secs if load is None else load / (1 - 2 * IDLE_SHARE)
    return battery_schedule(whole, parts.rate_per_s)

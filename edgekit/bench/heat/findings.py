"""What a sustained run is worth: findings. Pure.

Throttling is what such a run is to show, and makes none invalid; a clock that was set or a sensor that vanished does.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from msgspec.structs import replace

from edgekit.bench.findings import (
    Severity,
    clock_findings,
    load_findings,
    machine_findings,
)
from edgekit.bench.heat.plateau import TOLERANCE
from edgekit.bench.heat.throttling import Cause, find_causes
from edgekit.bench.recording import Recording
from edgekit.bench.samples import MachineState
from edgekit.entries import FindingEntry

if TYPE_CHECKING:
    from edgekit.bench.heat.sustained import SustainedReport

MISSING = 0.05
"""Share of the looks in which a sensor may give no answer; some are busy now and then (EAGAIN)."""


def find_heat(
    recording: Recording, states: Sequence[MachineState], report: "SustainedReport"
) -> Iterator[FindingEntry]:
    """Everything a user should know about a sustained run; ``states``: those under load. The errors first."""
    yield from clock_findings([states])
    yield from _vanished(states, report.zone)
    causes = find_causes(recording.before, states, recording.after)
    yield from _throttled(report, causes)
    yield from _changes(report)
    yield from _late(report)
    yield from _load(recording, states)
    yield from machine_findings(recording.machine, recording.before, recording.after)
    yield from _unknown(report, states)


def _finding(severity: Severity, name: str, message: str, fix: str) -> Iterator[FindingEntry]:
    yield FindingEntry(name=name, severity=severity, message=message, fix=fix)


def _vanished(states: Sequence[MachineState], zone: str | None) -> Iterator[FindingEntry]:
    looks: dict[str, list[bool]] = {}
    if zone is not None:
        looks[f"temperature {zone}"] = [zone in state.temperatures_c for state in states]
    for policy in sorted({policy.name for state in states for policy in state.policies}):
        looks[f"clock {policy}"] = [any(own.name == policy for own in state.policies) for state in states]
    for name, seen in looks.items():
        since = seen[seen.index(True) :]
        missing = since.count(False)
        if missing > MISSING * len(since):
            yield from _finding(
                "error",
                "sensor-vanished",
                f"The {name} was missing in {missing} of {len(since)} looks at the device, after it had been there.",
                "See the kernel's log (dmesg): a driver that was removed, or a CPU that the kernel took offline.",
            )


def _throttled(report: "SustainedReport", causes: Sequence[Cause]) -> Iterator[FindingEntry]:
    if causes:
        secs = report.throttled_s
        long = f" for {secs:.0f} of {report.secs:.0f} s" if secs else ", between two looks at it"
        yield from _finding(
            "warning",
            "throttled",
            f"The device throttled{long}: {'; '.join(map(str, causes))}. {_figures(report)}",
            " ".join(dict.fromkeys(cause.fix for cause in causes)),
        )
    elif report.slowdown_interval[0] > 1 + TOLERANCE:
        told = "tells nothing about throttling" if report.throttled_s is None else "says that it did not throttle"
        yield from _finding(
            "warning",
            "slower",
            f"The plateau is slower than the first minute, and the device {told}. {_figures(report)}",
            "Look at its temperature and clock in the report, and at what else runs there; heat is the usual cause.",
        )


def _figures(report: "SustainedReport") -> str:
    first, plateau = report.first_minute, report.plateau
    facts = [f"latency {first.median_ms:.4g} to {plateau.median_ms:.4g} ms"]
    if first.temperature_c and plateau.temperature_c:
        facts.append(f"{report.zone} {first.temperature_c[0]:.0f} to {plateau.temperature_c[1]:.0f} C")
    if first.mhz and plateau.mhz:
        facts.append(f"clock {first.mhz[1]:.0f} to {plateau.mhz[0]:.0f} MHz")
    return f"From the first minute to the plateau: {', '.join(facts)}."


def _changes(report: "SustainedReport") -> Iterator[FindingEntry]:
    if not report.settled:
        yield from _finding(
            "warning",
            "not-settled",
            f"After {report.secs:.0f} s the latency still changes: the last third stands for a plateau.",
            f"Run it longer, such as --sustained {max(1, round(2 * report.secs / 60))}m.",
        )
    if report.first_minute.end_s < 0.9 * 60:
        yield from _finding(
            "info",
            "short-run",
            f"In a run of {report.secs:.0f} s the first {report.first_minute.end_s:.0f} s stand for the first minute.",
            "Heat takes minutes: use --sustained 10m.",
        )


def _late(report: "SustainedReport") -> Iterator[FindingEntry]:
    if report.late:
        yield from _finding(
            "warning",
            "late",
            f"{report.late} of {report.inferences} inferences began more than one period late: "
            f"{report.inferences / report.secs:.1f} a second were run, {report.rate_per_s:g} a second were asked for.",
            "Ask for fewer, stop other programs, use more threads or a smaller model.",
        )


def _load(recording: Recording, states: Sequence[MachineState]) -> Iterator[FindingEntry]:
    """What others did: the model's own process is not the one whose share the states tell."""
    last = states[-1] if states else None
    if last is None or last.cpu_time_s is None:
        return
    wall = (last.monotonic_ns - states[0].monotonic_ns) / 1e9
    under_load = sum(window.end_ns - window.start_ns for window in recording.windows) / 1e9
    model = wall * sum(window.cpu_s for window in recording.windows) / max(1e-9, under_load)
    times = replace(last.cpu_time_s, own=last.cpu_time_s.own + model)
    yield from load_findings([(states[0], replace(last, cpu_time_s=times))])


def _unknown(report: "SustainedReport", states: Sequence[MachineState]) -> Iterator[FindingEntry]:
    if report.zone is None:
        yield from _finding(
            "info",
            "temperature-unknown",
            "The device does not tell the temperature of its CPU, so that nobody knows whether it became hot.",
            "Virtual machines hide it; on a board, mount /sys; a PC may need coretemp or k10temp loaded.",
        )
    if not any(policy.khz for state in states for policy in state.policies):
        yield from _finding(
            "info",
            "frequency-unknown",
            "The device does not tell the frequency of its CPUs, so that nobody knows whether it moved.",
            "Virtual machines hide it; on a board, mount /sys.",
        )

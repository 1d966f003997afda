"""What a measurement is worth: findings from the machine's states. Pure.

Severity ``error`` makes the run invalid: a clock or a throttle bit moved while samples were taken.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Literal

from edgekit.bench.heat.throttling import explain, find_causes
from edgekit.bench.samples import MachineFacts, MachineState, Measurement, Policy, ProcessSamples
from edgekit.bench.statistics import median
from edgekit.entries import FindingEntry

Severity = Literal["info", "warning", "error"]
FREQUENCY_TOLERANCE = 1.05
"""Highest over lowest frequency under the process; x86 reports a measured mean that wanders by a few per cent."""
CLOCK_JUMP_NS = 50_000_000
CLOCK_DRIFT = 0.001
"""NTP slews a clock by at most 0.05 % (adjtimex(2)); beyond this, and the 50 ms, somebody set it."""
NOISE_TOLERANCE = 1.1
"""Highest over lowest median of the processes."""
BUSY_CPUS = 0.2
"""CPUs that others kept busy meanwhile."""
STOLEN = 0.01
"""Share of the time that a hypervisor took away."""
FEW_SAMPLES = 1000
"""Below this p99 rests on fewer than ten samples."""


def find(measurement: Measurement) -> tuple[FindingEntry, ...]:
    """Everything a user should know about these numbers; the errors first."""
    return (
        *clock_findings(process.during for process in measurement.processes),
        *frequency_findings(_during(measurement.processes)),
        *throttle_findings(measurement.before, _during(measurement.processes), measurement.after),
        *machine_findings(measurement.machine, measurement.before, measurement.after),
        *load_findings(process.during for process in measurement.processes),
        *_samples(measurement.processes),
    )


def is_emulated(measurement: Measurement) -> bool:
    """Whether the CPU is emulated, so that no latency means anything."""
    return measurement.machine.emulated is not None


def _finding(severity: Severity, name: str, message: str, fix: str) -> Iterator[FindingEntry]:
    yield FindingEntry(name=name, severity=severity, message=message, fix=fix)


def _during(processes: Iterable[ProcessSamples]) -> list[MachineState]:
    return [state for process in processes for state in process.during]


def clock_findings(runs: Iterable[Sequence[MachineState]]) -> Iterator[FindingEntry]:
    """An error where the clock was set or the device slept; ``runs``: looks at a machine that follow each other."""
    jump = suspended = 0
    for states in runs:
        for earlier, later in pairwise(states):
            elapsed = later.monotonic_ns - earlier.monotonic_ns
            moved = later.clock_offset_ns - earlier.clock_offset_ns
            slept = later.suspended_ns - earlier.suspended_ns
            limit = CLOCK_JUMP_NS + CLOCK_DRIFT * elapsed
            jump = max(jump, moved, key=abs) if abs(moved) > limit else jump
            suspended = max(suspended, slept) if slept > limit else suspended
    if jump or suspended:
        what = (
            f"was suspended for {suspended / 1e9:.3f} s" if suspended else f"had its clock set by {jump / 1e9:+.3f} s"
        )
        yield from _finding(
            "error",
            "clock-jumped",
            f"The device {what} while samples were taken.",
            "Wait until its time is synchronized (timedatectl), keep it awake, and measure again.",
        )


def frequency_findings(states: Sequence[MachineState]) -> Iterator[FindingEntry]:
    """An error where the clock of the CPUs moved between ``states``; a warning about a governor that moves it."""
    seen = clocks_khz(states)
    if not seen:
        yield from _finding(
            "info",
            "frequency-unknown",
            "The device does not tell the frequency of its CPUs, so that nobody knows whether it moved.",
            "Virtual machines hide it; on a board, mount /sys.",
        )
    elif max(seen) > FREQUENCY_TOLERANCE * min(seen):
        yield from _finding(
            "error",
            "frequency-moved",
            f"The CPU frequency moved between {min(seen) / 1000:.0f} and {max(seen) / 1000:.0f} MHz "
            "while samples were taken.",
            "Set the clock with --governor performance, bind the process with --cpu-mask, and cool the board.",
        )
    governors = {policy.governor for state in states for policy in _own(state)}
    others = sorted(governor for governor in governors if governor not in {None, "performance"} and governor)
    if others:
        yield from _finding(
            "warning",
            "governor",
            f"The CPU governor is {', '.join(others)}: the clock follows the load.",
            "Use --governor performance, or read the numbers as those of an application that runs like this.",
        )


def clocks_khz(states: Sequence[MachineState]) -> list[int]:
    """Every frequency that was seen of the CPUs that count."""
    return [policy.khz for state in states for policy in _own(state) if policy.khz]


def _own(state: MachineState) -> list[Policy]:
    """The clocks that count: the one of the CPU the process is on, else all."""
    own = [policy for policy in state.policies if state.cpu in policy.cpus]
    return own or list(state.policies)


def throttle_findings(
    before: MachineState, states: Sequence[MachineState], after: MachineState
) -> Iterator[FindingEntry]:
    """An error where the device throttled in ``states``, or between ``before`` and ``after`` them by its counters."""
    causes = find_causes(before, states, after)
    since = [state.firmware_throttle.since_boot for state in (before, *states, after) if state.firmware_throttle]
    if causes:
        yield from _finding(
            "error",
            "throttled",
            f"The device throttled while samples were taken: {'; '.join(map(str, causes))}.",
            f"{' '.join(dict.fromkeys(cause.fix for cause in causes))} Then measure again.",
        )
    elif since and since[0]:
        yield from _finding(
            "info",
            "throttled-before",
            f"The device throttled at some time since it was started: "
            f"{'; '.join(map(str, explain(sorted(since[0]))))}.",
            "These samples were not touched; look at cooling and power supply all the same.",
        )


def machine_findings(facts: MachineFacts, before: MachineState, after: MachineState) -> Iterator[FindingEntry]:
    """What the device is, emulated or virtual, and whether memory went to swap meanwhile."""
    if facts.emulated is not None:
        yield from _finding(
            "warning",
            "emulated",
            f"The CPU is emulated, and the latency is not a device's: {facts.emulated}.",
            "Measure on the device itself; emulation tests that a model runs, never how fast.",
        )
    elif facts.virtual:
        yield from _finding(
            "info",
            "virtual",
            "This is a virtual machine: its CPUs are shared with others, and their clocks are hidden.",
            "Compare only runs that were interleaved on the same machine.",
        )
    swap = [state.swap_used_bytes for state in (before, after)]
    if swap[0] is not None and swap[1] is not None and swap[1] > swap[0]:
        yield from _finding(
            "warning",
            "swapped",
            f"{(swap[1] - swap[0]) / 2**20:.1f} MiB went to swap meanwhile: memory is short.",
            "Stop other programs, or use a smaller model.",
        )


def load_findings(runs: Iterable[Sequence[MachineState]]) -> Iterator[FindingEntry]:
    """Warnings where others used the CPUs; ``runs``: looks at a machine, of which the first and the last count."""
    wall = busy = steal = 0.0
    for states in runs:
        first, last = states[0], states[-1]
        if first.cpu_time_s is None or last.cpu_time_s is None:
            return
        wall += (last.monotonic_ns - first.monotonic_ns) / 1e9
        own = last.cpu_time_s.own - first.cpu_time_s.own
        busy += last.cpu_time_s.busy - first.cpu_time_s.busy - own
        steal += last.cpu_time_s.steal - first.cpu_time_s.steal
    if wall > 0 and busy > BUSY_CPUS * wall:
        yield from _finding(
            "warning",
            "other-load",
            f"Other programs kept {busy / wall:.1f} CPUs busy while samples were taken.",
            "Stop them, or bind the model to CPUs of its own with --cpu-mask.",
        )
    if wall > 0 and steal > STOLEN * wall:
        yield from _finding(
            "warning",
            "stolen-time",
            f"The hypervisor gave {100 * steal / wall:.1f} % of the time to somebody else.",
            "Measure on a machine of its own.",
        )


def _samples(processes: Iterable[ProcessSamples]) -> Iterator[FindingEntry]:
    groups: dict[int, list[ProcessSamples]] = {}
    for process in processes:
        groups.setdefault(process.configuration, []).append(process)
    for group in groups.values():
        threads = group[0].num_threads
        yield from _spread(f"{threads} thread{'s' * (threads > 1)}", group)


def _spread(name: str, group: list[ProcessSamples]) -> Iterator[FindingEntry]:
    count = sum(len(process.samples_ns) for process in group)
    medians = [median(process.samples_ns) for process in group]
    if len(group) == 1:
        yield from _finding(
            "warning",
            "one-process",
            f"{name}: one process alone; the interval is within this process, the next may differ more.",
            "Use --processes 5.",
        )
    elif max(medians) > NOISE_TOLERANCE * min(medians):
        spread = 100 * (max(medians) / max(1, min(medians)) - 1)
        yield from _finding(
            "warning",
            "noise",
            f"{name}: the medians of the processes differ by {spread:.0f} %.",
            "Stop other programs, hold the clock with --governor performance, or use more --processes.",
        )
    if count < FEW_SAMPLES:
        yield from _finding(
            "info",
            "few-runs",
            f"{name}: p99 of {count} samples rests on {max(1, count // 100)} of them.",
            "Use a larger --num-runs or --min-secs for the tail.",
        )

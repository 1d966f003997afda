"""What the readings of a gauge are worth: findings from its trace. Pure.

Severity ``error`` makes the run invalid: what was read is not what the device drew.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from math import isfinite

from msgspec.structs import replace

from edgekit.bench.findings import Severity, clock_findings, throttle_findings
from edgekit.bench.power.blocks import NS_PER_S, Block, origin_ns
from edgekit.bench.power.choice import CHANNELS, Method
from edgekit.bench.recording import ChannelName, Recording, Trace
from edgekit.entries import FindingEntry

SILENCE_S = 2.0
"""Without an answer for this long, or for ten readings if that is longer, a gauge has vanished."""
SILENT_READINGS = 10
FULL = 100
"""Per cents of a battery's charge."""
DROPPED = 0.01
"""Share of readings without an answer from which on it is said."""


def finding(severity: Severity, name: str, message: str, fix: str) -> FindingEntry:
    """One finding."""
    return FindingEntry(name=name, severity=severity, message=message, fix=fix)


def check_recording(recording: Recording, *, throttled: Severity = "error") -> Iterator[FindingEntry]:
    """What the machine's states say about any analysis of its gauges.

    throttled: what throttling is. The energy of an inference is another one then; a battery's drain is what it is.
    """
    yield from clock_findings([recording.states])
    for entry in throttle_findings(recording.before, recording.states, recording.after):
        yield replace(entry, severity=throttled) if entry.severity == "error" else entry
    if recording.machine.emulated is not None:
        yield finding(
            "warning",
            "emulated",
            f"The CPU is emulated; energy and drain are not a device's: {recording.machine.emulated}.",
            "Measure on the device itself.",
        )


def check_trace(
    trace: Trace, names: Sequence[ChannelName], recording: Recording, found: Sequence[Block]
) -> Iterator[FindingEntry]:
    """What is wrong with the readings of the channels ``names`` while the blocks ran."""
    zero = origin_ns(recording)
    start, end = found[0].start_s, found[-1].end_s
    rows = [
        ((moment - zero) / NS_PER_S, [trace.values[name][place] for name in names])
        for place, moment in enumerate(trace.monotonic_ns)
    ]
    rows = [(moment, values) for moment, values in rows if start <= moment <= end]
    yield from _silence(trace, rows, start, end)
    values = [value for _, row in rows for value in row if value is not None]
    if not all(isfinite(value) for value in values):
        yield _impossible(trace, "a value that is no number")
    percent = [value for value in trace.values.get("capacity_percent", ()) if value is not None]
    if "capacity_percent" in names and not all(0 <= value <= FULL for value in percent):
        yield _impossible(trace, f"a charge of {min(percent):g} to {max(percent):g} %")
    yield from _supply(trace, start, end, zero)
    if not trace.gauge.whole_device:
        yield finding(
            "info",
            "gauge-partial",
            f"{trace.gauge.name} measures a part of the device: {trace.gauge.covers}.",
            "An external meter at the supply measures all of it.",
        )


def check_power(trace: Trace, method: Method, watts: Sequence[float], step_w: float) -> Iterator[FindingEntry]:
    """Errors where the mean power of a block is below 0: it is being charged, or the driver has the sign wrong."""
    lowest = min(watts, default=0.0)
    if lowest >= -step_w:
        return
    if "on_battery" in trace.gauge.channels or method == "charge":
        yield _charging(trace, f"{-lowest:.3g} W flowed into it")
    else:
        yield _impossible(trace, f"a device that draws {lowest:.3g} W")


def _silence(
    trace: Trace, rows: Sequence[tuple[float, list[float | None]]], start: float, end: float
) -> Iterator[FindingEntry]:
    answered = [moment for moment, values in rows if None not in values]
    longest = max((later - earlier for earlier, later in pairwise([start, *answered, end])), default=end - start)
    limit = max(SILENCE_S, SILENT_READINGS * trace.gauge.interval_s)
    if not answered or longest > limit:
        since = f"for {longest:.1f} s" if answered else "at all"
        yield finding(
            "error",
            "gauge-vanished",
            f"{trace.gauge.name} did not answer {since} while samples were taken.",
            "Look at its cable, its driver and `dmesg`, and measure again.",
        )
    elif len(answered) < (1 - DROPPED) * len(rows):
        yield finding(
            "info",
            "readings-dropped",
            f"{trace.gauge.name} did not answer {len(rows) - len(answered)} of {len(rows)} times; "
            "the time between its answers was integrated.",
            "Nothing to do: the interval holds what this may cost.",
        )


def _supply(trace: Trace, start: float, end: float, zero: int) -> Iterator[FindingEntry]:
    """A battery tells what the device draws only while nothing charges it."""
    states = {
        value
        for moment, value in zip(trace.monotonic_ns, trace.values.get("on_battery", ()), strict=False)
        if value is not None and start <= (moment - zero) / NS_PER_S <= end
    }
    if len(states) > 1:
        yield finding(
            "error",
            "supply-changed",
            f"The charger of {trace.gauge.name} was plugged in or pulled out while samples were taken.",
            "Leave it alone for the whole run; unplugged to measure the battery.",
        )
    elif states == {0.0}:
        yield _charging(trace, "it was not discharging")


def _charging(trace: Trace, why: str) -> FindingEntry:
    return finding(
        "error",
        "charging",
        f"{trace.gauge.name} does not tell what the device draws: {why}.",
        "Unplug the charger and measure again, or name another gauge with --gauge.",
    )


def _impossible(trace: Trace, what: str) -> FindingEntry:
    return finding(
        "error",
        "gauge-impossible",
        f"{trace.gauge.name} tells of {what}.",
        "Compare it with another meter; wrong signs are known of some drivers (docs/sensors.md).",
    )


def resets(trace: Trace, method: Method, count: int) -> Iterator[FindingEntry]:
    """A warning where a counter started again without saying so."""
    if count:
        yield finding(
            "warning",
            "counter-reset",
            f"{CHANNELS[method][0]} of {trace.gauge.name} fell {count} times; these moments were left out.",
            "Look at its driver with `dmesg`; a suspend resets some.",
        )

"""What the agent's ``record`` says -> frozen values: segments of idle and load, windows of latencies, traces of gauges.

All times are nanoseconds of the device's CLOCK_MONOTONIC, which all of its processes share.
"""

from collections.abc import Iterable
from itertools import pairwise
from typing import Annotated, Any, Literal

import msgspec

from edgekit.bench.samples import (
    Count,
    Duration,
    MachineFacts,
    MachineState,
    Milliseconds,
    Moment,
    Number,
    RuntimeFacts,
    Text,
)
from edgekit.documents import Document, convert
from edgekit.entries import FindingEntry
from edgekit.errors import DeviceFaultError

ChannelName = Literal["power_w", "energy_j", "charge_c", "current_a", "voltage_v", "capacity_percent", "on_battery"]
"""As ``edgekit.agent.gauges.CHANNELS`` explains them."""
Positive = Annotated[float, msgspec.Meta(gt=0, le=1e15)]
MAX_EVENTS = 2_000_000
MAX_READINGS = 20_000_000


class Segment(Document, frozen=True, kw_only=True):
    """A stretch of a schedule that is asked for."""

    kind: Literal["idle", "load"]
    """``idle``: the process sleeps, the model loaded. ``load``: it runs inferences."""
    secs: Annotated[float, msgspec.Meta(gt=0, le=86_400)]
    rate_per_s: Annotated[float, msgspec.Meta(gt=0, le=1e6)] | None = None
    """Inferences per second of a load; None: one after the other, as fast as they go."""


class Channel(Document, frozen=True, kw_only=True):
    """One value that a gauge gives."""

    resolution: Positive | None
    """Smallest step in its unit; None: not told."""
    wraps_at: Positive | None
    """Where a counter starts again at 0."""


class GaugeNote(Document, frozen=True, kw_only=True):
    """What the driver of a gauge does wrong, and what was made of it."""

    name: Text
    message: Text
    fix: Text


class Gauge(Document, frozen=True, kw_only=True):
    """Something that measures what a device draws."""

    name: Text
    sensor: Text
    covers: Text
    """What is behind it and what is not."""
    whole_device: bool
    """It covers all that the device draws."""
    channels: dict[ChannelName, Channel]
    interval_s: Positive
    """How often it is read, at most."""
    capacity_j: Positive | None = None
    """Energy of a full battery."""
    notes: tuple[GaugeNote, ...] = ()


class Trace(Document, frozen=True, kw_only=True):
    """The readings of one gauge, in order."""

    gauge: Gauge
    monotonic_ns: tuple[Moment, ...]
    values: dict[ChannelName, tuple[Number | None, ...]]
    """One for each time; None: the gauge did not answer."""


class Stretch(Document, frozen=True, kw_only=True):
    """A segment as it was run."""

    process: Count
    segment: Count
    """Its place in the schedule."""
    start_ns: Moment
    end_ns: Moment
    inferences: Count


class Window(Document, frozen=True, kw_only=True):
    """The inferences of about a second."""

    process: Count
    segment: Count
    start_ns: Moment
    end_ns: Moment
    count: Annotated[int, msgspec.Meta(ge=1, le=2**62)]
    min_ns: Duration
    p50_ns: Duration
    p90_ns: Duration
    p99_ns: Duration
    max_ns: Duration
    mean_ns: Annotated[float, msgspec.Meta(ge=0, le=2**62)]
    cpu_s: Annotated[float, msgspec.Meta(ge=0, le=1e15)]
    """Seconds of CPU that the process used meanwhile, over all its threads."""
    late: Count
    """Inferences of a paced load that began more than one period late."""


class RecordedProcess(Document, frozen=True, kw_only=True):
    """One fresh process."""

    process: Count
    runtime: RuntimeFacts
    load_ms: Milliseconds
    first_ms: Milliseconds
    rss_before_load_bytes: Count | None
    peak_rss_bytes: Count | None


class Recording(Document, frozen=True, kw_only=True):
    """Everything the agent said in one run of ``record``."""

    machine: MachineFacts
    schedule: tuple[Segment, ...]
    """What every process ran, in order."""
    processes: tuple[RecordedProcess, ...]
    stretches: tuple[Stretch, ...]
    """In order; ``schedule[stretch.segment]`` says of what kind."""
    windows: tuple[Window, ...]
    traces: tuple[Trace, ...]
    states: tuple[MachineState, ...]
    before: MachineState
    after: MachineState
    blocked: tuple[GaugeNote, ...] = ()
    """Gauges that are there and cannot be read, mostly for want of a permission."""

    def kind(self, stretch: Stretch) -> Literal["idle", "load"]:
        """What went on in it."""
        return self.schedule[stretch.segment].kind


class _Gauges(Document, frozen=True, kw_only=True):
    gauges: Annotated[tuple[Gauge, ...], msgspec.Meta(max_length=1000)]
    blocked: Annotated[tuple[GaugeNote, ...], msgspec.Meta(max_length=1000)] = ()


class _Readings(Document, frozen=True, kw_only=True):
    gauge: Count
    monotonic_ns: tuple[Moment, ...]
    values: dict[ChannelName, tuple[Number | None, ...]]


class _Done(Document, frozen=True, kw_only=True):
    before: MachineState
    after: MachineState


KINDS: dict[str, Any] = {
    "machine": MachineFacts,
    "gauges": _Gauges,
    "readings": _Readings,
    "segment": Stretch,
    "window": Window,
    "state": MachineState,
    "process": RecordedProcess,
    "done": _Done,
}
SILENT = ("need", "started", "alive", "cooling")
"""Events that only say where the run is."""


def collect_recording(
    events: Iterable[dict[str, Any]], *, device: str, schedule: tuple[Segment, ...], processes: int
) -> Recording:
    """All events of a run; raises DeviceFaultError for malformed ones, too many, or an end that is missing."""
    found: dict[str, list[Any]] = {name: [] for name in KINDS}
    readings = 0
    for count, event in enumerate(events):
        name = str(event.get("event"))
        if count > MAX_EVENTS:
            raise _contradiction(device, f"more than {MAX_EVENTS} events")
        if name in SILENT:
            continue
        if name not in KINDS:
            raise _contradiction(device, f"a {name[:40]!r} event")
        fields = {key: value for key, value in event.items() if key != "event"}
        value = convert(fields, KINDS[name], DeviceFaultError, where=f"{device}: the agent's {name!r} event")
        readings += len(value.monotonic_ns) if isinstance(value, _Readings) else 0
        if readings > MAX_READINGS:
            raise _contradiction(device, f"more than {MAX_READINGS} readings")
        found[name].append(value)
    _check(found, device, schedule, processes)
    return Recording(
        machine=found["machine"][0],
        schedule=schedule,
        processes=tuple(found["process"]),
        stretches=tuple(found["segment"]),
        windows=tuple(found["window"]),
        traces=_traces(found["gauges"][0].gauges, found["readings"], device),
        states=tuple(found["state"]),
        before=found["done"][0].before,
        after=found["done"][0].after,
        blocked=found["gauges"][0].blocked,
    )


def gauge_notes(recording: Recording) -> tuple[FindingEntry, ...]:
    """What is known of the drivers of its gauges, and which gauges could not be read, as findings."""
    notes = {(note.name, note.message): note for trace in recording.traces for note in trace.gauge.notes}
    blocked: Literal["info", "warning"] = "info" if recording.traces else "warning"  # another gauge may do
    return tuple(_finding(note, "warning") for note in notes.values()) + tuple(
        _finding(note, blocked) for note in recording.blocked
    )


def _finding(note: GaugeNote, severity: Literal["info", "warning"]) -> FindingEntry:
    return FindingEntry(name=note.name, severity=severity, message=note.message, fix=note.fix)


def _check(found: dict[str, list[Any]], device: str, schedule: tuple[Segment, ...], processes: int) -> None:
    ran = [(item.process, item.segment) for item in found["segment"]]
    expected = [(process, place) for process in range(processes) for place in range(len(schedule))]
    numbers = [item.process for item in found["process"]]
    once = all(len(found[name]) == 1 for name in ("machine", "gauges", "done"))
    if not once or ran != expected or numbers != list(range(processes)):
        raise _contradiction(device, f"{len(ran)} of {len(expected)} segments and an end")
    _check_times(found, device)


def _check_times(found: dict[str, list[Any]], device: str) -> None:
    """Raise DeviceFaultError unless one thing followed the other on one clock, and windows make up their segments."""
    stretches = {(item.process, item.segment): item for item in found["segment"]}
    _check_order([(item.start_ns, item.end_ns) for item in found["segment"]], device, "segments")
    _check_order([(item.start_ns, item.end_ns) for item in found["window"]], device, "windows")
    if any(earlier.monotonic_ns > later.monotonic_ns for earlier, later in pairwise(found["state"])):
        raise _contradiction(device, "looks at its state that go back in time")
    counted = dict.fromkeys(stretches, 0)
    for item in found["window"]:
        place = (item.process, item.segment)
        own = stretches.get(place)
        quantiles = (item.min_ns, item.p50_ns, item.p90_ns, item.p99_ns, item.max_ns)
        inside = own is not None and own.start_ns <= item.start_ns and item.end_ns <= own.end_ns
        if not inside or list(quantiles) != sorted(quantiles):
            raise _contradiction(device, f"a window that is not of segment {item.segment} of process {item.process}")
        counted[place] += item.count
    if any(counted[place] != item.inferences for place, item in stretches.items()):
        raise _contradiction(device, "inferences of segments that are not those of their windows")


def _check_order(spans: list[tuple[int, int]], device: str, what: str) -> None:
    ordered = all(start < end for start, end in spans) and all(
        earlier[1] <= later[0] for earlier, later in pairwise(spans)
    )
    if not ordered:
        raise _contradiction(device, f"{what} that do not follow each other")


def _traces(gauges: tuple[Gauge, ...], readings: list[_Readings], device: str) -> tuple[Trace, ...]:
    traces = []
    for number, gauge in enumerate(gauges):
        own = [item for item in readings if item.gauge == number]
        times = tuple(moment for item in own for moment in item.monotonic_ns)
        values = {name: tuple(value for item in own for value in item.values.get(name, ())) for name in gauge.channels}
        if any(len(column) != len(times) for column in values.values()) or list(times) != sorted(times):
            raise _contradiction(device, f"readings of {gauge.name} that do not fit their times")
        traces.append(Trace(gauge=gauge, monotonic_ns=times, values=values))
    if any(item.gauge >= len(gauges) for item in readings):
        raise _contradiction(device, "readings of a gauge that is not there")
    return tuple(traces)


def _contradiction(device: str, what: str) -> DeviceFaultError:
    return DeviceFaultError(
        f"{device}: the agent's answer does not fit the request: {what}.",
        hint="Something else than edgekit's agent answers there; run it again with -v.",
    )

"""An external meter's readings beside the device's own: its clock is the host's, so it is moved to the device's."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol, Self

import msgspec

from edgekit.bench.recording import Gauge, Recording, Trace
from edgekit.bench.samples import Duration
from edgekit.documents import Document, convert
from edgekit.entries import FindingEntry
from edgekit.errors import DeviceFaultError, MeasurementInvalidError
from edgekit.transport import Connection
from edgekit.transport.agent import call, prepare_agent

PINGS = 20
TOLERANCE = 0.01
"""An uncertainty of the clocks of more than this share of a block spoils its energy by as much."""


class Meter(Protocol):
    """A power meter at this machine: measures from ``with`` to its end."""

    @property
    def gauge(self) -> Gauge:
        """What it is, covers and tells."""

    def trace(self) -> Trace:
        """What it read until now; times are this machine's monotonic ns."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


@dataclass(frozen=True, kw_only=True)
class ClockOffset:
    """How far the device's monotonic clock is ahead of this machine's."""

    offset_ns: int
    """Device minus host."""
    uncertainty_ns: int
    """The offset is within this of the truth: half of the shortest round trip (RFC 5905, section 8)."""


class _Pong(Document, frozen=True, kw_only=True):
    monotonic_ns: Duration


def record_beside(
    meter: Meter, connection: Connection, run: Callable[[], Recording]
) -> tuple[Recording, tuple[FindingEntry, ...]]:
    """What ``run`` records of the device, with what ``meter`` reads meanwhile as its last trace; findings on clocks.

    Raises what ``run``, ``measure_offset`` and ``merge`` raise, and MeterError.
    """
    before = measure_offset(connection)
    with meter:
        recording = run()
    offset = midway(before, measure_offset(connection))
    return merge(recording, meter.trace(), offset.offset_ns), clock_findings(recording, offset)


def measure_offset(connection: Connection) -> ClockOffset:
    """Ask the device for its clock ``PINGS`` times; the quickest answer counts.

    Raises:
        DeviceFaultError: the answers are no clock.
        TransportError: connection lost.
    """
    name = connection.device.name
    sent: list[int] = []
    trips: list[tuple[int, int]] = []

    def ping() -> Iterator[bytes]:
        sent.append(time.monotonic_ns())  # when it is written, not when it is queued
        yield b"\n"

    def answer(event: dict[str, Any]) -> Iterator[bytes]:
        now = time.monotonic_ns()
        if event["event"] == "pong" and sent:
            fields = {key: value for key, value in event.items() if key != "event"}
            pong = convert(fields, _Pong, DeviceFaultError, where=f"{name}: the agent's 'pong' event")
            trips.append((now - sent[-1], pong.monotonic_ns - (now + sent[-1]) // 2))
        return ping() if len(sent) < PINGS else iter(())

    for _ in call(prepare_agent(connection), "clock", {"pings": PINGS}, answer=answer):
        pass
    if len(trips) < PINGS:
        raise DeviceFaultError(
            f"{name}: the agent's answer does not fit the request: {len(trips)} of {PINGS} times of its clock.",
            hint="Something else than edgekit's agent answers there; run it again with -v.",
        )
    trip, offset = min(trips)
    return ClockOffset(offset_ns=offset, uncertainty_ns=(trip + 1) // 2)


def midway(before: ClockOffset, after: ClockOffset) -> ClockOffset:
    """From the offsets before and after a run the one in between; crystals drift by up to 0.1 ms a second."""
    apart = abs(after.offset_ns - before.offset_ns)
    return ClockOffset(
        offset_ns=(before.offset_ns + after.offset_ns) // 2,
        uncertainty_ns=max(before.uncertainty_ns, after.uncertainty_ns) + (apart + 1) // 2,
    )


def merge(recording: Recording, trace: Trace, offset_ns: int) -> Recording:
    """The recording with ``trace`` (host monotonic ns) as its last, on the device's clock.

    Raises:
        MeasurementInvalidError: the meter read nothing while the device ran, or is called as one of the device's.
    """
    name = trace.gauge.name
    times = tuple(moment + offset_ns for moment in trace.monotonic_ns)
    start = min(stretch.start_ns for stretch in recording.stretches)
    end = max(stretch.end_ns for stretch in recording.stretches)
    if not any(start <= moment <= end for moment in times):
        raise MeasurementInvalidError(
            f"The meter {name} read nothing while the device ran its model.",
            hint="Look at its connection, and that nothing else uses it; then measure again.",
        )
    if any(own.gauge.name == name for own in recording.traces):
        raise MeasurementInvalidError(
            f"The device has a gauge of its own that is called {name}, as the meter is.",
            hint="This is a defect of edgekit; measure without --meter.",
        )
    moved = msgspec.structs.replace(trace, monotonic_ns=times)
    return msgspec.structs.replace(recording, traces=(*recording.traces, moved))


def clock_findings(recording: Recording, offset: ClockOffset) -> tuple[FindingEntry, ...]:
    """A warning where the clocks are known too badly for blocks as short as these."""
    shortest = min(stretch.end_ns - stretch.start_ns for stretch in recording.stretches)
    if offset.uncertainty_ns <= TOLERANCE * shortest:
        return ()
    message = (
        f"The clocks of device and meter are known to {offset.uncertainty_ns / 1e6:.1f} ms, and the shortest block is "
        f"{shortest / 1e6:.0f} ms: {offset.uncertainty_ns / max(1, shortest):.0%} of its energy may belong to another."
    )
    fix = "Measure for longer, or over a quicker connection."
    return (FindingEntry(name="meter-clock", severity="warning", message=message, fix=fix),)

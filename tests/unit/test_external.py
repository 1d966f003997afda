"""The device's clock asked over a connection, and a meter's readings moved to it."""

import io
import time
from collections.abc import Callable, Iterator
from typing import Any, Self

import msgspec
import pytest

from edgekit.agent.clock import clock
from edgekit.bench.power import external
from edgekit.bench.power.external import ClockOffset, clock_findings, measure_offset, merge, midway, record_beside
from edgekit.bench.recording import (
    Channel,
    Gauge,
    GaugeNote,
    Recording,
    Segment,
    Stretch,
    Trace,
    collect_recording,
    gauge_notes,
)
from edgekit.bench.samples import MachineFacts, MachineState
from edgekit.errors import DeviceFaultError, MeasurementInvalidError
from edgekit.transport import connect, find_device

pytestmark = pytest.mark.unit
MS = 1_000_000


def trace(name: str = "ppk2", times: tuple[int, ...] = (0, 500 * MS)) -> Trace:
    gauge = Gauge(
        name=name,
        sensor="ppk2",
        covers="all",
        whole_device=True,
        channels={"power_w": Channel(resolution=None, wraps_at=None)},
        interval_s=0.01,
    )
    return Trace(gauge=gauge, monotonic_ns=times, values={"power_w": tuple(1.0 for _ in times)})


def recording(*traces: Trace, blocked: tuple[GaugeNote, ...] = (), first_ms: int = 1000) -> Recording:
    state = MachineState(
        monotonic_ns=0,
        clock_offset_ns=0,
        suspended_ns=0,
        cpu=None,
        policies=(),
        temperatures_c={},
        cpu_cooling={},
        firmware_throttle=None,
        throttle_count=None,
        cpu_time_s=None,
        memory_available_bytes=None,
        swap_used_bytes=None,
    )
    machine = MachineFacts(
        python="3.11",
        python_executable="python3",
        architecture="aarch64",
        libc=None,
        kernel="6",
        board=None,
        cpu=None,
        cores=4,
        memory_bytes=None,
        emulated=None,
        virtual=None,
    )
    start = 10_000 * MS
    middle = start + first_ms * MS
    return Recording(
        machine=machine,
        schedule=(Segment(kind="idle", secs=1), Segment(kind="load", secs=1)),
        processes=(),
        stretches=(
            Stretch(process=0, segment=0, start_ns=start, end_ns=middle, inferences=0),
            Stretch(process=0, segment=1, start_ns=middle, end_ns=middle + 1000 * MS, inferences=5),
        ),
        windows=(),
        traces=traces,
        states=(),
        before=state,
        after=state,
        blocked=blocked,
    )


def test_a_meter_is_put_on_the_device_s_clock() -> None:
    own = trace("power_supply/BAT0", (10_000 * MS,))
    merged = merge(recording(own), trace(times=(0, 500 * MS)), 10_100 * MS)
    assert [item.gauge.name for item in merged.traces] == ["power_supply/BAT0", "ppk2"]
    assert merged.traces[0] == own
    assert merged.traces[1].monotonic_ns == (10_100 * MS, 10_600 * MS)
    assert merged.traces[1].values == {"power_w": (1.0, 1.0)}


@pytest.mark.parametrize("times", [(), (0, 500 * MS)])
def test_a_meter_that_read_at_another_time(times: tuple[int, ...]) -> None:
    with pytest.raises(MeasurementInvalidError, match="ppk2 read nothing while the device ran its model"):
        merge(recording(), trace(times=times), 0)


def test_two_gauges_of_one_name() -> None:
    with pytest.raises(MeasurementInvalidError, match="called ppk2"):
        merge(recording(trace()), trace(), 10_100 * MS)


def test_midway_knows_of_the_drift() -> None:
    before = ClockOffset(offset_ns=1000, uncertainty_ns=50)
    after = ClockOffset(offset_ns=1300, uncertainty_ns=80)
    assert midway(before, after) == ClockOffset(offset_ns=1150, uncertainty_ns=80 + 150)
    assert midway(after, before) == midway(before, after)


@pytest.mark.parametrize(("uncertainty_ms", "count"), [(10, 0), (11, 1)])
def test_clocks_that_are_known_too_badly_are_a_warning(uncertainty_ms: int, count: int) -> None:
    findings = clock_findings(recording(), ClockOffset(offset_ns=0, uncertainty_ns=uncertainty_ms * MS))
    assert len(findings) == count
    assert all("known to 11.0 ms, and the shortest block is 1000 ms" in finding.message for finding in findings)


def test_the_agent_answers_every_line_at_once() -> None:
    events: list[dict[str, Any]] = []
    emit: Callable[..., None] = lambda event, **fields: events.append({"event": event, **fields})  # noqa: E731
    before = time.monotonic_ns()
    assert clock({"pings": 2}, io.BytesIO(b"\n\n"), emit) == {}
    assert [event["event"] for event in events] == ["ready", "pong", "pong"]
    assert before <= events[1]["monotonic_ns"] <= events[2]["monotonic_ns"] <= time.monotonic_ns()
    with pytest.raises(BrokenPipeError):
        clock({"pings": 2}, io.BytesIO(b"\n"), emit)


def test_this_machine_s_clock_is_this_machine_s() -> None:
    with connect(find_device("local")) as connection:
        offset = measure_offset(connection)
    assert abs(offset.offset_ns) <= offset.uncertainty_ns
    assert 0 < offset.uncertainty_ns < 50 * MS


class Stopwatch:
    """A meter that reads once when it starts and once when it ends."""

    gauge = trace().gauge

    def __init__(self) -> None:
        self.times: list[int] = []

    def trace(self) -> Trace:
        return trace(times=tuple(self.times))

    def __enter__(self) -> Self:
        self.times.append(time.monotonic_ns())
        return self

    def __exit__(self, *_error: object) -> None:
        self.times.append(time.monotonic_ns())


def test_a_run_beside_a_meter() -> None:
    def run() -> Recording:
        now = time.monotonic_ns()
        stretch = Stretch(process=0, segment=1, start_ns=now - 1000 * MS, end_ns=now + 1000 * MS, inferences=1)
        return msgspec.structs.replace(recording(), stretches=(stretch,))

    meter = Stopwatch()
    with connect(find_device("local")) as connection:
        merged, findings = record_beside(meter, connection, run)
    assert findings == ()
    (only,) = merged.traces
    assert only.monotonic_ns == pytest.approx(meter.times, abs=20 * MS)


def answering(monkeypatch: pytest.MonkeyPatch, pong: Callable[[int], dict[str, Any]], pings: int) -> None:
    """A device that is 5 s ahead, and whose answers come a little later each."""

    def call(_agent: Any, command: str, request: Any, *, answer: Any) -> Iterator[dict[str, Any]]:
        assert (command, request) == ("clock", {"pings": external.PINGS})
        sent = b"".join(answer({"event": "ready"}))
        for number in range(pings):
            assert sent == b"\n"
            sent = b"".join(answer({"event": "pong", **pong(number)}))
        yield {"event": "done"}

    monkeypatch.setattr(external, "call", call)
    monkeypatch.setattr(external, "prepare_agent", lambda _connection: None)


class Device:
    name = "pi"


class FakeConnection:
    device = Device()


def test_the_quickest_answer_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    def pong(number: int) -> dict[str, Any]:
        time.sleep(0.002 if number == 3 else 0.006)  # the way there takes all the time
        return {"monotonic_ns": time.monotonic_ns() + 5_000 * MS}

    monkeypatch.setattr(external, "PINGS", 6)
    answering(monkeypatch, pong, 6)
    offset = measure_offset(FakeConnection())  # type: ignore[arg-type]
    assert 1 * MS <= offset.uncertainty_ns < 3 * MS
    assert abs(offset.offset_ns - 5_000 * MS) <= offset.uncertainty_ns  # one-sided delay is the worst case


@pytest.mark.parametrize(
    ("pong", "message"),
    [({"monotonic_ns": "noon"}, "'pong' event"), ({}, "'pong' event"), ({"monotonic_ns": -1}, "'pong' event")],
)
def test_answers_that_are_no_clock(monkeypatch: pytest.MonkeyPatch, pong: dict[str, Any], message: str) -> None:
    answering(monkeypatch, lambda _number: pong, 20)
    with pytest.raises(DeviceFaultError, match=message):
        measure_offset(FakeConnection())  # type: ignore[arg-type]


def test_too_few_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, lambda _number: {"monotonic_ns": 1}, 3)
    with pytest.raises(DeviceFaultError, match="3 of 20 times of its clock"):
        measure_offset(FakeConnection())  # type: ignore[arg-type]


def test_what_cannot_be_read_comes_with_the_gauges() -> None:
    like = recording()
    facts: dict[str, Any] = {name: msgspec.to_builtins(getattr(like, name)) for name in ("machine", "before", "after")}
    note = {"name": "gauge-forbidden", "message": "rapl is there.", "fix": "Log in as root."}
    events = [
        {"event": "machine", **facts["machine"]},
        {"event": "gauges", "gauges": [], "blocked": [note]},
        {"event": "done", "before": facts["before"], "after": facts["after"]},
    ]
    collected = collect_recording(events, device="pi", schedule=(), processes=0)
    assert collected.blocked == (GaugeNote(**note),)
    events[1] = {"event": "gauges", "gauges": [], "blocked": [{**note, "fix": 7}]}
    with pytest.raises(DeviceFaultError, match="'gauges' event"):
        collect_recording(events, device="pi", schedule=(), processes=0)


@pytest.mark.parametrize(("traces", "severity"), [((), "warning"), ((trace(),), "info")])
def test_gauges_that_cannot_be_read_are_findings(traces: tuple[Trace, ...], severity: str) -> None:
    note = GaugeNote(name="gauge-forbidden", message="rapl is there.", fix="Log in as root.")
    (finding,) = gauge_notes(recording(*traces, blocked=(note,)))
    assert (finding.name, finding.severity, finding.message) == ("gauge-forbidden", severity, "rapl is there.")

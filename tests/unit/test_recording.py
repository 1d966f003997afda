"""A recording: the agent runs a schedule and reads gauges and states meanwhile, the host checks every line of it."""

import hashlib
import io
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import repeat
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from edgekit.agent import child, gauges, machine, schedule
from edgekit.agent import record as agent_record
from edgekit.bench import recording as recordings
from edgekit.bench.heat.sustained import summarize_sustained
from edgekit.bench.record import _counted
from edgekit.bench.recording import Recording, Segment, collect_recording, gauge_notes
from edgekit.errors import DeviceFaultError
from tests.unit.recordings import BOOT, FACTS, SECOND, state, window

pytestmark = pytest.mark.unit

MS = 1_000_000
SCHEDULE = (Segment(kind="idle", secs=1), Segment(kind="load", secs=2))


def events() -> list[dict[str, Any]]:
    """A run of one process with one gauge."""

    def plain(event: str, value: object) -> dict[str, Any]:
        return {"event": event, **msgspec.to_builtins(value)}

    gauge = {
        "name": "hwmon2/VDD_IN",
        "sensor": "hwmon",
        "covers": "the module",
        "whole_device": True,
        "channels": {"power_w": {"resolution": 0.001, "wraps_at": None}},
        "interval_s": 0.05,
        "capacity_j": None,
        "notes": [{"name": "averaged", "message": "It averages.", "fix": "Wait."}],
    }
    done = {"runtime": {"name": "ai-edge-litert", "version": "2.3.0"}, "load_ms": 1.0, "first_ms": 2.0}
    memory = {"rss_before_load_bytes": None, "peak_rss_bytes": 5}
    load = {"event": "segment", "process": 0, "segment": 1, "start_ns": BOOT, "end_ns": BOOT + 2 * SECOND}
    return [
        {"event": "need", "files": []},
        plain("machine", FACTS),
        {"event": "gauges", "gauges": [gauge], "blocked": []},
        {"event": "cooling", "zone": "cpu-thermal-0", "temperature_c": 50.0},
        {"event": "started", "process": 0},
        {**load, "segment": 0, "start_ns": BOOT - SECOND, "end_ns": BOOT, "inferences": 0},
        plain("window", msgspec.structs.replace(window(0, 4.0), segment=1)),
        plain("state", state(0.5)),
        {"event": "readings", "gauge": 0, "monotonic_ns": [1, 2], "values": {"power_w": [1.5, None]}},
        {"event": "readings", "gauge": 0, "monotonic_ns": [3], "values": {"power_w": [2.5]}},
        {**load, "inferences": 250},
        {"event": "process", "process": 0, **done, **memory},
        {"event": "done", "before": msgspec.to_builtins(state(-2)), "after": msgspec.to_builtins(state(3))},
    ]


def collect(lines: list[dict[str, Any]]) -> Recording:
    return collect_recording(iter(lines), device="garage", schedule=SCHEDULE, processes=1)


def changed(name: str, **fields: Any) -> list[dict[str, Any]]:
    """The events, with these fields of the last one of that name."""
    lines = events()
    at = max(place for place, line in enumerate(lines) if line["event"] == name)
    lines[at] = {**lines[at], **fields}
    return lines


def test_events_become_a_recording() -> None:
    found = collect(events())
    assert [found.kind(stretch) for stretch in found.stretches] == ["idle", "load"]
    assert found.traces[0].monotonic_ns == (1, 2, 3)
    assert found.traces[0].values == {"power_w": (1.5, None, 2.5)}
    assert found.states == (state(0.5),)
    assert (found.before, found.after) == (state(-2), state(3))
    assert [finding.name for finding in gauge_notes(found)] == ["averaged"]
    assert msgspec.json.decode(msgspec.json.encode(found), type=Recording) == found


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (events()[:-1], "2 of 2 segments and an end"),
        (events() + events()[-1:], "2 of 2 segments and an end"),
        ([line for line in events() if line["event"] != "segment"], "0 of 2 segments"),
        (events()[:5] + events()[10:], "1 of 2 segments"),
        (changed("window", segment=7), "a window that is not of segment 7"),
        (changed("window", segment=0), "a window that is not of segment 0"),
        (changed("window", end_ns=BOOT + 3 * SECOND), "a window that is not of segment 1"),
        (changed("window", end_ns=BOOT), "windows that do not follow each other"),
        (changed("window", p99_ns=1), "a window that is not of segment 1"),
        (changed("window", count=2), "inferences of segments that are not those of their windows"),
        (changed("segment", end_ns=BOOT - 1), "segments that do not follow each other"),
        (changed("segment", start_ns=BOOT - 5), "segments that do not follow each other"),
        (changed("segment", start_ns=10**30), "the agent's 'segment' event"),
        ([*events()[:8], {"event": "state", **msgspec.to_builtins(state(0.1))}, *events()[8:]], "back in time"),
        (changed("state", monotonic_ns=2**70), "the agent's 'state' event"),
        (changed("state", temperatures_c={"cpu": float("inf")}), "the agent's 'state' event"),
        (changed("readings", values={"power_w": [float("nan")]}), "the agent's 'readings' event"),
        (changed("readings", values={"power_w": [1e300]}), "the agent's 'readings' event"),
        (changed("process", process=1), "2 of 2 segments"),
        (changed("segment", segment=0), "2 of 2 segments"),
        ([*events(), {"event": "surprise"}], "a 'surprise' event"),
        (changed("readings", gauge=1), "readings of a gauge that is not there"),
        (changed("readings", monotonic_ns=[3, 4]), "readings of hwmon2/VDD_IN that do not fit their times"),
        (changed("readings", monotonic_ns=[0]), "readings of hwmon2/VDD_IN that do not fit their times"),
        (changed("readings", values={}), "readings of hwmon2/VDD_IN that do not fit their times"),
        (changed("readings", values={"watts": [1.0]}), "the agent's 'readings' event"),
        (changed("window", p50_ns=-1), "the agent's 'window' event"),
        (changed("window", count=0), "the agent's 'window' event"),
        (changed("state", temperatures_c="hot"), "the agent's 'state' event"),
        (changed("segment", inferences="many"), "the agent's 'segment' event"),
        (changed("gauges", gauges=[{}]), "the agent's 'gauges' event"),
    ],
)
def test_an_answer_that_does_not_fit_is_refused(lines: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(DeviceFaultError, match=message.replace("(", r"\(")):
        collect(lines)


@pytest.mark.parametrize(("limit", "message"), [("MAX_EVENTS", "more than 5 events"), ("MAX_READINGS", "readings")])
def test_endless_answers_are_refused(monkeypatch: pytest.MonkeyPatch, limit: str, message: str) -> None:
    monkeypatch.setattr(recordings, limit, 5)

    def endless() -> Iterator[dict[str, Any]]:
        yield from events()[:5]
        while True:
            yield events()[8]

    with pytest.raises(DeviceFaultError, match=message):
        collect_recording(endless(), device="garage", schedule=SCHEDULE, processes=1)


def test_events_that_say_nothing_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recordings, "MAX_EVENTS", 5)
    alive: Iterator[dict[str, Any]] = repeat({"event": "alive"})
    with pytest.raises(DeviceFaultError, match="more than 5 events"):
        collect_recording(alive, device="garage", schedule=SCHEDULE, processes=1)


class Slow:
    """A gauge that takes 3 ms to read, and a clock that only it and the test move."""

    def __init__(self, values: list[dict[str, float] | None]) -> None:
        self.now = 0
        self.values = iter(values)
        self.said: list[dict[str, Any]] = []

    def read(self) -> dict[str, float] | None:
        self.now += 3 * MS
        return next(self.values)

    def emit(self, event: str, **fields: Any) -> None:
        self.said.append({"event": event, **fields})

    def recorder(self, *, interval_s: float) -> agent_record.Recorder:
        gauge = gauges.Gauge("g", "test", "all", True, {"power_w": gauges.Channel()}, self.read, interval_s)
        return agent_record.Recorder([gauge], 1.0, self.emit, lambda: self.now, lambda: {"at": self.now})


def test_a_gauge_is_read_when_it_is_due_and_dated_to_the_middle() -> None:
    world = Slow([{"power_w": 1.0}, None, {"voltage_v": 5.0}, {"power_w": 4.0}])
    recorder = world.recorder(interval_s=0.05)
    for moment in (0, 20, 40, 60, 80, 100, 2000):
        world.now = max(world.now, moment * MS)
        recorder.look()
    readings = [event for event in world.said if event["event"] == "readings"]
    assert readings == [
        {
            "event": "readings",
            "gauge": 0,
            "monotonic_ns": [3 * MS // 2, 60 * MS + 3 * MS // 2, 100 * MS + 3 * MS // 2, 2000 * MS + 3 * MS // 2],
            "values": {"power_w": [1.0, None, None, 4.0]},
        }
    ]
    assert [event["at"] for event in world.said if event["event"] == "state"] == [3 * MS, 2003 * MS]


def test_readings_are_sent_once_a_second_and_at_the_end() -> None:
    world = Slow([{"power_w": float(number)} for number in range(400)])
    recorder = world.recorder(interval_s=0.01)
    for moment in range(0, 2500, 10):
        world.now = max(world.now, moment * MS)
        recorder.look()
    sent = [len(event["monotonic_ns"]) for event in world.said if event["event"] == "readings"]
    assert len(sent) == 2
    recorder.flush()
    recorder.flush()
    assert len([event for event in world.said if event["event"] == "readings"]) == 3


def run_load(invoke: Callable[[], object], rate_per_s: float | None, secs: float) -> tuple[int, list[dict[str, Any]]]:
    windows: list[dict[str, Any]] = []
    start = time.monotonic_ns()
    end = start + int(secs * 1e9)
    count = schedule._load(
        cast("Callable[[], None]", invoke), start, end, rate_per_s, 100 * MS, lambda **fields: windows.append(fields)
    )
    assert time.monotonic_ns() >= end
    assert sum(found["count"] for found in windows) == count
    return count, windows


def test_a_paced_load_keeps_its_rate() -> None:
    count, windows = run_load(lambda: None, 100, 0.3)
    assert 25 <= count <= 30
    assert all(found["min_ns"] <= found["p50_ns"] <= found["p99_ns"] <= found["max_ns"] for found in windows)


def test_a_paced_load_that_cannot_keep_up_says_how_often() -> None:
    count, windows = run_load(lambda: time.sleep(0.02), 200, 0.3)
    assert count <= 15
    assert sum(found["late"] for found in windows) >= count - 3


def test_a_load_without_a_rate_never_waits() -> None:
    count, windows = run_load(lambda: time.sleep(0.001), None, 0.2)
    assert count > 50
    assert sum(found["late"] for found in windows) == 0


@pytest.fixture
def model(cases: Path) -> Path:
    return cases / "models" / "tflm" / "hello_world_int8.tflite"


def asked(model: Path, root: Path, *segments: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """A request, with the model in the device's cache."""
    data = model.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    (root / "cache").mkdir(parents=True)
    (root / "cache" / digest).write_bytes(data)
    return {
        "root": str(root),
        "files": [{"sha256": digest, "bytes": len(data)}],
        "configuration": {"model": digest, "inputs": {}, "delegate": "xnnpack", "num_threads": 1},
        "processes": 1,
        "governor": None,
        "cooldown": None,
        "states_s": 0.05,
        "cpus": None,
        "warmup_runs": 1,
        "segments": list(segments),
        "window_s": 0.04,
        **changes,
    }


@pytest.fixture
def host() -> Iterator[io.BufferedReader]:
    """The host's line to the agent, which stays open."""
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as stream:
        yield stream
    os.close(writing)


def test_sensors_that_move_while_it_records(
    model: Path, tmp_path: Path, host: io.BufferedReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    board = tmp_path / "board"
    zone, bits = board / "sys/class/thermal/thermal_zone0", board / "sys/devices/platform/soc/soc:firmware"
    for folder in (zone, bits):
        folder.mkdir(parents=True)
    for path, text in ((zone / "type", "cpu-thermal"), (zone / "temp", "50000"), (bits / "get_throttled", "0")):
        path.write_text(text)
    monkeypatch.setattr(agent_record, "read_state", partial(machine.read_state, str(board)))
    said: list[dict[str, Any]] = []

    def emit(event: str, **fields: Any) -> None:
        if event == "window" and len([line for line in said if line["event"] == "window"]) == 12:
            (zone / "temp").write_text("82000")
            (bits / "get_throttled").write_text("e000e")
        said.append({"event": event, **fields})

    load = {"kind": "load", "secs": 1.5, "rate_per_s": None}
    done = agent_record.record(asked(model, tmp_path / "device", load), host, emit)
    lines = [json.loads(json.dumps(line)) for line in [*said, {"event": "done", **done}]]
    recorded = collect_recording(lines, device="garage", schedule=(Segment(kind="load", secs=1.5),), processes=1)
    report, findings = summarize_sustained(recorded)
    assert report.zone == "cpu-thermal-0"
    assert report.first_minute.temperature_c == (50.0, 50.0)
    assert report.throttled_s is not None
    assert 0 < report.throttled_s < 1.2
    message = next(finding.message for finding in findings if finding.name == "throttled")
    assert "soft-temperature-limit" in message
    assert "cpu-thermal-0 50 to 82 C" in message


def test_the_host_is_gone_and_so_is_the_model(model: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": child.ROOT}
    process = subprocess.Popen(
        [sys.executable, "-B", "-m", "edgekit.agent", "record"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment,
    )
    guard = threading.Timer(20, process.kill)
    guard.start()
    try:
        assert process.stdin is not None
        assert process.stdout is not None
        load = {"kind": "load", "secs": 60.0, "rate_per_s": 100.0}
        process.stdin.write(json.dumps(asked(model, tmp_path, load)).encode() + b"\n")
        process.stdin.flush()
        while json.loads(process.stdout.readline())["event"] != "window":
            pass
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        assert len(children) == 1
        process.stdin.close()
        process.stdin = None
        assert process.wait(10) == 143
        assert not Path(f"/proc/{children[0]}").exists()
    finally:
        guard.cancel()
        process.kill()
        process.communicate()


def test_progress_follows_the_schedule_and_never_goes_back() -> None:
    seen: list[tuple[float, float]] = []
    looks = [{"event": "state"}] * 3
    damaged = {"event": "segment", "end_ns": "late"}
    lines = [{"event": "started"}, *looks, damaged, *looks, damaged, damaged, *looks]
    assert list(_counted(iter(lines), lambda *place: seen.append(place), [2.0, 2.5])) == lines
    assert [done for done, _ in seen] == [0, 1, 2, 2, 2, 3, 4, 4.5, 4.5, 4.5, 4.5, 4.5, 4.5]
    assert {total for _, total in seen} == {4.5}

"""Recorded lines of the agent -> values, findings, report, table; and what a device may send instead."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from edgekit.bench.findings import find
from edgekit.bench.plan import BenchOptions, Configuration, Subject
from edgekit.bench.report import BenchmarkReport, require_valid, summarize
from edgekit.bench.samples import FirmwareThrottle, MachineState, Measurement, Policy, collect
from edgekit.entries import FileEntry
from edgekit.errors import DeviceFaultError, MeasurementInvalidError
from edgekit.report import document, print_report

pytestmark = pytest.mark.unit

RECORDED = Path(__file__).parent / "data" / "agent_bench.jsonl"
"""Two processes for each of 1 and 2 threads, 12 runs, as the agent printed them (ai-edge-litert, x86-64)."""
SUBJECT = Subject(
    name="hello",
    model=Path("hello.tflite"),
    entry=FileEntry(sha256="5" * 64, bytes=2704),
    inputs={},
    artifact_digest=None,
    delegate="xnnpack",
)
Change = Callable[[MachineState], MachineState]


def events() -> list[dict[str, Any]]:
    return [json.loads(line) for line in RECORDED.read_text().splitlines()]


def measurement(lines: list[dict[str, Any]] | None = None) -> Measurement:
    return collect(lines or events(), device="garage", processes=2, num_threads=(1, 2))


def report(found: Measurement) -> BenchmarkReport:
    options = BenchOptions(processes=2, num_threads=(1, 2))
    asked = [Configuration(subject=SUBJECT, delegate="xnnpack", num_threads=threads) for threads in (1, 2)]
    return summarize(found, asked, options=options, device="garage")


def during(found: Measurement, change: Change, *, process: int = 1, state: int = -1) -> Measurement:
    """The measurement with one of its states changed."""
    processes = list(found.processes)
    states = list(processes[process].during)
    states[state] = change(states[state])
    processes[process] = msgspec.structs.replace(processes[process], during=tuple(states))
    return msgspec.structs.replace(found, processes=tuple(processes))


def everywhere(found: Measurement, change: Change) -> Measurement:
    for process in range(len(found.processes)):
        for state in range(len(found.processes[process].during)):
            found = during(found, change, process=process, state=state)
    return found


def clock(khz: int, governor: str = "performance") -> Change:
    policy = Policy(name="policy0", cpus=(0, 1), governor=governor, khz=khz, min_khz=600_000, max_khz=1_500_000)
    return lambda state: msgspec.structs.replace(state, policies=(policy,))


def names(found: Measurement, severity: str | None = None) -> set[str]:
    return {finding.name for finding in find(found) if severity in {None, finding.severity}}


def test_recorded_run() -> None:
    found = report(measurement())
    assert [result.num_threads for result in found.results] == [1, 2]
    first = found.results[0]
    assert first.num_runs == 24
    assert first.latency_ms.min == 0.001101
    assert first.latency_ms.min <= first.latency_ms.median <= first.latency_ms.p90 <= first.latency_ms.p99
    low, high = first.latency_ms.median_interval
    assert low <= first.latency_ms.median <= high
    assert (first.latency_ms.level, first.latency_ms.basis) == (0.5, "over processes")
    assert first.peak_rss_bytes is not None
    assert first.rss_before_load_bytes is not None
    assert first.peak_rss_bytes > first.rss_before_load_bytes > 0
    assert found.valid
    assert {"virtual", "few-runs", "frequency-unknown"} <= names(measurement())


def test_document_has_the_first_thread_count_on_top_and_every_sample() -> None:
    facts = json.loads(json.dumps(document(report(measurement()))))
    assert facts["latency_ms"] == facts["results"][0]["latency_ms"]
    assert facts["num_runs"] == 24
    assert facts["artifact_digest"] is None
    assert len(facts["results"][1]["processes"][0]["samples_ns"]) == 12
    assert facts["valid"] is True


def test_table() -> None:
    text = Console(file=io.StringIO(), width=100)
    print_report(report(measurement()), text)
    assert isinstance(text.file, io.StringIO)
    shown = text.file.getvalue()
    for expected in (
        "hello on garage",
        "median, ms",
        "50 % interval over 2 processes",
        "peak RSS, MiB",
        "clock unknown",
    ):
        assert expected in shown


def test_unknown_memory_is_unknown_not_zero() -> None:
    lines = events()
    for line in lines:
        if line["event"] == "process":
            line["peak_rss_bytes"] = line["rss_before_load_bytes"] = None
    found = report(measurement(lines))
    assert found.results[0].peak_rss_bytes is None
    text = Console(file=io.StringIO(), width=100)
    print_report(found, text)
    assert isinstance(text.file, io.StringIO)
    assert "unknown" in text.file.getvalue()


def test_one_process_says_so() -> None:
    lines = [line for line in events() if line.get("process", 0) == 0]
    found = collect(lines, device="garage", processes=1, num_threads=(1, 2))
    assert report(found).results[0].latency_ms.basis == "within this process"
    assert "one-process" in names(found)


def test_steady_clock_is_fine() -> None:
    found = everywhere(measurement(), clock(1_500_000))
    assert not names(found) & {"frequency-moved", "frequency-unknown", "governor"}


def test_moved_frequency_is_invalid() -> None:
    found = during(everywhere(measurement(), clock(1_500_000)), clock(600_000))
    assert names(found, "error") == {"frequency-moved"}
    with pytest.raises(
        MeasurementInvalidError, match="moved between 600 and 1500 MHz while samples were taken"
    ) as error:
        require_valid(report(found), details={"kept": 1})
    assert error.value.exit_code == 6
    assert "--governor performance" in error.value.hint
    assert "--allow-invalid" in error.value.hint
    assert error.value.details == {"kept": 1}


def test_governor_is_a_warning() -> None:
    assert "governor" in names(everywhere(measurement(), clock(1_500_000, "ondemand")), "warning")


def throttled(*, now: tuple[str, ...] = (), since: tuple[str, ...] = ()) -> Change:
    firmware = FirmwareThrottle(word=0, now=now, since_boot=since)
    return lambda state: msgspec.structs.replace(state, firmware_throttle=firmware)


def test_throttle_bits() -> None:
    quiet = everywhere(measurement(), throttled(since=("under-voltage",)))
    before, after = throttled(since=("under-voltage",))(quiet.before), throttled(since=("under-voltage",))(quiet.after)
    quiet = msgspec.structs.replace(quiet, before=before, after=after)
    assert "throttled-before" in names(quiet, "info")
    assert names(quiet, "error") == set()
    assert names(during(quiet, throttled(now=("throttled",))), "error") == {"throttled"}
    later = throttled(since=("under-voltage", "throttled"))(quiet.after)
    assert names(msgspec.structs.replace(quiet, after=later), "error") == {"throttled"}


def test_kernel_cooling_and_x86_counters_throttle() -> None:
    hot = during(measurement(), lambda state: msgspec.structs.replace(state, cpu_cooling={"cpufreq-0": 2}))
    assert names(hot, "error") == {"throttled"}
    counted = everywhere(measurement(), lambda state: msgspec.structs.replace(state, throttle_count=7))
    assert names(counted, "error") == set()
    more = during(counted, lambda state: msgspec.structs.replace(state, throttle_count=9), process=3)
    assert names(more, "error") == {"throttled"}


@pytest.mark.parametrize("seconds", [-3600, 1, 0.2])
def test_set_clock_is_invalid(seconds: float) -> None:
    def jump(state: MachineState) -> MachineState:
        return msgspec.structs.replace(state, clock_offset_ns=state.clock_offset_ns + int(seconds * 1e9))

    found = during(measurement(), jump)
    assert names(found, "error") == {"clock-jumped"}
    assert f"clock set by {seconds:+.3f} s" in find(found)[0].message


def test_suspended_is_invalid() -> None:
    found = during(measurement(), lambda state: msgspec.structs.replace(state, suspended_ns=10**10))
    assert names(found, "error") == {"clock-jumped"}
    assert "suspended for 10.0" in find(found)[0].message


def test_slewed_clock_is_fine() -> None:
    found = during(
        measurement(), lambda state: msgspec.structs.replace(state, clock_offset_ns=state.clock_offset_ns + 9)
    )
    assert names(found, "error") == set()


def test_emulation_and_swap_are_told() -> None:
    found = measurement()
    emulated = msgspec.structs.replace(found.machine, emulated="aarch64, and yet the kernel is x86_64's")
    found = msgspec.structs.replace(found, machine=emulated)
    after = msgspec.structs.replace(found.after, swap_used_bytes=(found.before.swap_used_bytes or 0) + 2**20)
    assert {"emulated", "swapped"} <= names(msgspec.structs.replace(found, after=after), "warning")


def changed(index: int, **fields: Any) -> list[dict[str, Any]]:
    lines = events()
    lines[index] = {**lines[index], **fields}
    return lines


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (changed(3, samples_ns=[]), r"samples_ns"),
        (changed(3, samples_ns=[-1]), r"samples_ns\[0\]"),
        (changed(3, samples_ns=["1"]), r"samples_ns\[0\]"),
        (changed(3, samples_ns=[2**70]), r"samples_ns\[0\]"),
        (changed(3, load_ms=1e300), "load_ms"),
        (changed(3, during=[]), "during"),
        (changed(3, surprise=1), "surprise"),
        (changed(3, process=9), "process 9 with 1 threads, not asked for"),
        (changed(1, cpu="x" * 2000), "cpu"),
        (changed(1, event="other"), "other"),
        (changed(1, event=7), "event"),
        (events()[:-1], "4 of 4 processes and an end"),
        (events()[4:], "3 of 4 processes"),
        ([*events()[:4], *events()[2:]], "process 0 with 1 threads, not asked for"),
        ([{}], "event"),
    ],
)
def test_malformed_events(lines: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(DeviceFaultError, match=message):
        measurement(lines)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
fields = sorted({key for line in events() for key in line})


@given(st.lists(st.dictionaries(st.sampled_from(fields), json_values, max_size=5), max_size=5))
def test_hostile_events_are_errors(lines: list[dict[str, Any]]) -> None:
    with pytest.raises(DeviceFaultError):
        measurement([*lines, {}])

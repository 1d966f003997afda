"""Streams and threads: the crew of interpreters, the choice among combinations, and the real agent on this machine."""

import io
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from edgekit.agent import streams
from edgekit.bench import BenchOptions
from edgekit.bench.plan import read_subject
from edgekit.bench.thread_choice import Combination, choose, hopeless, thread_grid
from edgekit.bench.throughput import measure_throughput, tune_threads
from edgekit.errors import DeviceFaultError
from edgekit.report.throughput import throughput_table
from edgekit.transport import Connection

pytestmark = pytest.mark.unit
ONE, TWO_THREADS, TWO_STREAMS = (
    Combination(streams=1, num_threads=1),
    Combination(streams=1, num_threads=2),
    Combination(streams=2, num_threads=1),
)


@dataclass(frozen=True, kw_only=True)
class Process:
    samples_ns: Sequence[int]
    rate_per_s: float


def rounds(latency_ns: int, rate_per_s: float, count: int = 5) -> list[Process]:
    """Rounds whose times wander by a per cent, all alike."""
    return [Process(samples_ns=[latency_ns + n], rate_per_s=rate_per_s * (1 + n / 500)) for n in range(count)]


def test_grid() -> None:
    assert thread_grid(1) == (ONE,)
    assert thread_grid(2) == (ONE, TWO_THREADS, TWO_STREAMS)
    pairs = [(item.num_threads, item.streams) for item in thread_grid(4)]
    assert pairs == [(1, 1), (2, 1), (1, 2), (3, 1), (1, 3), (4, 1), (2, 2), (1, 4)]


@given(cores=st.integers(1, 256))
def test_grid_keeps_to_the_cores(cores: int) -> None:
    grid = thread_grid(cores)
    assert len(set(grid)) == len(grid)
    assert max(item.cores for item in grid) == cores
    assert {ONE, Combination(streams=1, num_threads=cores), Combination(streams=cores, num_threads=1)} <= set(grid)


def test_hopeless_is_what_is_far_behind_in_every_round() -> None:
    best, far, near = rounds(1000, 1000.0, 3), rounds(1300, 700.0, 3), rounds(1200, 900.0, 3)
    assert hopeless({ONE: best, TWO_THREADS: far, TWO_STREAMS: near}) == {TWO_THREADS}
    once_good = [*far[:2], Process(samples_ns=[1000], rate_per_s=1000.0)]
    assert hopeless({ONE: best, TWO_THREADS: once_good}) == frozenset()
    assert hopeless({ONE: best[:2], TWO_THREADS: far[:2]}) == frozenset()
    slow_but_many = rounds(2000, 1100.0, 3)
    assert hopeless({ONE: best, TWO_STREAMS: slow_but_many}) == frozenset()


def test_choice_by_the_fewest_cores_that_are_not_surely_slower() -> None:
    chosen = choose({ONE: rounds(1000, 1000.0), TWO_THREADS: rounds(600, 1600.0), TWO_STREAMS: rounds(1050, 1900.0)})
    assert (chosen.latency, chosen.throughput) == (TWO_THREADS, TWO_STREAMS)
    assert "with 1 stream of 1 thread an inference takes 1.66 times as long (94 % interval" in chosen.reason
    uneven = [Process(samples_ns=[990 + 8 * n], rate_per_s=1000.0) for n in range(5)]
    chosen = choose({ONE: rounds(1000, 1000.0), TWO_THREADS: uneven})
    assert chosen.latency == chosen.throughput == ONE
    alone = choose({ONE: rounds(1000, 1000.0)})
    assert "nothing else was measured" in alone.reason


def test_not_surely_faster_is_said() -> None:
    wandering = [Process(samples_ns=[value], rate_per_s=1e6 / value) for value in (980, 990, 1030, 985, 995)]
    chosen = choose({ONE: rounds(1000, 1000.0), TWO_THREADS: wandering})
    assert chosen.latency == ONE
    assert "1 stream of 2 threads is not surely faster here, an inference takes 0.99 times as long" in chosen.reason


def test_a_rival_that_looks_faster_is_not_surely_so() -> None:
    """By the median of the ratios two streams are faster, by their medians one is."""
    rates = [(100, 104), (200, 208), (300, 290), (310, 250), (320, 330)]
    one, two = ([Process(samples_ns=[1000], rate_per_s=pair[place]) for pair in rates] for place in (0, 1))
    chosen = choose({ONE: one, TWO_STREAMS: two})
    assert chosen.throughput == ONE
    assert "2 streams of 1 thread are not surely faster here, the same work takes 0.97 times as long" in chosen.reason
    assert "For the latency 1 stream of 1 thread: more streams never make one inference faster." in chosen.reason


def test_what_was_left_out_is_said() -> None:
    chosen = choose({ONE: rounds(1000, 1000.0), TWO_STREAMS: rounds(900, 500.0, 3)})
    assert chosen.throughput == ONE
    assert "Left out after 3 rounds, far behind in each: 2 streams of 1 thread." in chosen.reason


def crew(*invokes: Callable[[], object], secs: float = 0.2) -> streams.Crew:
    made = streams.Crew(list(invokes), 1, secs)
    made.run()
    return made


def test_streams_beside_each_other_and_streams_that_take_turns() -> None:
    beside = crew(*[lambda: time.sleep(0.01)] * 3).summary()
    assert beside["beside"] > 1.8
    held = crew(*[lambda: [0] * 1_000_000] * 3).summary()  # one call into C, which keeps the lock
    assert held["beside"] == pytest.approx(1, abs=0.15)


def test_rates_count_what_is_under_way_by_its_share() -> None:
    made = streams.Crew([lambda: None, lambda: None], 1, 1.0)
    made._start, made._end = 0, 1_000_000_000
    for stream, length in zip(made._streams, (40_000_000, 300_000_000), strict=True):
        for end in range(length, 1_000_000_000 + length, length):
            stream.durations.append(length)
            stream.ends.append(end)
    found = made.summary()
    assert found["rates_per_s"] == pytest.approx([1 / 0.04 + 1 / 0.3] * streams.BLOCKS)
    assert found["samples_ns"][6:9] == [40_000_000, 300_000_000, 40_000_000]  # by the time they ended


def test_each_stream_has_the_time_for_some() -> None:
    assert len(crew(lambda: time.sleep(0.002), secs=0.0).summary()["samples_ns"]) >= streams.FEWEST // 2


def test_samples_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "MAX_SAMPLES", 100)
    made = crew(lambda: None, lambda: time.sleep(0.001), secs=60.0)
    assert len(made.summary()["samples_ns"]) <= 102


def test_a_stream_that_fails_ends_them_all() -> None:
    def fail() -> None:
        raise RuntimeError("op failed")

    with pytest.raises(RuntimeError, match="op failed"):
        crew(lambda: None, fail)


@pytest.fixture
def model(cases: Path) -> Path:
    return cases / "models" / "tflite_ref" / "kws_int8.tflite"


QUICK = BenchOptions(warmup_runs=1, min_secs=0.02, processes=1)


def test_throughput_on_this_machine(model: Path, connection: Connection) -> None:
    seen: list[tuple[int, int]] = []
    report, findings = measure_throughput(
        read_subject(model),
        connection,
        QUICK,
        streams=(1, 2),
        on_progress=lambda done, total: seen.append((done, total)),
    )
    assert seen == [(1, 2), (2, 2)]
    assert [(item.streams, item.num_threads) for item in report.results] == [(1, 1), (2, 1)]
    for item in report.results:
        assert item.interval[0] <= item.inferences_per_s <= item.interval[1]
        assert item.peak_rss_bytes
        assert item.latency_ms.median > 0
    assert report.reason
    assert not {"noise", "few-runs"} & {finding.name for finding in findings}
    assert throughput_table(report).row_count == 2
    narrow = Console(file=io.StringIO(), width=80)
    narrow.print(throughput_table(report))
    assert isinstance(narrow.file, io.StringIO)
    words = narrow.file.getvalue().split()
    for item in report.results:
        assert {f"{item.inferences_per_s:.1f}", *(f"{bound:.1f}" for bound in item.interval)} <= set(words), (
            "none is cut"
        )


def test_tuning_uses_the_cpus_it_may_have(model: Path, connection: Connection) -> None:
    import os

    cpu = min(os.sched_getaffinity(0))
    options = BenchOptions(warmup_runs=1, min_secs=0.0, processes=1, cpus=(cpu,))
    report, _ = tune_threads(read_subject(model), connection, options)
    assert [(item.streams, item.num_threads) for item in report.results] == [(1, 1)]


def test_model_that_does_not_run(cases: Path, connection: Connection) -> None:
    subject = read_subject(cases / "models" / "negative" / "model_invoking_error.tflite")
    with pytest.raises(DeviceFaultError, match="unresolved custom op"):
        measure_throughput(subject, connection, QUICK)

"""The frontier and the recommendation: pure, over made-up rounds."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.bench.latency import Latency
from edgekit.bench.statistics import median, ratio
from edgekit.tune.decision import Candidate, Recommendation, Setup, _preference, frontier, recommend, speed_up

pytestmark = pytest.mark.unit

SPREAD = (1.0, 1.01, 0.99, 1.005, 0.995)
"""What a quiet machine's rounds look like, around a median of 1."""


def setup(
    precision: str, ms: float, *, threads: int = 1, spread: tuple[float, ...] = SPREAD, size: int = 1000, **facts: Any
) -> Setup:
    if "drop" in facts:
        facts["lost"] = f"{100 * facts['drop']:.2f} points"
    rounds = tuple(ms * factor for factor in spread)
    middle = median(rounds)
    fields = {"p90": middle, "p95": middle, "p99": middle, "min": middle, "mean": middle}
    return Setup(
        candidate=Candidate(name=precision, precision=precision, size_bytes=size, **facts),
        delegate="xnnpack",
        num_threads=threads,
        latency_ms=Latency(
            median=middle, median_interval=(middle, middle), level=0.9, basis="over processes", **fields
        ),
        peak_rss_bytes=None,
        rounds_ms=rounds,
    )


def decide(*setups: Setup, emulated: bool = False) -> Recommendation:
    found = recommend(setups, emulated=emulated)
    assert found is not None
    return found


def test_the_fastest_that_keeps_the_budget() -> None:
    found = decide(
        setup("float32", 4.2, threads=2, size=4000, metric=0.91, drop=0.0, keeps_budget=True),
        setup("int8", 2.0, threads=4, metric=0.908, drop=0.002, keeps_budget=True, spread=SPREAD[::-1]),
    )
    assert found.verdict == "faster"
    assert found.reason == (
        "int8, 4 threads, xnnpack: 2.10x as fast as float32, 2 threads, xnnpack (interval 2.09 to 2.11), "
        "loses 0.20 points."
    )


def test_int8_is_not_faster_here() -> None:
    found = decide(
        setup("float32", 2.0, metric=0.91, drop=0.0),
        setup("int8", 2.02, metric=0.908, drop=0.002, spread=(1.02, 1.0, 0.98, 1.01, 0.99)),
    )
    assert (found.setup.candidate.name, found.verdict) == ("float32", "not-faster")
    assert found.reason.startswith("int8 is not faster here (ratio 1.00, interval 0.97 to 1.00)")
    assert found.reason.endswith("float32, 1 thread, xnnpack is more accurate (0.9100 against 0.9080).")


def test_without_accuracy_the_precision_stands_for_it() -> None:
    found = decide(setup("int8", 2.0), setup("float32", 2.0))
    assert "int8 is not faster here" in found.reason
    assert found.reason.endswith("float32, 1 thread, xnnpack keeps the accuracy.")


def test_what_breaks_the_budget_is_left_out_and_said() -> None:
    found = decide(
        setup("float32", 4.0, metric=0.91, drop=0.0, keeps_budget=True),
        setup("int8", 2.0, metric=0.80, drop=0.11, keeps_budget=False),
    )
    assert (found.setup.candidate.name, found.verdict) == ("float32", "only-candidate")
    assert "int8, 1 thread, xnnpack would be 2.00x as fast, but it loses 11.00 points: over the budget." in found.reason


def test_none_keeps_the_budget() -> None:
    assert recommend([setup("int8", 2.0, keeps_budget=False)]) is None


def test_noise_is_inconclusive_and_goes_by_accuracy() -> None:
    found = decide(
        setup("float32", 2.0, metric=0.91),
        setup("int8", 1.9, metric=0.90, spread=(1.6, 0.7, 1.0, 1.3, 0.8)),
    )
    assert (found.setup.candidate.name, found.verdict) == ("float32", "inconclusive")
    assert "whether int8, 1 thread, xnnpack is faster cannot be said" in found.reason


def test_few_rounds_prove_nothing() -> None:
    few = SPREAD[:2]
    found = decide(setup("float32", 4.0, spread=few, metric=0.9), setup("int8", 2.0, spread=few, metric=0.9))
    assert (found.setup.candidate.name, found.verdict) == ("int8", "inconclusive")
    assert "looks 2.00x as fast as float32, 1 thread, xnnpack" in found.reason


def test_threads_that_do_not_help_are_not_used() -> None:
    found = decide(setup("int8", 2.0), setup("int8", 1.995, threads=4))
    assert found.setup.num_threads == 1
    assert "no other number of threads or delegate is faster here" in found.reason


def test_threads_that_help_are() -> None:
    found = decide(setup("int8", 4.0), setup("int8", 1.0, threads=4))
    assert found.setup.num_threads == 4
    assert found.reason.startswith("int8, 4 threads, xnnpack: 4.00x as fast as int8, 1 thread, xnnpack")


def test_emulated_latencies_decide_nothing() -> None:
    found = decide(setup("float32", 9.0, metric=0.91), setup("int8", 1.0, metric=0.9), emulated=True)
    assert (found.setup.candidate.name, found.verdict) == ("float32", "emulated")
    assert "no device's" in found.reason


def test_better_than_the_reference_is_chance() -> None:
    found = decide(
        setup("float32", 2.0, size=4000, metric=0.9, drop=0.0),
        setup("int8", 2.0, metric=0.91, drop=-0.01),
        setup("dynamic", 2.0, size=800, metric=0.905, drop=-0.005),
    )
    assert found.setup.candidate.name == "dynamic"
    assert found.reason.endswith("is the smaller file and loses nothing.")


def test_of_errors_less_is_better() -> None:
    found = decide(
        setup("float32", 2.0, metric=0.5, higher_is_better=False),
        setup("int8", 2.0, metric=0.6, higher_is_better=False, size=900),
    )
    assert found.setup.candidate.name == "float32"
    assert found.reason.endswith("is more accurate (0.5000 against 0.6000).")


def test_of_equals_the_smaller() -> None:
    found = decide(setup("int8", 2.0, size=900, metric=0.9), setup("dynamic", 2.0, size=800, metric=0.9))
    assert found.setup.candidate.name == "dynamic"


numbers = st.floats(0.1, 1000, allow_nan=False)
setups = st.lists(
    st.builds(
        lambda precision, ms, threads, size, metric: setup(precision, ms, threads=threads, size=size, metric=metric),
        st.sampled_from(["float32", "float16", "int8"]),
        numbers,
        st.sampled_from([1, 2, 4]),
        st.integers(1, 10_000),
        st.floats(0, 1),
    ),
    min_size=1,
    max_size=8,
)


@given(setups)
def test_nothing_beats_the_frontier(found: list[Setup]) -> None:
    kept = frontier(found)
    assert kept
    assert min(found, key=lambda item: item.latency_ms.median).latency_ms.median == kept[0].latency_ms.median
    for item in found:
        at_least_as_good = [
            other
            for other in kept
            if other.latency_ms.median <= item.latency_ms.median
            and other.candidate.size_bytes <= item.candidate.size_bytes
            and (other.candidate.metric or 0) >= (item.candidate.metric or 0)
        ]
        assert at_least_as_good


@given(setups)
def test_the_choice_is_never_proven_slower_and_does_not_follow_the_order(found: list[Setup]) -> None:
    chosen = decide(*found)
    for other in found:
        gain = speed_up(other, chosen.setup)
        assert gain.interval[0] <= 1 or gain.times <= 1.02
    assert _preference(decide(*reversed(found)).setup) == _preference(chosen.setup)


@given(st.lists(st.tuples(numbers, numbers), min_size=1, max_size=12))
def test_a_ratio_and_its_inverse_agree(rounds: list[tuple[float, float]]) -> None:
    first, second = [a for a, _ in rounds], [b for _, b in rounds]
    times, held = ratio(first, second)
    _, inverse = ratio(second, first)
    assert held.low <= times <= held.high
    assert inverse.low == pytest.approx(1 / held.high)
    assert inverse.high == pytest.approx(1 / held.low)

"""The climb finds the fastest candidate that keeps the budget, never runs over its bound, and always ends."""

import math
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.ladder import MIN_TRIALS, Candidate, Outcome, Rung, Trial, climb
from edgekit_converters.types import Scheme

pytestmark = pytest.mark.unit

SCHEME = Scheme(precision="int8")


def candidates(name: str, count: int) -> tuple[Candidate, ...]:
    return tuple(Candidate(label=f"{name} {number}", scheme=SCHEME) for number in range(count))


def rung(name: str, count: int, *, ordered: bool = False, floor_ms: float | None = None) -> Rung:
    row = candidates(name, count)
    return Rung(name=name, candidates=lambda _trials: row, ordered=ordered, floor_ms=floor_ms)


def run(
    rungs: Sequence[Rung],
    keeps: Callable[[str], bool],
    *,
    confirms: Callable[[str], bool] = lambda _label: True,
    within: Callable[[str], bool] = lambda _label: False,
    latency: Callable[[str], float | None] = lambda _label: None,
    max_trials: int = 50,
) -> Outcome:
    calls = []

    def try_(candidate: Candidate) -> Trial:
        calls.append(candidate.label)
        kept = keeps(candidate.label)
        return Trial(
            candidate=candidate,
            drop=0.0,
            keeps=kept,
            within=kept or within(candidate.label),
            latency_ms=latency(candidate.label),
        )

    outcome = climb(rungs, try_, lambda trial: confirms(trial.candidate.label), max_trials=max_trials)
    assert len(calls) == len(set(calls)) == len(outcome.trials), "a candidate was tried twice"
    assert len(outcome.trials) + outcome.looks <= max_trials
    return outcome


def label(outcome: Outcome) -> str | None:
    return None if outcome.chosen is None else outcome.chosen.candidate.label


def number(name: str) -> int:
    return int(name.split()[1])


def test_the_first_that_keeps_ends_the_climb() -> None:
    outcome = run([rung("int8", 3), rung("rescue", 8, ordered=True), rung("float", 1)], lambda name: name == "int8 1")
    assert label(outcome) == "int8 1"
    assert (len(outcome.trials), outcome.looks, outcome.reason) == (2, 1, "kept")


@given(count=st.integers(1, 200), data=st.data())
def test_bisection_finds_the_smallest_number_of_rescued_layers(count: int, data: st.DataObject) -> None:
    needed = data.draw(st.integers(0, count - 1))
    outcome = run([rung("rescue", count, ordered=True)], lambda name: number(name) >= needed)
    assert label(outcome) == f"rescue {needed}"
    assert len(outcome.trials) <= 1 + math.ceil(math.log2(count)) + 1


@given(settings=st.integers(1, 6), layers=st.integers(24, 100), data=st.data())
def test_at_most_a_third_of_what_an_exhaustive_search_evaluates(
    settings: int, layers: int, data: st.DataObject
) -> None:
    rungs = [rung("int8", settings), rung("rescue", layers, ordered=True), rung("float", 2)]
    truth = data.draw(st.integers(0, settings + layers + 2))
    order = [candidate.label for item in rungs for candidate in item.candidates(())]
    outcome = run(rungs, lambda name: order.index(name) >= truth)
    assert label(outcome) == (order[truth] if truth < len(order) else None)
    assert len(outcome.trials) + outcome.looks <= len(order) / 3 + 4, "the rows of alternatives are tried one by one"
    if truth < settings + layers:
        assert len(outcome.trials) <= settings + math.ceil(math.log2(layers)) + 2


def test_nothing_keeps() -> None:
    outcome = run([rung("int8", 2), rung("rescue", 8, ordered=True), rung("float", 1)], lambda _name: False)
    assert outcome.chosen is None
    assert (len(outcome.trials), outcome.looks, outcome.reason) == (4, 0, "nothing-keeps")


def test_what_is_refuted_is_passed_over_and_the_climb_goes_on() -> None:
    outcome = run(
        [rung("int8", 1), rung("rescue", 8, ordered=True), rung("float", 1)],
        lambda name: name != "int8 0" and (name == "float 0" or number(name) >= 2),
        confirms=lambda name: name in {"rescue 5", "float 0"},
    )
    assert label(outcome) == "rescue 5"
    assert outcome.looks == 4
    refuted = {trial.candidate.label for trial in outcome.trials if trial.refuted}
    assert len(refuted) == 3
    assert not refuted & {"rescue 5", "float 0"}


def test_without_the_margin_is_better_than_nothing() -> None:
    outcome = run([rung("int8", 3)], lambda _name: False, within=lambda name: number(name) > 0)
    assert label(outcome) == "int8 1"


def test_a_measured_later_rung_that_may_be_faster_is_climbed() -> None:
    latencies = {"int8 0": 2.0, "rescue 0": 5.0, "rescue 1": 6.0, "float 0": 3.0}
    rungs = [
        rung("int8", 1, floor_ms=2.0),
        rung("rescue", 2, ordered=True, floor_ms=2.0),
        rung("float", 1, floor_ms=3.0),
    ]
    outcome = run(rungs, lambda name: name != "int8 0", latency=latencies.get)
    assert label(outcome) == "float 0"
    assert run(rungs, lambda _name: True, latency=latencies.get).trials[0].candidate.label == "int8 0"


def test_a_float_file_that_is_measured_faster_comes_first() -> None:
    rungs = [rung("int8", 1, floor_ms=2.0), rung("float", 1, floor_ms=1.5)]
    outcome = run(rungs, lambda _name: True, latency={"int8 0": 2.0, "float 0": 1.5}.get)
    assert label(outcome) == "float 0"
    assert len(outcome.trials) == 1


def test_latencies_that_differ_by_noise_leave_the_order_as_it_is() -> None:
    rungs = [rung("int8", 1, floor_ms=2.0), rung("float", 1, floor_ms=1.98)]
    outcome = run(rungs, lambda _name: True, latency={"int8 0": 2.0, "float 0": 1.98}.get)
    assert label(outcome) == "int8 0"


def test_the_last_trial_goes_to_the_safest() -> None:
    rungs = [rung("int8", 9), rung("float16", 1), rung("float32", 1)]
    outcome = run(rungs, lambda name: name == "float32 0", max_trials=6)
    assert label(outcome) == "float32 0"
    assert [trial.candidate.label for trial in outcome.trials] == ["int8 0", "int8 1", "int8 2", "int8 3", "float32 0"]
    assert outcome.reason == "stopped-at-bound"


def test_the_bound_ends_a_bisection_with_what_was_seen_to_keep() -> None:
    outcome = run([rung("rescue", 1000, ordered=True)], lambda name: number(name) >= 3, max_trials=5)
    assert (label(outcome), outcome.reason) == ("rescue 124", "stopped-at-bound")


def test_a_bound_that_is_too_small_is_refused() -> None:
    with pytest.raises(ValueError, match="3 or more"):
        run([rung("int8", 1)], lambda _name: True, max_trials=MIN_TRIALS - 1)


@given(
    sizes=st.lists(st.tuples(st.integers(0, 12), st.booleans(), st.none() | st.floats(0.1, 9)), max_size=5),
    max_trials=st.integers(MIN_TRIALS, 30),
    truth=st.randoms(use_true_random=False),
)
def test_any_truth_ends_within_the_bound_with_something_that_was_seen_to_keep(
    sizes: list[tuple[int, bool, float | None]], max_trials: int, truth: "object"
) -> None:
    choice: Callable[[], float] = truth.random  # type: ignore[attr-defined]
    rungs = [rung(f"r{i}", n, ordered=ordered, floor_ms=ms) for i, (n, ordered, ms) in enumerate(sizes)]
    outcome = run(
        rungs,
        lambda _name: choice() < 0.4,
        confirms=lambda _name: choice() < 0.5,
        within=lambda _name: choice() < 0.3,
        latency=lambda _name: choice() * 9 if choice() < 0.5 else None,
        max_trials=max_trials,
    )
    if outcome.chosen is not None:
        assert outcome.chosen.within
        assert outcome.looks >= 1
    if outcome.reason == "nothing-keeps":
        assert outcome.chosen is None

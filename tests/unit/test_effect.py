"""The statistics of a comparison: exact ranks, coverage by simulation of the real procedure, verdicts."""

from collections.abc import Callable
from itertools import combinations_with_replacement, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.bench.versus.comparison import judge
from edgekit.bench.versus.effect import (
    EXACT_ROUNDS,
    LEVEL,
    Effect,
    choose_rank,
    estimate_effect,
    log_ratio,
    needed_rounds,
    typical,
    walsh_means,
)

pytestmark = pytest.mark.unit
Array = np.ndarray[tuple[int, ...], np.dtype[np.float64]]
PASSES = 24
ratios = st.lists(st.floats(-0.5, 0.5), min_size=1, max_size=30)


def test_ranks_by_counting_all_signs() -> None:
    for count in range(1, 11):
        sums = [sum(rank for rank, sign in enumerate(signs, 1) if sign) for signs in product((0, 1), repeat=count)]
        rank, level = choose_rank(count, LEVEL)
        assert level == pytest.approx(max(0.0, 1 - 2 * sum(total <= rank for total in sums) / 2**count))
        following = 1 - 2 * sum(total <= rank + 1 for total in sums) / 2**count
        assert following < LEVEL


@pytest.mark.parametrize(("count", "rank"), [(6, 0), (8, 3), (10, 8), (15, 25), (20, 52), (30, 137), (50, 434)])
def test_ranks_of_the_printed_tables(count: int, rank: int) -> None:
    """Critical values of the signed-rank test, two-sided 5 %: Wilcoxon and Wilcox 1964, with T <= the value."""
    assert choose_rank(count, 0.95)[0] == rank


def test_few_rounds_promise_what_is_left() -> None:
    assert [choose_rank(count, 0.95)[1] for count in (1, 2, 5)] == [0.0, 0.5, 0.9375]


def test_the_normal_distribution_takes_over_where_it_is_good() -> None:
    exact, normal = choose_rank(EXACT_ROUNDS, 0.95), choose_rank(EXACT_ROUNDS + 1, 0.95)
    assert 0 < normal[0] - exact[0] < EXACT_ROUNDS
    assert normal[1] == pytest.approx(0.95, abs=0.002)


def test_walsh_means() -> None:
    values = [0.3, -0.1, 0.2]
    expected = sorted((first + second) / 2 for first, second in combinations_with_replacement(values, 2))
    assert walsh_means(values) == pytest.approx(expected)


def test_latencies_of_two_equal_models_agree_as_their_effect_does() -> None:
    """A machine with a fast and a slow state that changes once within a round: the plain medians are 24 % apart."""
    baseline = [88.0, 88.1, 88.0, 88.2, 131.0, 131.2, 131.1]
    candidate = [88.0, 88.0, 87.9, 109.0, 131.1, 131.0, 130.9]
    assert typical(candidate) / typical(baseline) == pytest.approx(1, abs=0.02)
    assert typical([1.03 * value for value in baseline]) / typical(baseline) == pytest.approx(1.03)


@given(ratios)
def test_the_interval_holds_the_estimate_and_lies_within_the_rounds(values: list[float]) -> None:
    effect = estimate_effect(values)
    assert np.expm1(min(values)) - 1e-12 <= effect.low <= effect.value <= effect.high <= np.expm1(max(values)) + 1e-12
    assert 0 <= effect.level <= 1


@given(ratios)
def test_swapping_the_models_turns_the_effect_around(values: list[float]) -> None:
    effect, back = estimate_effect(values), estimate_effect([-value for value in values])
    assert (1 + effect.value) * (1 + back.value) == pytest.approx(1)
    assert (1 + effect.low) * (1 + back.high) == pytest.approx(1)


@given(ratios, st.permutations(range(30)), st.floats(-0.2, 0.2))
def test_order_does_not_matter_and_a_shift_shifts(values: list[float], order: list[int], shift: float) -> None:
    shuffled = [values[place] + shift for place in order if place < len(values)]
    effect, moved = estimate_effect(values), estimate_effect(shuffled)
    assert moved.value == pytest.approx((1 + effect.value) * np.exp(shift) - 1, abs=1e-9)
    assert moved.level == effect.level


def test_a_round_is_the_median_of_its_turns() -> None:
    assert log_ratio([100, 100, 500, 100], [103, 103, 515, 900]) == pytest.approx(np.log(1.03))
    assert log_ratio([100, 200], [100, 200]) == 0
    with pytest.raises(ValueError, match="longer than argument 1"):
        log_ratio([100, 100], [100])


def bias_of_layout(random: np.random.Generator) -> float:
    """Two layouts, 4 % apart, as measured in processes of one model; and a little besides."""
    return float(random.choice([0.0, 0.04], p=[0.8, 0.2]) + random.normal(scale=0.002))


def quiet(random: np.random.Generator, count: int) -> Array:
    return random.normal(scale=0.002, size=count)


def bursts(random: np.random.Generator, count: int) -> Array:
    """Others' load: half the blocks are up to twice as slow, and it lasts for some of them."""
    busy = np.repeat(random.random(-(-count // 4)) < 0.5, 4)[:count]
    return np.where(busy, random.uniform(0, 0.7, count), 0.0) + random.normal(scale=0.005, size=count)


def compare(random: np.random.Generator, effect: float, noise: Callable[..., Array], rounds: int) -> Effect:
    """One comparison as the agent measures it: mirrored turns, noise of the machine over time, bias of each process."""
    observed = []
    for number in range(rounds):
        level = random.choice([0.0, 0.035])  # what the CPU does in this round, in both processes
        machine = noise(random, 2 * PASSES) + level
        first = np.array([2 * turn + (turn + number) % 2 for turn in range(PASSES)])  # where the baseline stands
        second = np.array([2 * turn + (turn + number + 1) % 2 for turn in range(PASSES)])
        one = 87_000 * np.exp(machine[first] + bias_of_layout(random))
        other = 87_000 * np.exp(machine[second] + bias_of_layout(random) + np.log1p(effect))
        observed.append(log_ratio(one.tolist(), other.tolist()))
    return estimate_effect(observed)


@pytest.mark.parametrize(("noise", "rounds"), [(quiet, 20), (bursts, 20), (bursts, 8)])
def test_the_interval_holds_the_true_effect(noise: Callable[..., Array], rounds: int) -> None:
    random = np.random.default_rng(4)
    found = [compare(random, 0.03, noise, rounds) for _ in range(100)]
    held = sum(effect.low <= 0.03 <= effect.high for effect in found)
    assert held >= 0.91 * len(found)


def test_verdicts_are_true_in_bursts_of_load() -> None:
    random = np.random.default_rng(5)
    equal = [compare(random, 0.0, bursts, 20) for _ in range(60)]
    slower = [compare(random, 0.03, bursts, 20) for _ in range(20)]
    verdicts = [judge((effect.low, effect.high), 0.01) for effect in equal]
    assert sum(verdict in {"faster", "slower"} for verdict in verdicts) <= 0.01 * len(verdicts)
    assert "faster" not in {judge((effect.low, effect.high), 0.01) for effect in slower}


def test_the_rounds_that_are_said_to_be_needed_mostly_decide() -> None:
    random = np.random.default_rng(6)
    decided = asked = 0
    while asked < 60:
        values = random.normal(0.03, 0.03, 12)
        effect = estimate_effect(values.tolist())
        if judge((effect.low, effect.high), 0.01) != "inconclusive":
            continue
        more = needed_rounds(effect, 0.01, 12)
        if more is None or more > 200:
            continue
        asked += 1
        longer = estimate_effect([*values, *random.normal(effect.value, 0.03, more)])
        decided += judge((longer.low, longer.high), 0.01) != "inconclusive"
    assert decided >= 0.65 * asked


def test_no_number_of_rounds_decides_an_effect_at_the_margin() -> None:
    at = Effect(value=0.01, low=0.005, high=0.015, level=0.95)
    assert needed_rounds(at, 0.01, 20) is None
    assert needed_rounds(Effect(value=0.0, low=-0.02, high=0.02, level=0.95), 0.01, 20) is not None
    assert needed_rounds(Effect(value=0.0, low=0.0, high=0.0, level=0.0), 0.01, 1) is None


@pytest.mark.parametrize(
    ("interval", "verdict"),
    [
        ((0.011, 0.05), "slower"),
        ((-0.05, -0.011), "faster"),
        ((-0.01, 0.01), "equal"),
        ((0.002, 0.009), "equal"),
        ((0.002, 0.02), "inconclusive"),
        ((-0.2, 0.3), "inconclusive"),
        ((0.01, 0.02), "inconclusive"),
    ],
)
def test_verdict(interval: tuple[float, float], verdict: str) -> None:
    assert judge(interval, 0.01) == verdict

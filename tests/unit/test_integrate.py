"""Means, lags and steps of a gauge, each against what is known of it; the quantiles against their integral."""

from math import exp, gamma, pi, sqrt
from statistics import stdev

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.bench.power import student
from edgekit.bench.power.blocks import Block
from edgekit.bench.power.integrate import (
    counted_power,
    estimate_lag,
    mean_power,
    rounding_bound,
    settle_time,
    unsettled_share,
)
from edgekit.bench.power.series import Counter, Power

pytestmark = pytest.mark.unit

TIMES = np.arange(0, 64, 0.05)
BLOCKS = tuple(
    Block(process=0, kind="load" if number % 2 else "idle", start_s=8.0 * number, end_s=8.0 * number + 8, inferences=0)
    for number in range(8)
)
LOADED = (TIMES // 8 % 2).astype(float)
"""1 W under load, 0 while idle."""


def power(values: "np.ndarray[tuple[int], np.dtype[np.float64]]", step_w: float = 0.0) -> Power:
    return Power(times_s=TIMES, values_w=values, step_w=step_w, update_s=0.05)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.floats(0, 100, allow_nan=False), min_size=2, max_size=30, unique=True),
    st.floats(-5, 5),
    st.floats(-5, 5),
)
def test_the_mean_of_a_straight_line_is_its_middle_however_it_was_sampled(
    moments: list[float], slope: float, level: float
) -> None:
    times = np.array(sorted(moments))
    if times[-1] - times[0] < 1e-6:
        return
    line = Power(times_s=times, values_w=level + slope * times, step_w=0.0, update_s=None)
    found = mean_power(line, float(times[0]), float(np.nextafter(times[-1], 101)))
    assert found == pytest.approx(level + slope * (times[0] + times[-1]) / 2, abs=1e-6)


def test_the_mean_of_no_readings_is_none() -> None:
    assert mean_power(power(LOADED), 100, 101) is None


def test_a_counter_is_read_between_its_first_and_its_last_move() -> None:
    times = np.array([1.0, 2.0, 4.0, 5.0])
    counter = Counter(
        times_s=times,
        earliest_s=times - 0.1,
        latest_s=times + 0.1,
        amounts=np.array([np.nan, 3.0, 6.0, np.nan]),
        resets=1,
        update_s=1.0,
    )
    assert counted_power(counter, 0, 6) == pytest.approx(3.0)
    assert counted_power(counter, 0, 4.05) is None
    assert counted_power(counter, 1.5, 6) is None


@pytest.mark.parametrize("constant", [0.1, 0.5])
def test_the_lag_of_a_low_pass_filter_is_its_time_constant(constant: float) -> None:
    shown = np.zeros(len(TIMES))
    for place in range(1, len(TIMES)):
        shown[place] = shown[place - 1] + (LOADED[place - 1] - shown[place - 1]) * (1 - exp(-0.05 / constant))
    lag = estimate_lag(power(shown + 2), BLOCKS)
    assert lag is not None
    assert lag.mean_s == pytest.approx(constant, abs=0.06)
    settle = settle_time(lag, 0.05, 8.0)
    assert settle is not None
    assert settle >= 4 * constant
    first, last = np.searchsorted(TIMES, [8 + settle, 16])
    missing = 1 - float(np.mean(shown[first:last]))
    assert missing < 0.002
    assert missing == pytest.approx(unsettled_share(lag, 0.05, settle, BLOCKS[1]), abs=0.001)


def test_a_lag_that_fills_the_blocks_is_too_slow_and_no_answer_tells_none() -> None:
    shown = np.zeros(len(TIMES))
    for place in range(1, len(TIMES)):
        shown[place] = shown[place - 1] + (LOADED[place - 1] - shown[place - 1]) * (1 - exp(-0.05 / 4.0))
    assert settle_time(estimate_lag(power(shown), BLOCKS), 0.05, 8.0) is None
    random = np.random.default_rng(1)
    assert estimate_lag(power(random.standard_normal(len(TIMES))), BLOCKS) is None
    assert unsettled_share(None, 0.05, 2.0, BLOCKS[0]) == 1.0
    assert settle_time(None, 20.0, 8.0) is None


def test_a_step_counts_half_unless_noise_dithers_it() -> None:
    random = np.random.default_rng(2)
    noisy = np.round((1.03 + 0.2 * random.standard_normal(len(TIMES))) / 0.1) * 0.1
    assert rounding_bound(power(noisy, 0.1), [(0, 64)]) == 0.0
    still = np.round((1.03 + 0.005 * random.standard_normal(len(TIMES))) / 0.1) * 0.1
    assert rounding_bound(power(still, 0.1), [(0, 64)]) == 0.05
    drifting = np.round((1.03 + 0.05 * TIMES) / 0.1) * 0.1
    assert rounding_bound(power(drifting, 0.1), [(0, 64)]) == 0.05


def test_a_slow_drift_moves_no_lag() -> None:
    lag = estimate_lag(power(2 + LOADED + 0.01 * TIMES), BLOCKS)
    assert lag is not None
    assert lag.mean_s < 0.1


@pytest.mark.parametrize("freedom", [2, 5, 9, 30])
def test_the_quantiles_are_those_of_the_t_distribution(freedom: int) -> None:
    quantile = student.QUANTILES[freedom - 1]
    grid = np.linspace(-quantile, quantile, 20_001)
    scale = gamma((freedom + 1) / 2) / sqrt(freedom * pi) / gamma(freedom / 2)
    inside = float(np.trapezoid(scale * (1 + grid**2 / freedom) ** (-(freedom + 1) / 2), grid))
    assert inside == pytest.approx(student.NOMINAL, abs=1e-4)


def test_the_half_width_of_a_mean() -> None:
    values = [1.0, 2.0, 4.0, 5.0]
    assert student.half_width(values) == pytest.approx(student.QUANTILES[2] * stdev(values) / 2)
    assert student.half_width([1.0]) is None
    many = [float(number % 2) for number in range(100)]
    assert student.half_width(many) == pytest.approx(student.QUANTILES[-1] * stdev(many) / 10)

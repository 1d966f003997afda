"""Median, percentiles, and whether the interval keeps what it promises."""

import random
import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.bench.statistics import (
    BLOCKS,
    LEVEL,
    block_medians,
    choose_rank,
    estimate,
    interval,
    median,
    percentile,
)

pytestmark = pytest.mark.unit

durations = st.lists(st.integers(0, 10**12), min_size=1, max_size=60)


@given(durations, st.floats(0, 100))
def test_percentile_is_numpys(values: list[int], percent: float) -> None:
    assert percentile(sorted(values), percent) == pytest.approx(float(np.percentile(values, percent)), rel=1e-9)


@given(durations)
def test_median_is_the_standard_librarys(values: list[int]) -> None:
    assert median(values) == pytest.approx(statistics.median(values))


@given(st.lists(durations, min_size=1, max_size=12))
def test_interval_holds_the_estimate_and_stays_inside_the_samples(processes: list[list[int]]) -> None:
    held, pooled = interval(processes), [sample for samples in processes for sample in samples]
    assert min(pooled) <= held.low <= estimate(processes) <= held.high <= max(pooled)
    assert 0 <= held.level < 1


@given(st.lists(durations, min_size=1, max_size=8), st.integers(1, 1000))
def test_interval_scales_with_its_unit(processes: list[list[int]], factor: int) -> None:
    scaled = interval([[sample * factor for sample in samples] for samples in processes])
    held = interval(processes)
    assert (scaled.low, scaled.high) == pytest.approx((held.low * factor, held.high * factor))


@given(durations)
def test_blocks_cover_every_sample_in_order(values: list[int]) -> None:
    blocks = block_medians(values)
    assert len(blocks) == min(BLOCKS, len(values))
    if len(values) <= BLOCKS:
        assert blocks == values


@pytest.mark.parametrize(
    ("count", "rank", "level"),
    [(1, 0, 0.0), (2, 0, 0.5), (3, 0, 0.75), (4, 0, 0.875), (5, 0, 0.9375), (7, 0, 0.984375), (8, 1, 0.9296875)],
)
def test_rank_is_the_sign_tests(count: int, rank: int, level: float) -> None:
    assert choose_rank(count) == (rank, level)


def test_level_is_reached_from_five_processes_on() -> None:
    assert all(choose_rank(count)[1] >= LEVEL for count in range(5, 101))


def test_one_outlier_of_twenty_processes_does_not_widen_the_interval() -> None:
    quiet = [[100.0 + number % 3] * 50 for number in range(19)]
    held = interval([*quiet, [900.0] * 50])
    assert 100 <= held.low <= held.high <= 102


def test_one_process_alone_uses_its_own_blocks() -> None:
    samples = [value for block in range(10) for value in [100.0 + block] * 20]
    held = interval([samples])
    assert (held.low, held.high) == (101.0, 108.0)  # the 2nd smallest and the 2nd largest of ten
    assert held.level == pytest.approx(1 - 22 / 1024)


def run_of(generator: random.Random, *, processes: int, bias: float, drift: float) -> list[list[float]]:
    """Latencies with a bias for each process and one for each stretch of time in it, as measured on real machines."""
    groups = []
    for _ in range(processes):
        base = 100 * generator.lognormvariate(0, bias)
        stretches = [base * generator.lognormvariate(0, drift) for _ in range(10)]
        groups.append([value * generator.lognormvariate(0, 0.01) for value in stretches for _ in range(5)])
    return groups


@pytest.mark.parametrize("bias", [0.0, 0.02, 0.2])
@pytest.mark.parametrize("drift", [0.0, 0.02])
def test_coverage_of_five_processes(bias: float, drift: float) -> None:
    generator = random.Random(f"{bias} {drift}")
    intervals = [interval(run_of(generator, processes=5, bias=bias, drift=drift)) for _ in range(400)]
    held = sum(item.low <= 100 <= item.high for item in intervals)
    assert held >= 0.9 * len(intervals)

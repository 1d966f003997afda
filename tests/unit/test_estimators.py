"""Range estimators on distributions whose best range is known."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit_converters.estimators import ESTIMATORS, Grid, estimate_ranges, expected_error, needs_histograms
from edgekit_converters.statistics import BINS, Histogram, Statistics, TensorStatistics

pytestmark = pytest.mark.unit

RNG = np.random.default_rng(7)
GAUSS = RNG.normal(0, 1, 200_000)
RELU = np.maximum(RNG.normal(0, 1, 200_000), 0)
OUTLIER = np.concatenate([RNG.normal(0, 1, 200_000), [40.0]])
"""One value in 200,000 makes the steps of min-max ten times as large as they need be."""


def observed(values: Any) -> TensorStatistics:
    values = np.asarray(values, np.float64)
    low, high = float(values.min()), float(values.max())
    counts, _ = np.histogram(values[values != 0], BINS, (low, high))
    histogram = Histogram(low=low, high=high, counts=counts.astype(np.int64), zeros=int((values == 0).sum()))
    return TensorStatistics(low=low, high=high, moving_low=low / 2, moving_high=high / 2, histogram=histogram)


def true_error(values: Any, low: float, high: float) -> float:
    """Squared error of int8 as the runtime has it."""
    scale = (high - low) / 255
    zero = np.round(-low / scale) - 128
    steps = np.clip(np.round(values / scale) + zero, -128, 127)
    return float(np.square((steps - zero) * scale - values).sum())


@pytest.mark.parametrize("name", ESTIMATORS)
@settings(max_examples=25, deadline=None)
@given(
    values=st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=50),
    symmetric=st.booleans(),
    bits=st.sampled_from([8, 16]),
)
def test_every_range_contains_zero_and_stays_inside(name: Any, values: list[float], symmetric: bool, bits: int) -> None:
    low, high = ESTIMATORS[name](observed(values), Grid(symmetric=symmetric, bits=bits))
    assert low <= 0 <= high
    if symmetric:
        assert low == -high
    else:
        assert min(0.0, *values) * (1 + 1e-9) <= low
        assert high <= max(0.0, *values) * (1 + 1e-9)


def test_expected_error_is_the_error() -> None:
    for values in (GAUSS, RELU, OUTLIER):
        histogram = observed(values).histogram
        assert histogram is not None
        for low, high in ((-4.0, 4.0), (-2.0, 3.0), (0.0, 2.5)):
            found = float(expected_error(histogram, np.array(low), np.array(high), 8))
            assert found == pytest.approx(true_error(values, low, high), rel=0.05)


@pytest.mark.parametrize("values", [GAUSS, RELU, OUTLIER], ids=["gauss", "relu", "outlier"])
@pytest.mark.parametrize("name", ["moving-average", "percentile", "percentile-99.9", "entropy", "min-max"])
def test_no_estimator_has_a_smaller_error_than_mse(values: Any, name: Any) -> None:
    best = true_error(values, *ESTIMATORS["mse"](observed(values), Grid()))
    assert best <= 1.02 * true_error(values, *ESTIMATORS[name](observed(values), Grid()))


@pytest.mark.parametrize("name", ["percentile", "percentile-99.9", "mse", "entropy"])
def test_an_outlier_is_clipped(name: Any) -> None:
    low, high = ESTIMATORS[name](observed(OUTLIER), Grid())
    assert -6 < low < -2
    # One value far off weighs its distance squared: mse gives up less of it.
    assert 2 < high < (35 if name == "mse" else 20)
    assert ESTIMATORS["min-max"](observed(OUTLIER), Grid())[1] == 40


def test_percentile_counts_the_zeros() -> None:
    values = np.concatenate([np.zeros(99_995), [1.0, 2.0, 3.0, 4.0, 100.0]])
    low, high = ESTIMATORS["percentile"](observed(values), Grid())
    assert low == 0
    assert high < 1, "5 of 100,000 are less than 0.01 %"


def test_a_tensor_of_one_value() -> None:
    for name in ESTIMATORS:
        assert ESTIMATORS[name](observed(np.zeros(10)), Grid()) == (0, 0)
        low, high = ESTIMATORS[name](observed(np.full(10, 3.0)), Grid())
        assert low == 0
        assert high == (1.5 if name == "moving-average" else 3)


def test_ranges_of_all_tensors() -> None:
    tensors = {"a": observed(OUTLIER), "b": observed(RELU)}
    statistics = Statistics(samples=1, tensors=tensors, half=None)
    assert estimate_ranges(statistics, "min-max") == {name: (min(t.low, 0), t.high) for name, t in tensors.items()}
    low, high = estimate_ranges(statistics, "min-max", grid=Grid(symmetric=True))["b"]
    assert (low, high) == (-float(RELU.max()), float(RELU.max()))


def test_histograms_are_asked_for_by_name() -> None:
    without: list[str] = [name for name in ESTIMATORS if not needs_histograms(name)]
    assert without == ["min-max", "moving-average"]
    bare = TensorStatistics(low=0, high=1, moving_low=0, moving_high=1)
    with pytest.raises(ValueError, match="needs statistics with histograms"):
        estimate_ranges(Statistics(samples=1, tensors={"a": bare}, half=None), "entropy")

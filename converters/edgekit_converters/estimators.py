"""Range estimators: statistics of a tensor -> the (low, high) that its integers cover.

Clipping a few outliers makes the steps between all other values smaller; what that is worth depends on the model, so
``calibrators.py`` measures. Every range contains 0, which int8 must represent exactly (padding, ReLU). The fixed
ranges of softmax, logistic and tanh outputs are the quantizer's own and follow no estimator.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from edgekit_converters.statistics import BINS, Histogram, Statistics, TensorStatistics
from edgekit_converters.types import Calibrator, Ranges


@dataclass(frozen=True, kw_only=True)
class Grid:
    """The integers that a range is divided among."""

    symmetric: bool = False
    """Zero point 0: the range is (-high, high)."""
    bits: int = 8


INT8 = Grid()

Estimator = Callable[[TensorStatistics, Grid], tuple[float, float]]
"""-> (low, high) with low <= 0 <= high."""

CANDIDATES = 128
"""Clipping points that ``mse`` tries at each end."""
ENTROPY_CANDIDATES = 32
"""Clipping points that ``entropy`` tries, between the width of all its levels and the whole."""


def estimate_ranges(
    statistics: Statistics,
    calibrator: Calibrator,
    *,
    grid: Grid = INT8,
) -> Ranges:
    """Ranges of every tensor by one estimator.

    ``percentile``, ``mse`` and ``entropy`` need statistics with histograms (ValueError without); see
    ``needs_histograms``.
    """
    return {name: ESTIMATORS[calibrator](tensor, grid) for name, tensor in statistics.tensors.items()}


def needs_histograms(calibrator: Calibrator) -> bool:
    """Whether ``calibrator`` costs the second pass."""
    return calibrator not in {"min-max", "moving-average"}


def min_max(tensor: TensorStatistics, grid: Grid) -> tuple[float, float]:
    """What was seen: clips nothing of the calibration data."""
    return _around_zero(tensor.low, tensor.high, grid)


def moving_average(tensor: TensorStatistics, grid: Grid) -> tuple[float, float]:
    """Average of each sample's extremes (Krishnamoorthi 2018, arXiv:1806.08342), as ai-edge-quantizer has it."""
    return _around_zero(tensor.moving_low, tensor.moving_high, grid)


def percentile(tensor: TensorStatistics, grid: Grid, *, share: float) -> tuple[float, float]:
    """Leave out what is beyond ``share`` per cent of all elements at each end."""
    import numpy as np

    histogram = _histogram(tensor)
    edges = _edges(histogram)
    counts = histogram.counts.copy()
    counts[np.clip(np.searchsorted(edges, 0.0, side="right") - 1, 0, BINS - 1)] += histogram.zeros
    cumulated = np.concatenate([[0], np.cumsum(counts)]) / max(1, counts.sum())
    outside = 1 - share / 100
    low, high = np.interp((outside, 1 - outside), cumulated, edges)
    return _around_zero(float(low), float(high), grid)


def mse(tensor: TensorStatistics, grid: Grid) -> tuple[float, float]:
    """The pair of clipping points with the least expected squared error, tried on a grid over both ends."""
    import numpy as np

    histogram = _histogram(tensor)
    if not histogram.counts.any():
        return min_max(tensor, grid)
    parts = np.arange(1, CANDIDATES + 1) / CANDIDATES
    low, high = _around_zero(histogram.low, histogram.high, grid)
    lows = low * parts if low < 0 else np.zeros(1)
    highs = high * parts if high > 0 else np.zeros(1)
    if grid.symmetric:
        errors = expected_error(histogram, lows, highs, grid.bits)
        best = int(errors.argmin())
        return float(lows[best]), float(highs[best])
    errors = expected_error(histogram, lows[:, None], highs[None, :], grid.bits)
    row, column = np.unravel_index(int(errors.argmin()), errors.shape)
    return float(lows[row]), float(highs[column])


def entropy(tensor: TensorStatistics, grid: Grid) -> tuple[float, float]:
    """Least Kullback-Leibler divergence between the values and their quantized ones, over |x|.

    Migacz, "8-bit inference with TensorRT" (GTC 2017); the outermost bin takes what is clipped. A tensor with both
    signs has half the levels for each. Levels are those of 8 bits in any case: with 16 there
    are fewer bins than levels.
    """
    import numpy as np

    histogram = _histogram(tensor)
    if not histogram.counts.any():
        return min_max(tensor, grid)
    largest = max(-histogram.low, histogram.high)
    two_sided = grid.symmetric or (histogram.low < 0 < histogram.high)
    centres = np.abs(_edges(histogram)[:-1] + _edges(histogram)[1:]) / 2
    magnitudes, _ = np.histogram(centres, BINS, (0.0, largest), weights=histogram.counts)
    levels = 128 if two_sided else 256
    kept = np.linspace(levels, BINS, ENTROPY_CANDIDATES).astype(int)
    divergences = [_divergence(magnitudes, bins, levels) for bins in kept]
    limit = largest * int(kept[int(np.argmin(divergences))]) / BINS
    return _around_zero(max(histogram.low, -limit), min(histogram.high, limit), grid)


ESTIMATORS: dict[Calibrator, Estimator] = {
    "min-max": min_max,
    "moving-average": moving_average,
    # Both of Wu et al. 2020 (arXiv:2004.09602), where which is the better one depends on the model.
    "percentile": partial(percentile, share=99.99),
    "percentile-99.9": partial(percentile, share=99.9),
    "mse": mse,
    "entropy": entropy,
}
"""Every estimator; a new one is a function and a line here (and its name in ``types.Calibrator``)."""


def expected_error(histogram: Histogram, low: Any, high: Any, bits: int) -> Any:
    """Sum of squared errors over all elements when they are clipped to ``low..high`` and rounded to ``bits`` bits.

    ``low`` and ``high`` are arrays that broadcast. Rounding costs step^2 / 12 for each element that is not 0; what
    lies outside costs its distance to the end. Sums up to each bin make a pair of ends O(1).
    """
    import numpy as np

    edges = _edges(histogram)
    centres = (edges[:-1] + edges[1:]) / 2
    counts = histogram.counts.astype(np.float64)
    sums = [np.concatenate([[0.0], np.cumsum(counts * centres**power)]) for power in range(3)]

    def beyond(end: Any, below: bool) -> Any:
        at = np.searchsorted(centres, end)
        count, first, second = (total[at] if below else total[-1] - total[at] for total in sums)
        return second - 2 * end * first + end**2 * count

    step = (high - low) / (2**bits - 1)
    return step**2 / 12 * counts.sum() + beyond(low, below=True) + beyond(high, below=False)


def _divergence(magnitudes: Any, bins: int, levels: int) -> float:
    """KL(P || Q) where P are the first ``bins`` magnitudes with the rest in the last, and Q their ``levels`` levels."""
    import numpy as np

    reference = magnitudes[:bins].astype(np.float64)
    full = reference > 0
    level = np.arange(bins) * levels // bins
    totals = np.bincount(level, reference, levels)
    filled = np.bincount(level, full, levels)
    expanded = np.divide(totals, filled, out=np.zeros(levels), where=filled > 0)[level] * full
    reference[-1] += magnitudes[bins:].sum()
    if not expanded.any():
        return float("inf")
    p, q = reference / reference.sum(), expanded / expanded.sum()
    # Where only clipped elements stand, Q has nothing; TensorRT's calibrators give it a tiny part.
    inside = p > 0
    return float((p[inside] * np.log(p[inside] / np.maximum(q[inside], 1e-12))).sum())


def _histogram(tensor: TensorStatistics) -> Histogram:
    if tensor.histogram is None:
        raise ValueError("this estimator needs statistics with histograms")
    return tensor.histogram


def _edges(histogram: Histogram) -> Any:
    import numpy as np

    return np.linspace(histogram.low, histogram.high, BINS + 1)


def _around_zero(low: float, high: float, grid: Grid) -> tuple[float, float]:
    low, high = min(low, 0.0), max(high, 0.0)
    return (-max(-low, high), max(-low, high)) if grid.symmetric else (low, high)

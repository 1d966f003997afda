"""The plainest ranges, for tests of what comes after calibration."""

from collections.abc import Iterable, Mapping
from typing import Any

from edgekit_converters.estimators import estimate_ranges
from edgekit_converters.statistics import collect_statistics
from edgekit_converters.types import Ranges


def min_max_ranges(float_model: bytes, samples: Iterable[Mapping[str, Any]]) -> Ranges:
    """Tensor name -> smallest and largest value over ``samples``, with 0 in it; one pass."""
    return estimate_ranges(collect_statistics(float_model, lambda: samples, histograms=False), "min-max")

"""Min-max ranges in one call: statistics of one pass, and the plainest estimator over them."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from edgekit_converters.estimators import estimate_ranges
from edgekit_converters.statistics import collect_statistics
from edgekit_converters.types import Ranges


def collect_ranges(
    float_model: bytes,
    samples: Iterable[Mapping[str, Any]],
    *,
    on_sample: Callable[[int], None] | None = None,
    on_outputs: Callable[[dict[str, Any]], None] | None = None,
    num_threads: int = 1,
) -> Ranges:
    """Tensor name -> (min, max), with 0 in it, over ``samples``; see ``collect_statistics``.

    Empty for no samples. Raises ConversionError if the runtime refuses the model.
    """
    statistics = collect_statistics(
        float_model,
        lambda: samples,
        histograms=False,
        on_sample=on_sample,
        on_outputs=on_outputs,
        num_threads=num_threads,
    )
    return estimate_ranges(statistics, "min-max")

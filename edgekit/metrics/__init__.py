"""Metrics by the names that ``--metric`` takes. A new one is a file beside this one and a line in ``METRICS``."""

import difflib
from collections.abc import Callable

from edgekit.errors import ProjectError
from edgekit.metrics.protocol import Metric
from edgekit.metrics.topk import TopK

METRICS: dict[str, Callable[[], Metric]] = {
    "top1": lambda: TopK(k=1),
    "top5": lambda: TopK(k=5),
}


def metric_of(name: str) -> Metric:
    """The metric called ``name``; raises ProjectError naming the closest known one."""
    if name in METRICS:
        return METRICS[name]()
    close = difflib.get_close_matches(name, METRICS, n=1)
    raise ProjectError(
        f"There is no metric {name!r}.",
        hint=(f"Did you mean {close[0]!r}? " if close else "") + f"Known: {', '.join(METRICS)}.",
    )

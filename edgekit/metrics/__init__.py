"""Metrics by the names that ``--metric`` takes. A new one is a file beside this one and a line in ``METRICS``.

A metric's module has ``make(name, detection) -> Metric``; it is imported when it is asked for.
"""

import difflib
import importlib
from pathlib import Path

from edgekit.errors import ProjectError
from edgekit.metrics.protocol import Metric
from edgekit.project import Detection
from edgekit_converters.functions import SPELLING

METRICS: dict[str, str] = {
    "top1": "edgekit.metrics.topk",
    "top5": "edgekit.metrics.topk",
    "auc": "edgekit.metrics.auc",
    "map50": "edgekit.metrics.average_precision",
    "map": "edgekit.metrics.average_precision",
    "mse": "edgekit.metrics.error",
}
"""Name -> the module that makes it."""


def metric_of(name: str, *, detection: Detection | None = None, directory: Path = Path()) -> Metric:
    """The metric called ``name``, or ``package.module:function`` looked for in ``directory``.

    ``detection`` is [detection] of edgekit.toml. Raises ProjectError for an unknown name (with the closest known one),
    a function that cannot be imported, or a package that is missing.
    """
    if name in METRICS:
        metric: Metric = importlib.import_module(METRICS[name]).make(name, detection or Detection())
        return metric
    if SPELLING.fullmatch(name):
        from edgekit.metrics.function import function_metric

        return function_metric(name, directory)
    close = difflib.get_close_matches(name.lower(), METRICS, n=1)
    raise ProjectError(
        f"There is no metric {name!r}.",
        hint=(f"Did you mean {close[0]!r}? " if close else "")
        + f"Known: {', '.join(METRICS)}, or package.module:function.",
    )

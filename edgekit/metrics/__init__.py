"""Metrics by the names that ``--metric`` takes. A new one is a file beside this one and a line in ``METRICS``."""

import difflib
from collections.abc import Callable
from pathlib import Path

from edgekit.errors import ProjectError
from edgekit.metrics.auc import AreaUnderCurve
from edgekit.metrics.average_precision import mean_average_precision
from edgekit.metrics.error import MeanSquaredError
from edgekit.metrics.function import function_metric
from edgekit.metrics.protocol import Metric
from edgekit.metrics.topk import TopK
from edgekit.project import Detection
from edgekit_converters.functions import SPELLING

COCO_THRESHOLDS = (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)

METRICS: dict[str, Callable[[Detection], Metric]] = {
    "top1": lambda _: TopK(k=1),
    "top5": lambda _: TopK(k=5),
    "auc": lambda _: AreaUnderCurve(),
    "map50": lambda table: mean_average_precision("map50", COCO_THRESHOLDS[:1], table),
    "map": lambda table: mean_average_precision("map", COCO_THRESHOLDS, table),
    "mse": lambda _: MeanSquaredError(),
}


def metric_of(name: str, *, detection: Detection | None = None, directory: Path = Path()) -> Metric:
    """The metric called ``name``, or ``package.module:function`` looked for in ``directory``.

    ``detection`` is [detection] of edgekit.toml. Raises ProjectError for an unknown name (with the closest known one),
    a function that cannot be imported, or a package that is missing.
    """
    if name in METRICS:
        return METRICS[name](detection or Detection())
    if SPELLING.fullmatch(name):
        return function_metric(name, directory)
    close = difflib.get_close_matches(name.lower(), METRICS, n=1)
    raise ProjectError(
        f"There is no metric {name!r}.",
        hint=(f"Did you mean {close[0]!r}? " if close else "")
        + f"Known: {', '.join(METRICS)}, or package.module:function.",
    )

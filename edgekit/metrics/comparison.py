"""Two measurements on the same samples held together. Pure."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from edgekit.errors import DataError
from edgekit.metrics.heads import HeadChange, compare_heads
from edgekit.metrics.intervals import LEVEL, bootstrap_interval, mcnemar, paired_interval
from edgekit.metrics.protocol import Metric, Statistic
from edgekit_converters.types import Finding

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

MAX_CHANGED = 10
COLLAPSED_DB = 10.0
"""Noise of a tenth of the signal's power: an output below this carries little of what the source computes."""
FEW_SAMPLES = 30
"""Fewer are too few for a bootstrap interval."""


@dataclass(frozen=True, kw_only=True)
class Scores:
    """What one model made of the samples; what it takes in memory is said by each metric and by ``OutputLog``."""

    metric: Metric
    records: tuple[Any, ...]
    """One a sample, as the metric keeps it."""
    digests: tuple[bytes, ...]
    """One a sample: what it was measured on."""
    places: tuple[str, ...]
    """Where each sample came from."""
    outputs: "Mapping[int, Mapping[str, Array]]"
    """Position of a sample -> its outputs, for evenly spread samples."""


@dataclass(frozen=True, kw_only=True)
class ClassChange:
    """The metric of one class before and after."""

    label: int
    """Class index; for detection the COCO category."""
    samples: int
    source: float
    model: float
    drop: float
    """Positive where the model is worse."""


@dataclass(frozen=True, kw_only=True)
class ChangedSample:
    """A sample on which the two models differ."""

    index: int
    """Position in the evaluation data, from 0."""
    digest: str
    """16 bytes in hexadecimal, of the sample as the model takes it."""
    where: str
    source: float
    """``Evaluation.score`` of the source."""
    model: float
    source_prediction: int | None = None
    """Class; None where the metric chooses none."""
    model_prediction: int | None = None


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Two models on the same samples."""

    metric: str
    samples: int
    source: float
    """Metric of the source."""
    model: float
    """Metric of the finished file."""
    drop: float
    """What is lost in the metric's own direction: source - model, for an error model - source; negative if better."""
    drop_interval: tuple[float, float]
    """Paired interval of the drop at ``level``."""
    level: float = LEVEL
    method: str = "agresti-min"
    """``agresti-min`` (paired proportions) or ``bootstrap`` (percentile, over samples)."""
    p_value: float | None = None
    """McNemar's exact test; None where samples are not simply right or wrong."""
    higher_is_better: bool = True
    is_fraction: bool = True
    """The metric is in 0..1, and a drop of 0.01 is a point."""
    score: str = ""
    """What the scores of ``changed`` are."""
    per_class: tuple[ClassChange, ...] = ()
    """The largest drop first."""
    changed: tuple[ChangedSample, ...] = ()
    """At most ``MAX_CHANGED``, what changed most first."""
    heads: tuple[HeadChange, ...] = ()
    """Every output of the model."""
    agreement: Mapping[str, float] = field(default_factory=dict)
    """What else tells the models apart, such as ``same_prediction``: share of samples."""
    findings: tuple[Finding, ...] = ()


def compare(source: Scores, model: Scores, *, level: float = LEVEL) -> Evaluation:
    """Hold two measurements on the same samples together; raises DataError when the samples are not the same."""
    import numpy as np

    if source.digests != model.digests or source.metric != model.metric:
        raise DataError(
            "The two models were not measured on the same samples by the same metric.",
            hint="Measure both on the same data; a generator must yield the same samples in the same order every time.",
        )
    metric, samples = source.metric, len(source.records)
    before, after = metric.statistic(source.records), metric.statistic(model.records)
    everything = np.ones((1, samples))
    values = float(before.values(everything)[0]), float(after.values(everything)[0])
    sign = 1 if metric.higher_is_better else -1
    interval, method, p_value = _interval(before, after, samples, level)
    heads = compare_heads(source.outputs, model.outputs)
    return Evaluation(
        metric=metric.name,
        samples=samples,
        source=values[0],
        model=values[1],
        drop=sign * (values[0] - values[1]),
        drop_interval=interval if sign > 0 else (-interval[1], -interval[0]),
        level=level,
        method=method,
        p_value=p_value,
        higher_is_better=metric.higher_is_better,
        is_fraction=metric.is_fraction,
        score=metric.score,
        per_class=_per_class(before, after, sign),
        changed=_changed(source, model),
        heads=heads,
        agreement=metric.agreement(source.records, model.records),
        findings=(*_collapsed(heads if metric.aligned else ()), *_few(samples, method)),
    )


def _interval(
    source: Statistic, model: Statistic, samples: int, level: float
) -> tuple[tuple[float, float], str, float | None]:
    if source.hits is None or model.hits is None:
        return bootstrap_interval(source, model, samples, level=level), "bootstrap", None
    lost, gained = int((source.hits & ~model.hits).sum()), int((model.hits & ~source.hits).sum())
    return paired_interval(lost, gained, samples, level), "agresti-min", mcnemar(lost, gained)


def _per_class(source: Statistic, model: Statistic, sign: int) -> tuple[ClassChange, ...]:
    changes = [
        ClassChange(
            label=label,
            samples=before.samples,
            source=before.value,
            model=model.per_class[label].value,
            drop=sign * (before.value - model.per_class[label].value),
        )
        for label, before in source.per_class.items()
        if math.isfinite(before.value) and math.isfinite(model.per_class[label].value)
    ]
    return tuple(sorted(changes, key=lambda change: (-change.drop, change.label)))


def _changed(source: Scores, model: Scores) -> tuple[ChangedSample, ...]:
    metric = source.metric
    found = [
        ChangedSample(
            index=index,
            digest=source.digests[index].hex(),
            where=source.places[index],
            source=metric.score_of(before),
            model=metric.score_of(after),
            source_prediction=metric.prediction(before),
            model_prediction=metric.prediction(after),
        )
        for index, (before, after) in enumerate(zip(source.records, model.records, strict=True))
    ]
    found = [change for change in found if abs(change.source - change.model) > 0]
    return tuple(sorted(found, key=_by_change)[:MAX_CHANGED])


def _by_change(change: ChangedSample) -> tuple[bool, float, int]:
    """Other predictions first, then the largest change of the score."""
    return change.source_prediction == change.model_prediction, -abs(change.source - change.model), change.index


def _collapsed(heads: Sequence[HeadChange]) -> tuple[Finding, ...]:
    return tuple(
        Finding(
            name="output-collapsed",
            severity="warning",
            message=(
                f"Output {head.name!r} is {head.sqnr_db:.1f} dB above its quantization noise (largest error "
                f"{head.max_error:.4g}), whatever the metric says: little of what the source computes is left in it."
            ),
            fix="Use --precision float16 or int16x8, or keep the layers before this output in float.",
        )
        for head in heads
        if head.sqnr_db is not None and head.sqnr_db < COLLAPSED_DB
    )


def _few(samples: int, method: str) -> tuple[Finding, ...]:
    if method != "bootstrap" or samples >= FEW_SAMPLES:
        return ()
    return (
        Finding(
            name="evaluation-few-samples",
            severity="warning",
            message=f"A bootstrap interval from {samples} samples is too narrow.",
            fix=f"Evaluate on {FEW_SAMPLES} samples or more, better on hundreds.",
        ),
    )

"""Two measurements on the same samples held together. Pure."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from edgekit.errors import DataError
from edgekit.metrics.heads import HeadChange, compare_heads
from edgekit.metrics.intervals import LEVEL, bootstrap, mcnemar, paired_interval
from edgekit.metrics.protocol import Metric, Replayable, Statistic
from edgekit_converters.types import Finding

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

Method = Literal["agresti-min", "bootstrap"]
"""Paired proportions (Agresti and Min 2005), or percentiles over resampled samples (Efron 1979)."""
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
    name: str | None = None
    """None where the data has no name for it."""


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
    method: Method = "agresti-min"
    """How the interval was found."""
    resamples: int | None = None
    """Of the bootstrap; None for other methods."""
    p_value: float | None = None
    """McNemar's exact test; None where samples are not simply right or wrong."""
    higher_is_better: bool = True
    is_fraction: bool = True
    """The metric is in 0..1, and a drop of 0.01 is a point."""
    score: str = ""
    """What the scores of ``changed`` are."""
    note: str = ""
    """How the metric was computed, where its name does not say all."""
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
    proof = _prove(before, after, samples, level)
    low, high = proof.interval
    heads = _heads(source, model, sign)
    return Evaluation(
        metric=metric.name,
        samples=samples,
        source=values[0],
        model=values[1],
        drop=sign * (values[0] - values[1]),
        drop_interval=(low, high) if sign > 0 else (-high, -low),
        level=level,
        method=proof.method,
        resamples=proof.resamples,
        p_value=proof.p_value,
        higher_is_better=metric.higher_is_better,
        is_fraction=metric.is_fraction,
        score=metric.score,
        note=before.note,
        per_class=_per_class(before, after, sign),
        changed=_changed(source, model),
        heads=heads,
        agreement=metric.agreement(source.records, model.records),
        findings=(*_collapsed(heads if metric.aligned else (), values[0]), *_few(samples, proof.method)),
    )


@dataclass(frozen=True, kw_only=True)
class _Proof:
    interval: tuple[float, float]
    """Of source - model."""
    method: Method
    resamples: int | None = None
    p_value: float | None = None


def _prove(source: Statistic, model: Statistic, samples: int, level: float) -> _Proof:
    if source.hits is None or model.hits is None:
        drawn = bootstrap(source, model, samples, level=level)
        return _Proof(interval=drawn.interval, method="bootstrap", resamples=drawn.resamples)
    lost, gained = int((source.hits & ~model.hits).sum()), int((model.hits & ~source.hits).sum())
    return _Proof(
        interval=paired_interval(lost, gained, samples, level), method="agresti-min", p_value=mcnemar(lost, gained)
    )


def _heads(source: Scores, model: Scores, sign: int) -> tuple[HeadChange, ...]:
    """Every output, with what it alone loses where the metric can tell."""
    heads = compare_heads(source.outputs, model.outputs)
    metric = source.metric
    if len(heads) <= 1 or not metric.aligned or not isinstance(metric, Replayable):
        return heads
    positions = sorted(source.outputs.keys() & model.outputs.keys())
    before = value_of(metric, [source.records[at] for at in positions])

    def alone(name: str) -> float:
        swapped = ({**source.outputs[at], name: model.outputs[at][name]} for at in positions)
        records = [metric.replay(source.records[at], outputs) for at, outputs in zip(positions, swapped, strict=True)]
        return sign * (before - value_of(metric, records))

    return tuple(replace(head, drop=alone(head.name)) for head in heads)


def value_of(metric: Metric, records: Sequence[Any]) -> float:
    """The metric of some records; raises DataError when they cannot give it."""
    import numpy as np

    return float(metric.statistic(records).values(np.ones((1, len(records))))[0])


def _per_class(source: Statistic, model: Statistic, sign: int) -> tuple[ClassChange, ...]:
    changes = [
        ClassChange(
            label=label,
            name=before.name,
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


def _collapsed(heads: Sequence[HeadChange], source: float) -> tuple[Finding, ...]:
    """Outputs that are mostly noise, or that alone cost half of the metric."""
    found = []
    for head in heads:
        why = []
        if head.sqnr_db is not None and head.sqnr_db < COLLAPSED_DB:
            why.append(f"its quantization noise is only {head.sqnr_db:.1f} dB below its signal")
        if head.drop is not None and head.drop > abs(source) / 2:
            why.append(f"it alone takes the metric from {source:.4g} to {source - head.drop:.4g}")
        if why:
            found.append(
                Finding(
                    name="output-collapsed",
                    severity="warning",
                    message=f"Output {head.name!r} has collapsed, whatever the metric says: {' and '.join(why)} "
                    f"(largest error {head.max_error:.4g}).",
                    fix="Use --precision float16 or int16x8, or keep the layers before this output in float.",
                )
            )
    return tuple(found)


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

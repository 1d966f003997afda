"""Accuracy of the finished file against its source, on this machine, on the same held-out samples."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Any, Protocol

from edgekit.agent.runtime import Model, dequantize, quantize
from edgekit.errors import AccuracyError, DataError
from edgekit.project import parse_fraction
from edgekit_converters.types import Finding

if TYPE_CHECKING:
    import numpy as np

LEVEL = 0.95
ROUNDING = 1e-12
"""A drop of exactly the budget keeps it, whatever the last bit says."""


class LabelledSample(Protocol):
    """A sample as ``edgekit_converters.calibration`` gives it."""

    @property
    def inputs(self) -> Mapping[str, "np.ndarray[Any, Any]"]: ...
    @property
    def label(self) -> int | None: ...


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Top-1 of two models on the same samples."""

    metric: str
    """``top1``: share of samples whose largest output is the label."""
    samples: int
    source: float
    """Metric of the float model, 0..1."""
    model: float
    """Metric of the finished file, 0..1."""
    drop: float
    """source - model; negative where the file is better."""
    drop_interval: tuple[float, float]
    """Paired interval of the drop, Agresti and Min (2005)."""
    level: float = LEVEL


def evaluate(
    float_model: bytes,
    model: bytes,
    samples: Iterable[LabelledSample],
    *,
    on_sample: Callable[[], None] = lambda: None,
) -> Evaluation:
    """Run both models over the labelled samples, one at a time.

    Raises:
        DataError: a sample without a label, a label out of range, no sample, or an output that is no score vector.
    """
    reference, candidate = Model(float_model), Model(model)
    classes = _classes(candidate)
    count = right_only_source = right_only_model = right_both = 0
    for sample in samples:
        label = _checked_label(sample.label, classes, count)
        before = predict(reference, sample.inputs) == label
        after = predict(candidate, sample.inputs) == label
        right_both += before and after
        right_only_source += before and not after
        right_only_model += after and not before
        count += 1
        on_sample()
    if count == 0:
        raise DataError("The evaluation data holds no sample.", hint="Give a file or folder with labelled samples.")
    return Evaluation(
        metric="top1",
        samples=count,
        source=(right_both + right_only_source) / count,
        model=(right_both + right_only_model) / count,
        drop=(right_only_source - right_only_model) / count,
        drop_interval=paired_interval(right_only_source, right_only_model, count),
    )


def predict(model: Model, inputs: Mapping[str, "np.ndarray[Any, Any]"]) -> int:
    """Class of the largest output (or, for a single sigmoid output, whether it is above one half)."""
    arrays = {tensor.name: quantize(inputs[tensor.name], tensor) for tensor in model.inputs}
    scores = dequantize(model.run(arrays)[model.outputs[0].name], model.outputs[0]).ravel()
    return int(scores[0] > 0.5) if scores.size == 1 else int(scores.argmax())  # noqa: PLR2004


def paired_interval(lost: int, gained: int, count: int, level: float = LEVEL) -> tuple[float, float]:
    """Interval of the difference of two paired proportions, (lost - gained) / count.

    Adjusted Wald of Agresti and Min, "Simple improved confidence intervals for comparing matched proportions",
    Statistics in Medicine 24 (2005): half a sample is added to each cell of the 2 x 2 table.
    """
    lost_adjusted, gained_adjusted, total = lost + 0.5, gained + 0.5, count + 2
    difference = (lost_adjusted - gained_adjusted) / total
    spread = math.sqrt(lost_adjusted + gained_adjusted - (lost_adjusted - gained_adjusted) ** 2 / total) / total
    reach = NormalDist().inv_cdf((1 + level) / 2) * spread
    return max(-1.0, difference - reach), min(1.0, difference + reach)


def allowed_drop(evaluation: Evaluation, max_drop: str) -> float:
    """The budget as a fraction: points as they are, per cent of the source's metric."""
    amount, unit = parse_fraction(max_drop)
    return amount / 100 if unit == "pt" else amount / 100 * evaluation.source


def check_budget(evaluation: Evaluation, max_drop: str) -> None:
    """Raise AccuracyError (exit code 3) when the measured drop is over the budget."""
    if evaluation.drop > allowed_drop(evaluation, max_drop) + ROUNDING:
        low, high = evaluation.drop_interval
        raise AccuracyError(
            f"The model loses {evaluation.drop * 100:.2f} points of {evaluation.metric} on {evaluation.samples} "
            f"samples ({evaluation.source:.4f} to {evaluation.model:.4f}; 95 % interval {low * 100:+.2f} to "
            f"{high * 100:+.2f}); the budget is {max_drop}.",
            hint="Try --precision float16, more or better calibration samples, or a larger --max-drop.",
            details={"evaluation": evaluation, "max_drop": max_drop},
        )


def unproven_budget(evaluation: Evaluation, max_drop: str) -> tuple[Finding, ...]:
    """A finding when the measured drop is within the budget and its interval is not."""
    allowed, high = allowed_drop(evaluation, max_drop), evaluation.drop_interval[1]
    if high <= allowed + ROUNDING:
        return ()
    return (
        Finding(
            name="budget-not-proven",
            severity="warning",
            message=(
                f"The measured drop keeps the budget of {max_drop}, but {evaluation.samples} samples leave room: the "
                f"true drop may be {high * 100:.2f} points."
            ),
            fix="Evaluate on more samples; the interval narrows with their square root.",
        ),
    )


def _classes(model: Model) -> int:
    if len(model.outputs) != 1:
        raise DataError(
            f"top1 needs a model with one output; this one has {len(model.outputs)}.",
            hint="Leave --evaluate away for this model.",
        )
    shape = model.outputs[0].shape
    if math.prod(shape[:-1]) != 1:
        raise DataError(
            f"top1 needs one vector of scores a sample; the output has the shape {shape}.",
            hint="Build with a batch of 1, or leave --evaluate away for this model.",
        )
    return max(2, shape[-1] if shape else 1)


def _checked_label(label: int | None, classes: int, position: int) -> int:
    if label is None:
        raise DataError(
            "The evaluation data has no labels.",
            hint="Put integer labels under y in the .npz, or images into a folder a class.",
        )
    if not 0 <= label < classes:
        raise DataError(
            f"Label {label} of sample {position} is out of range: the model has {classes} classes.",
            hint="Labels count from 0 in the order of the model's output.",
        )
    return label

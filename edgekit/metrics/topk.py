"""top1 and top5: the share of samples whose label is among the k largest outputs."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from edgekit.errors import DataError
from edgekit.metrics.error import only_output
from edgekit.metrics.protocol import ClassValue, EvaluationSample, Statistic
from edgekit.project import Detection
from edgekit_converters.targets import Targets

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

HALF = 0.5
"""A single output is the probability of class 1."""


class Guess(NamedTuple):
    """About 150 bytes a sample, whatever the number of classes."""

    label: int
    prediction: int
    hit: bool
    score: float
    """Output of the label's class."""


@dataclass(frozen=True, kw_only=True)
class TopK:
    """For a model with one output: a vector of scores, or a single sigmoid (two classes)."""

    k: int
    targets: Targets = "class"
    higher_is_better: bool = True
    is_fraction: bool = True
    aligned: bool = True
    score: str = "output of the label's class"

    @property
    def name(self) -> str:
        return f"top{self.k}"

    def record(self, sample: EvaluationSample, outputs: "Mapping[str, Array]") -> Guess:
        scores = score_vector(outputs, self.name)
        label = class_label(sample, max(2, scores.size))
        if scores.size == 1:
            prediction = int(scores[0] > HALF)
            hit = prediction == label or self.k > 1
            return Guess(label, prediction, hit, float(scores[0] if label else 1 - scores[0]))
        better = int((scores > scores[label]).sum() + (scores[:label] == scores[label]).sum())  # ties: as argmax does
        return Guess(label, int(scores.argmax()), better < self.k, float(scores[label]))

    def statistic(self, records: Sequence[Guess]) -> Statistic:
        import numpy as np

        hits = np.array([record.hit for record in records], bool)
        labels = np.array([record.label for record in records])
        per_class = {
            int(label): ClassValue(value=float(hits[labels == label].mean()), samples=int((labels == label).sum()))
            for label in np.unique(labels)
        }
        return Statistic(values=lambda weights: weights @ hits / weights.sum(axis=1), per_class=per_class, hits=hits)

    def score_of(self, record: Guess) -> float:
        return record.score

    def prediction(self, record: Guess) -> int | None:
        return record.prediction

    def agreement(self, source: Sequence[Guess], model: Sequence[Guess]) -> Mapping[str, float]:
        same = sum(before.prediction == after.prediction for before, after in zip(source, model, strict=True))
        return {"same_prediction": same / len(source)}


def make(name: str, _detection: Detection) -> TopK:
    """``top1`` or ``top5``."""
    return TopK(k=int(name.removeprefix("top")))


def score_vector(outputs: "Mapping[str, Array]", metric: str) -> "Array":
    """The scores (classes,) of a model with one output; raises DataError for any other."""
    scores = only_output(outputs, metric)
    if math.prod(scores.shape[:-1]) != 1:
        raise DataError(
            f"{metric} needs one vector of scores a sample; the output has the shape {scores.shape}.",
            hint="Give --metric package.module:function for a model like this, or leave --evaluate away.",
        )
    return scores.ravel()


def class_label(sample: EvaluationSample, classes: int) -> int:
    """The sample's class index, within the model's classes; raises DataError."""
    label = sample.label
    if label is None:
        raise DataError(
            "The evaluation data has no labels.",
            hint="Put integer labels under y in the .npz, or images into a folder a class.",
        )
    if not 0 <= label < classes:
        raise DataError(
            f"{sample.where}: label {label} is out of range, the model has {classes} classes.",
            hint="Labels count from 0 in the order of the model's output.",
        )
    return label

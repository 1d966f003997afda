"""auc: area under the ROC curve, binary, macro one-vs-rest, or of an autoencoder's reconstruction error.

The area is the share of (positive, negative) pairs that the score puts in the right order, ties counting half (Hanley
and McNeil 1982): an int8 score that no longer tells samples apart loses here.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from edgekit.errors import DataError
from edgekit.metrics.error import only_output, single_input, squared_error
from edgekit.metrics.protocol import ClassValue, EvaluationSample, Statistic
from edgekit.metrics.topk import class_label, score_vector
from edgekit.project import Detection
from edgekit_converters.targets import Targets

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

BINARY = 2


class Ranked(NamedTuple):
    """Four bytes a class and about 150 more a sample."""

    label: int
    scores: "Array"
    """float32 (classes,); one element, the score of class 1, where there are two classes."""
    reconstructed: bool
    """The score is a reconstruction error."""


@dataclass(frozen=True, kw_only=True)
class AreaUnderCurve:
    """Class 1 is the positive one of two; for an autoencoder label 1 is the anomaly."""

    name: str = "auc"
    targets: Targets = "class"
    higher_is_better: bool = True
    is_fraction: bool = True
    aligned: bool = True
    score: str = "score of the label's class (of class 1 where there are two)"

    def record(self, sample: EvaluationSample, outputs: "Mapping[str, Array]") -> Ranked:
        import numpy as np

        values = only_output(outputs, self.name)
        restored = single_input(sample, values.size) if values.size > BINARY else None
        if restored is not None:
            label = class_label(sample, BINARY)
            return Ranked(label, np.array([squared_error(values, restored)]), reconstructed=True)
        scores = score_vector(outputs, self.name)
        label = class_label(sample, max(BINARY, scores.size))
        if scores.size == BINARY:
            scores = scores[1:] - scores[:1]  # in the order of class 1's probability, for logits and softmax alike
        return Ranked(label, scores.astype(np.float32), reconstructed=False)

    def statistic(self, records: Sequence[Ranked]) -> Statistic:
        import numpy as np

        labels = np.array([record.label for record in records])
        scores = np.stack([record.scores for record in records])
        classes = [1] if scores.shape[1] == 1 else list(range(scores.shape[1]))
        areas = {
            label: _area(labels == label, scores[:, column])
            for column, label in enumerate(classes)
            if 0 < (labels == label).sum() < len(labels)
        }
        if not areas:
            raise DataError(
                "auc needs samples of at least two classes; the evaluation data has one.",
                hint="Add samples of the other class (label 0 normal, label 1 positive).",
            )
        everything = np.ones((1, len(labels)))
        per_class = {
            label: ClassValue(value=float(area(everything)[0]), samples=int((labels == label).sum()))
            for label, area in areas.items()
        }
        note = "score: mean squared difference of output and input" if records[0].reconstructed else ""
        return Statistic(
            values=lambda weights: np.mean([area(weights) for area in areas.values()], axis=0),
            per_class=per_class if len(areas) > 1 else {},
            cost=len(labels) * len(areas),
            note=note,
        )

    def score_of(self, record: Ranked) -> float:
        return float(record.scores[record.label if record.scores.size > 1 else 0])

    def prediction(self, record: Ranked) -> int | None:
        return int(record.scores.argmax()) if record.scores.size > 1 else None

    def agreement(self, source: Sequence[Ranked], model: Sequence[Ranked]) -> Mapping[str, float]:
        return {}


def make(_name: str, _detection: Detection) -> AreaUnderCurve:
    """``auc``."""
    return AreaUnderCurve()


def _area(positive: "Array", scores: "Array") -> "Callable[[Array], Array]":
    """Weights (R, n) -> area (R,) under the curve of ``scores``; NaN where a resample holds one class only."""
    import numpy as np

    order = np.argsort(scores, kind="stable")
    ordered = scores[order]
    ties = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    is_positive = positive[order]

    def area(weights: "Array") -> "Array":
        drawn = weights[:, order]
        above = np.add.reduceat(drawn * is_positive, ties, axis=1)
        below = np.add.reduceat(drawn * ~is_positive, ties, axis=1)
        lower = np.cumsum(below, axis=1) - below
        with np.errstate(invalid="ignore"):
            found: Array = (above * (lower + below / 2)).sum(axis=1) / (above.sum(axis=1) * below.sum(axis=1))
        return found

    return area

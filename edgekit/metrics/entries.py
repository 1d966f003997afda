"""An evaluation as a manifest keeps it."""

from typing import Annotated, Literal

import msgspec

from edgekit.documents import Document


class ClassEntry(Document, frozen=True, kw_only=True):
    """The metric of one class of the evaluation data."""

    label: int
    """Class index; for detection the COCO category."""
    name: str | None
    samples: int
    source: float
    model: float
    drop: float
    """Positive where the model is worse."""


class ChangedEntry(Document, frozen=True, kw_only=True):
    """A sample on which source and model differ."""

    index: int
    """Position in the evaluation data, from 0."""
    digest: str
    """Of the sample as the model takes it."""
    source: float
    model: float
    source_prediction: int | None
    model_prediction: int | None


class HeadEntry(Document, frozen=True, kw_only=True):
    """One output of model.tflite against the source's."""

    name: str
    samples: int
    sqnr_db: float | None
    """None where there is no signal or no error."""
    max_error: float
    drop: float | None
    """What the metric loses by this output alone; None where that cannot be told."""


class EvaluationEntry(Document, frozen=True, kw_only=True):
    """Accuracy on held-out data, on the machine that built it."""

    metric: str
    samples: int
    sha256: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$(?!\n)")]
    source: float
    """Metric of the float model."""
    model: float
    """Metric of model.tflite."""
    drop: float
    """What is lost in the metric's own direction: source - model, for an error model - source."""
    drop_interval: tuple[float, float] | None
    """Paired interval of the drop at ``level``; None where the samples give none."""
    level: float
    max_drop: str | None
    method: Literal["agresti-min", "bootstrap"] = "agresti-min"
    """How the interval was found."""
    resamples: int | None = None
    """Of the bootstrap."""
    p_value: float | None = None
    """McNemar's exact test; None where samples are not simply right or wrong."""
    is_fraction: bool = True
    """The metric is in 0..1; otherwise a drop is read as a share of the source's value."""
    note: str = ""
    """How the metric was computed, where its name does not say all."""
    per_class: tuple[ClassEntry, ...] = ()
    """The classes that lose most, largest drop first."""
    changed: tuple[ChangedEntry, ...] = ()
    """The samples that changed most."""
    heads: tuple[HeadEntry, ...] = ()
    """Every output."""
    agreement: dict[str, float] = msgspec.field(default_factory=dict)
    """What else tells the two models apart, by name."""

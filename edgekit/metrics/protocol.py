"""What a metric is: a record of every sample, and a statistic of the records that can be resampled."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from edgekit_converters.targets import Targets

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]


class EvaluationSample(Protocol):
    """A held-out sample, as ``edgekit_converters.calibration`` gives it."""

    @property
    def inputs(self) -> "Mapping[str, Array]":
        """Input name -> array in the input's shape and dtype, with the batch; the sample is repeated in it."""
        ...

    @property
    def label(self) -> int | None:
        """Class index; None where the data has none."""
        ...

    @property
    def target(self) -> Any:
        """What the data says beyond a class index: an array under ``y``, or ``coco.Objects``; None without."""
        ...

    @property
    def digest(self) -> bytes:
        """Tells this content from any other."""
        ...

    @property
    def where(self) -> str:
        """For messages, such as ``sample 12 of data.npz`` or the path of an image."""
        ...


@dataclass(frozen=True, kw_only=True)
class ClassValue:
    """The metric of one class alone."""

    value: float
    """NaN where it is not defined."""
    samples: int
    """Samples (detection: objects) of the class."""
    name: str | None = None
    """None where the data has no name for it."""


@dataclass(frozen=True, kw_only=True)
class Statistic:
    """A metric of n records, ready to be resampled."""

    values: "Callable[[Array], Array]"
    """Weights (R, n), how often each record counts in each of R resamples -> the metric (R,), NaN where undefined."""
    per_class: Mapping[int, ClassValue] = field(default_factory=dict)
    """Class index (detection: COCO category) -> its own metric; empty where there are no classes."""
    hits: "Array | None" = None
    """bool (n,): right or wrong, where the metric is the share of right ones; None otherwise."""
    cost: int = 0
    """Elements looked at for one resample, where that is more than its n weights; bounds the number of resamples."""
    note: str = ""
    """What a reader must know of how the metric was computed; empty where its name says all."""


class Metric(Protocol):
    """How good a model is on labelled samples. Implementations are frozen values, one file each."""

    @property
    def name(self) -> str:
        """As ``--metric`` spells it."""
        ...

    @property
    def targets(self) -> Targets:
        """What the evaluation data must say of a sample."""
        ...

    @property
    def higher_is_better(self) -> bool:
        """False for errors."""
        ...

    @property
    def is_fraction(self) -> bool:
        """The metric is in 0..1, so that a budget in points (``1pt``) means something."""
        ...

    @property
    def aligned(self) -> bool:
        """Element i of an output means the same for both models; not so for a list of detections."""
        ...

    @property
    def score(self) -> str:
        """What ``score_of`` gives, in a few words."""
        ...

    def record(self, sample: EvaluationSample, outputs: "Mapping[str, Array]") -> Any:
        """What is kept of a sample: small, and enough for everything below.

        ``outputs``: output name -> real values, float32, without the batch. Raises DataError when the sample's target
        or the outputs do not suit the metric.
        """
        ...

    def statistic(self, records: Sequence[Any]) -> Statistic:
        """The metric of the records; raises DataError when they cannot give it (one class only, ...)."""
        ...

    def score_of(self, record: Any) -> float:
        """One number a sample, by whose change samples are ranked; NaN where there is none."""
        ...

    def prediction(self, record: Any) -> int | None:
        """The class the model chose; None where it chooses none."""
        ...

    def agreement(self, source: Sequence[Any], model: Sequence[Any]) -> Mapping[str, float]:
        """What else tells the two models apart, by name; empty for most metrics."""
        ...


@runtime_checkable
class Replayable(Protocol):
    """A metric for models of several outputs, which can tell what each of them alone loses."""

    def replay(self, record: Any, outputs: "Mapping[str, Array]") -> Any:
        """The record of the same sample with other outputs."""
        ...

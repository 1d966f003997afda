"""mse: mean over the samples of the mean squared error of an output, against ``y`` or, without it, the input."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgekit.errors import DataError
from edgekit.metrics.protocol import EvaluationSample, Statistic
from edgekit.project import Detection
from edgekit_converters.targets import Targets

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]


@dataclass(frozen=True, kw_only=True)
class MeanSquaredError:
    """For regression, and for autoencoders, which are to give back their input. Keeps one number a sample."""

    name: str = "mse"
    targets: Targets = "optional"
    higher_is_better: bool = False
    is_fraction: bool = False
    aligned: bool = True
    score: str = "squared error of the sample"

    def record(self, sample: EvaluationSample, outputs: "Mapping[str, Array]") -> float:
        values = only_output(outputs, self.name)
        if sample.target is None:
            expected = single_input(sample, values.size)
            if expected is None:
                raise DataError(
                    f"{sample.where}: mse needs a target, or an output of the input's shape.",
                    hint="Put the targets under y in the .npz, one row a sample.",
                )
            return squared_error(values, expected)
        if sample.target.size != values.size:
            raise DataError(
                f"{sample.where}: the target has shape {sample.target.shape}, the output {values.shape}.",
                hint="Give one number under y for every element of the output.",
            )
        return squared_error(values, sample.target)

    def statistic(self, records: Sequence[float]) -> Statistic:
        import numpy as np

        errors = np.array(records)
        return Statistic(values=lambda weights: weights @ errors / weights.sum(axis=1))

    def score_of(self, record: float) -> float:
        return record

    def prediction(self, record: float) -> int | None:
        return None

    def agreement(self, source: Sequence[float], model: Sequence[float]) -> Mapping[str, float]:
        return {}


def make(_name: str, _detection: Detection) -> MeanSquaredError:
    """``mse``."""
    return MeanSquaredError()


def only_output(outputs: "Mapping[str, Array]", metric: str) -> "Array":
    """The output of a model that has one; raises DataError for others."""
    if len(outputs) != 1:
        raise DataError(
            f"{metric} needs a model with one output; this one has {len(outputs)}.",
            hint="Give --metric package.module:function for a model like this, or leave --evaluate away.",
        )
    return next(iter(outputs.values()))


def single_input(sample: EvaluationSample, size: int) -> "Array | None":
    """The input of a model that has one of ``size`` elements a sample; None otherwise."""
    if len(sample.inputs) != 1:
        return None
    values = next(iter(sample.inputs.values()))[0]
    return values if values.size == size else None


def squared_error(values: "Array", expected: "Array") -> float:
    """Mean over the elements, in float64, whatever the shapes."""
    import numpy as np

    return float(((values.ravel().astype(np.float64) - expected.ravel()) ** 2).mean())

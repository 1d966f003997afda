"""``package.module:function``: a metric of the user's own."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from edgekit.errors import DataError, ProjectError
from edgekit.metrics.protocol import EvaluationSample, Statistic
from edgekit_converters.errors import DataError as ConverterDataError
from edgekit_converters.functions import call, import_function
from edgekit_converters.targets import Targets

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

CALL = 100
"""What a call costs beside the elements it looks at, in elements per sample of a cheap numpy function."""


class Seen(NamedTuple):
    """All outputs of a sample: memory is what the outputs of all samples take."""

    outputs: "dict[str, Array]"
    target: Any


@dataclass(frozen=True, kw_only=True)
class FunctionMetric:
    """``function(outputs, targets) -> float`` over all samples, or over some of them as often as they are drawn.

    ``outputs``: output name -> float32 (samples, ...); ``targets``: the rows of ``y`` as one array, or a list where
    there is none to be made of them (COCO objects, None without targets). Attributes of the function say more:
    ``higher_is_better`` (default True) and ``is_fraction`` (default: what ``higher_is_better`` is): its value lies in
    0..1, so that ``--max-drop 1pt`` means something.
    """

    name: str
    function: Callable[..., Any] = field(compare=False)
    higher_is_better: bool
    is_fraction: bool
    targets: Targets = "any"
    aligned: bool = True
    score: str = "sum of the outputs' absolute values"

    def record(self, sample: EvaluationSample, outputs: "Mapping[str, Array]") -> Seen:
        return Seen(dict(outputs), sample.target)

    def replay(self, record: Seen, outputs: "Mapping[str, Array]") -> Seen:
        """The same sample with other outputs."""
        return Seen(dict(outputs), record.target)

    def statistic(self, records: Sequence[Seen]) -> Statistic:
        import numpy as np

        outputs = {name: _stacked([record.outputs[name] for record in records]) for name in records[0].outputs}
        targets = _stacked([record.target for record in records])

        def values(weights: "Array") -> "Array":
            return np.array([self._call(outputs, targets, row.astype(np.intp)) for row in weights])

        size = sum(np.size(stacked) for stacked in outputs.values())
        return Statistic(values=values, cost=size + CALL * len(records))

    def score_of(self, record: Seen) -> float:
        return float(sum(abs(values).sum() for values in record.outputs.values()))

    def prediction(self, record: Seen) -> int | None:
        return None

    def agreement(self, source: Sequence[Seen], model: Sequence[Seen]) -> Mapping[str, float]:
        return {}

    def _call(self, outputs: "Mapping[str, Any]", targets: Any, counts: "Array") -> float:
        import numpy as np

        chosen = np.repeat(np.arange(len(counts)), counts)
        try:
            value = float(
                call(
                    self.function,
                    {name: _rows(all_, chosen) for name, all_ in outputs.items()},
                    _rows(targets, chosen),
                )
            )
        except (Exception, SystemExit) as err:  # it is the user's code, which may do anything
            raise DataError(
                f"The metric {self.name} failed: {type(err).__name__}: {err}.",
                hint="It takes (outputs: dict of arrays (samples, ...), targets) and returns a number; NaN where it "
                "is not defined, as for samples of one class only.",
            ) from err
        if self.is_fraction and math.isfinite(value) and not 0 <= value <= 1:
            raise DataError(
                f"The metric {self.name} gave {value:g}, which is no share of 1.",
                hint="Set function.is_fraction = False, or function.higher_is_better = False for an error.",
            )
        return value


def function_metric(name: str, directory: Path) -> FunctionMetric:
    """The metric ``package.module:function``, looked for in ``directory``; raises ProjectError."""
    try:
        function = import_function(name, directory)
    except ConverterDataError as err:
        raise ProjectError(f"The metric {err.message}", hint=err.hint) from err
    higher = bool(getattr(function, "higher_is_better", True))
    return FunctionMetric(
        name=name,
        function=function,
        higher_is_better=higher,
        is_fraction=bool(getattr(function, "is_fraction", higher)),
    )


def _stacked(values: list[Any]) -> Any:
    """One array (samples, ...), or the list where the items are of different shapes or no arrays."""
    import numpy as np

    same = all(isinstance(value, np.ndarray) and value.shape == values[0].shape for value in values)
    return np.stack(values) if same else values


def _rows(values: Any, chosen: "Array") -> Any:
    return [values[index] for index in chosen] if isinstance(values, list) else values[chosen]

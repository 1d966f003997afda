"""How the outputs of one file differ between two machines, bit for bit. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING, Any, Literal

from edgekit.agent.runtime import Tensor

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]


@dataclass(frozen=True, kw_only=True)
class OutputDifference:
    """One output, computed on the device and on this machine."""

    output: str
    unit: Literal["steps", "absolute"]
    """``steps`` of the output's scale for integers, ``absolute`` for floats."""
    largest: float | None
    """Over all samples and elements; None where only one of the two is NaN or infinite."""


class Differences:
    """Sees the outputs of sample after sample, raw as the runtimes gave them."""

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        self._tensors = tuple(tensors)
        self._largest = {tensor.name: 0.0 for tensor in tensors}
        self.samples = 0
        """Samples of which any element of any output differs."""

    def see(self, expected: "Mapping[str, Array]", found: "Mapping[str, Array]") -> None:
        """One sample: arrays by output name, of the same dtype and shape on both sides."""
        differences = {name: _largest_difference(array, found[name]) for name, array in expected.items()}
        self.samples += any(differences.values())
        for name, difference in differences.items():
            self._largest[name] = max(self._largest[name], difference)

    def outputs(self) -> tuple[OutputDifference, ...]:
        """The largest difference of every output so far."""
        return tuple(
            OutputDifference(
                output=tensor.name,
                unit="absolute" if tensor.dtype.kind == "f" else "steps",
                largest=self._largest[tensor.name] if isfinite(self._largest[tensor.name]) else None,
            )
            for tensor in self._tensors
        )


def _largest_difference(expected: "Array", found: "Array") -> float:
    import numpy as np

    if np.array_equal(expected, found, equal_nan=expected.dtype.kind == "f"):
        return 0.0
    wide, other = expected.astype(np.float64), found.astype(np.float64)
    same = (wide == other) | (np.isnan(wide) & np.isnan(other))
    with np.errstate(invalid="ignore"):  # infinity minus infinity is handled by `same`
        difference = np.where(same, 0.0, np.abs(wide - other))
    return float(np.nan_to_num(difference, nan=np.inf, posinf=np.inf).max(initial=0.0))

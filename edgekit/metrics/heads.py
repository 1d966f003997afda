"""How far each output of the model is from the source's: a metric can look fine while an output has collapsed."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

MAX_BYTES = 32 << 20
"""Outputs that are kept of one model; beyond, every second sample is let go, again and again."""


@dataclass(frozen=True, kw_only=True)
class HeadChange:
    """One output of the model against the source's, over the same samples."""

    name: str
    """Of the output."""
    samples: int
    """How many were compared; fewer than were evaluated where the outputs are large (``MAX_BYTES``)."""
    sqnr_db: float | None
    """Signal to quantization noise, 10 log10(sum source^2 / sum (source - model)^2); None where one of them is 0."""
    max_error: float
    """Largest absolute difference of an element."""
    drop: float | None = None
    """What the metric loses when this output alone is the model's and all others are the source's, over the same
    samples; None for a model of one output, and after non-maximum suppression, where rows are not the same boxes."""


class OutputLog:
    """Keeps outputs of evenly spread samples in bounded memory; two logs of equal shapes keep the same samples."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._stride = 1
        self._seen = 0
        self._bytes = 0
        self._kept: dict[int, dict[str, Array]] = {}

    def see(self, outputs: "Mapping[str, Array]") -> None:
        """Look at the outputs of the next sample."""
        import numpy as np

        position = self._seen
        self._seen += 1
        if position % self._stride:
            return
        self._kept[position] = {name: np.array(values, np.float32) for name, values in outputs.items()}
        self._bytes += sum(values.nbytes for values in self._kept[position].values())
        while self._bytes > self._max_bytes and len(self._kept) > 1:
            self._stride *= 2
            self._kept = {key: kept for key, kept in self._kept.items() if key % self._stride == 0}
            self._bytes = sum(values.nbytes for kept in self._kept.values() for values in kept.values())

    def kept(self) -> "dict[int, dict[str, Array]]":
        """Position of a sample -> its outputs."""
        return dict(self._kept)


def compare_heads(
    source: "Mapping[int, Mapping[str, Array]]", model: "Mapping[int, Mapping[str, Array]]"
) -> tuple[HeadChange, ...]:
    """Every output that both have, in the source's order; an output whose shape differs between them is left out."""
    positions = sorted(source.keys() & model.keys())
    if not positions:
        return ()
    names = [name for name in source[positions[0]] if name in model[positions[0]]]
    changes = (_compare(name, [(source[at][name], model[at][name]) for at in positions]) for name in names)
    return tuple(change for change in changes if change is not None)


def _compare(name: str, pairs: "list[tuple[Array, Array]]") -> HeadChange | None:
    import numpy as np

    signal = noise = largest = 0.0
    for before, after in pairs:
        if before.shape != after.shape:
            return None
        expected = before.astype(np.float64)
        error = expected - after
        signal += float((expected**2).sum())
        noise += float((error**2).sum())
        largest = max(largest, float(np.abs(error).max(initial=0.0)))
    sqnr = 10 * math.log10(signal / noise) if signal and noise and math.isfinite(signal + noise) else None
    return HeadChange(name=name, samples=len(pairs), sqnr_db=sqnr, max_error=largest)

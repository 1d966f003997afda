"""The outputs of a model by name: what postprocessing asks of them, and how it says that they do not fit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Mapping

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

MAX_EXPONENT = 80.0
"""Of a float32, well below its overflow at 88.7."""


class DoesNotFit(ValueError):
    """The postprocessing does not fit the outputs; ``hint`` says what to do."""

    def __init__(self, message: str, hint: str) -> None:
        ValueError.__init__(self, message)
        self.hint = hint


def without_batch(name: str, values: Array) -> Array:
    """The only row of an output; raises DoesNotFit where there are several."""
    if not values.ndim:
        return values
    if len(values) != 1:
        raise DoesNotFit(
            "Output %r has a batch of %d, and postprocessing is for one sample." % (name, len(values)),
            "Set [model] batch = 1.",
        )
    row: Array = values[0]
    return row


def known(outputs: Mapping[str, Array], name: str, table: str) -> str:
    """``name``, which ``table`` of edgekit.toml gives; raises DoesNotFit where the model has no such output."""
    if name not in outputs:
        raise DoesNotFit(
            "%s names an output %r; the model has %s." % (table, name, listed(outputs)), "Correct the name."
        )
    return name


def listed(outputs: Mapping[str, Array]) -> str:
    """Names and shapes, for messages."""
    return ", ".join("%s %s" % (name, list(values.shape)) for name, values in outputs.items())


def activated(scores: Array, activation: str | None) -> Array:
    """``softmax`` or ``sigmoid`` along the last axis, None: as they are; NaN stays NaN."""
    if activation == "sigmoid":
        scores = 1 / (1 + np.exp(-np.clip(scores, -MAX_EXPONENT, MAX_EXPONENT)))
    if activation == "softmax" and scores.size:
        with np.errstate(invalid="ignore"):  # infinite ones become NaN
            powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
        scores = powers / powers.sum(axis=-1, keepdims=True)
    return scores

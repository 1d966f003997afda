"""Sequences of frames through the float model: each frame with the state that the one before left behind."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from edgekit_converters.runtime import float_model_refused, open_interpreter, signature_of
from edgekit_converters.types import FloatModel

Arrays = Mapping[str, Any]


def split_frames(sequence: Arrays) -> Iterator[dict[str, Any]]:
    """(N, T, ...) arrays by input name -> T times (N, ...), in order."""
    import numpy as np

    length = min(array.shape[1] for array in sequence.values())
    for number in range(length):
        yield {name: np.ascontiguousarray(array[:, number]) for name, array in sequence.items()}


def float_frames(model: FloatModel, sequences: Iterable[Arrays]) -> Iterator[Arrays]:
    """Every frame of every sequence with all inputs of the model: states are 0 first, then what the model gave.

    ``sequences``: (N, T, ...) arrays by input name, without the states. Memory is that of one sequence. Raises
    ConversionError if the runtime refuses the model.
    """
    import numpy as np

    runner = signature_of(open_interpreter(model.tflite, float_model_refused))
    empty = {spec.name: np.zeros(spec.shape, spec.dtype) for spec in model.inputs if spec.name in model.states}
    for sequence in sequences:
        states: Arrays = empty
        for frame in split_frames(sequence):
            inputs = {**frame, **states}
            yield inputs
            found = runner(**inputs)
            states = {taken: found[given] for taken, given in model.states.items()}

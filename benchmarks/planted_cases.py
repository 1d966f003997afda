"""Models and data whose accuracy budget can be kept by plain int8, needs more than that, or cannot be kept."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.convert_cases import hard_depthwise, plain_cnn
from edgekit.evaluate import runner
from edgekit_converters import child
from edgekit_converters.sources import open_source
from edgekit_converters.types import FloatModel, LayerPrecision, Precision

Array = np.ndarray[Any, Any]
BISECTIONS, TIES = 30, 300
HOT = 600.0
"""A hot pixel, where the others are 0..1: with min-max a step is more than a whole picture."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A held-out sample, as the search takes it."""

    inputs: dict[str, Array]
    label: int
    digest: bytes
    target: Any = None
    where: str = "planted"


@dataclass(frozen=True, kw_only=True)
class Data:
    """A float model with its samples."""

    model: FloatModel
    calibration: Array
    held_out: Sequence[Sample]

    def calibrate(self) -> Iterator[dict[str, Array]]:
        """Inputs by name, with the batch."""
        return ({self.model.inputs[0].name: sample[np.newaxis]} for sample in self.calibration)


@dataclass(frozen=True, kw_only=True)
class Target:
    """What the files may be."""

    precisions: tuple[Precision, ...]
    rescues: tuple[LayerPrecision, ...]


TARGETS = {
    "any": Target(precisions=("int8", "float16", "float32"), rescues=("float32",)),
    "int16": Target(precisions=("int8", "int16x8"), rescues=("int16x8",)),
    "int8 only": Target(precisions=("int8",), rescues=()),
    "no float32": Target(precisions=("int8", "float16"), rescues=()),
}
PLANTED = {
    "plain": (("any", "1pt"), ("int8 only", "1pt")),
    "flash": (("any", "1pt"), ("int8 only", "1pt")),
    "hard": (
        ("any", "1pt"),
        ("any", "3pt"),
        ("any", "12pt"),
        ("int16", "1pt"),
        ("int8 only", "1pt"),
        ("int8 only", "12pt"),
    ),
    "ties": (("any", "1pt"), ("no float32", "1pt")),
}
"""Data -> (target, budget): 12 cases."""


def plain(folder: Path) -> Data:
    """The ordinary network: int8 loses next to nothing."""
    case = plain_cnn()
    model = _converted(case.source, folder)
    return Data(model=model, calibration=case.calibration, held_out=_samples(model, case.held_out, case.labels))


def flash(folder: Path) -> Data:
    """The same, calibrated with a few hot pixels: min-max spends its steps on them, another estimator does not."""
    data = plain(folder)
    calibration = data.calibration.copy()
    generator = np.random.default_rng(2)
    for number in (3, 11, 19):
        row, column = generator.integers(4, 24, 2)
        calibration[number, row, column] = HOT
    return Data(model=data.model, calibration=calibration, held_out=data.held_out)


def hard(folder: Path) -> Data:
    """The hard network: its budget needs another estimator, rescued layers, or another precision."""
    case = hard_depthwise()
    model = _converted(case.source, folder)
    return Data(model=model, calibration=case.calibration, held_out=_samples(model, case.held_out, case.labels))


def ties(folder: Path) -> Data:
    """Pictures blended from two digits until the float model sees both alike: any rounding moves many of them.

    The label is what the float model says, so the source is right on every one, and even float16 is not.
    """
    data = plain(folder)
    run, name, output = runner(data.model.tflite), data.model.inputs[0].name, data.model.outputs[0].name

    def digit(x: Array) -> int:
        return int(run({name: x})[output].argmax())

    pictures = [sample.inputs[name] for sample in data.held_out]
    blends: list[Array] = []
    for first, second in pairwise(pictures):
        left, right = np.float32(0), np.float32(1)
        start = digit(first)
        if digit(second) == start or len(blends) == TIES:
            continue
        for _ in range(BISECTIONS):
            middle = (left + right) / 2
            if digit((1 - middle) * first + middle * second) == start:
                left = middle
            else:
                right = middle
        side = left if len(blends) % 2 else right
        blends.append(((1 - side) * first + side * second)[0])
    x = np.stack(blends)
    labels = np.array([digit(picture[np.newaxis]) for picture in x])
    return Data(model=data.model, calibration=data.calibration, held_out=_samples(data.model, x, labels))


DATA: dict[str, Callable[[Path], Data]] = {"plain": plain, "flash": flash, "hard": hard, "ties": ties}


def _converted(source: Path, folder: Path) -> FloatModel:
    return child.convert(open_source(str(source), directory=Path(), weights=None, layout=None), log_folder=folder)


def _samples(model: FloatModel, x: Array, labels: Array | None) -> list[Sample]:
    assert labels is not None, "the planted set needs labels"
    name = model.inputs[0].name
    return [
        Sample(inputs={name: picture[np.newaxis]}, label=int(label), digest=hashlib.sha256(picture.tobytes()).digest())
        for picture, label in zip(x, labels, strict=True)
    ]

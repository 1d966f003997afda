"""The 5,000 labelled digits of the cases, split: 4,000 to train on (200 of them calibrate), 1,000 held out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.harness import cases

Array = np.ndarray[Any, Any]

TRAINING, CALIBRATION = 4_000, 200


@dataclass(frozen=True, kw_only=True)
class Split:
    """Pixels 0..1 as float32 of shape (N, 28, 28, 1), and digits as int64 of shape (N,)."""

    training: tuple[Array, Array]
    held_out: tuple[Array, Array]


def digits() -> Split:
    """Shuffled by a seed: the file's first half and second half come from different writers."""
    with np.load(cases() / "data" / "mnist" / "mnist_t10k_part.npz", allow_pickle=False) as arrays:
        x = arrays["x"][..., np.newaxis].astype(np.float32) / 255
        y = arrays["y"].astype(np.int64)
    order = np.random.default_rng(1).permutation(len(x))
    chosen, rest = order[:TRAINING], order[TRAINING:]
    return Split(training=(x[chosen], y[chosen]), held_out=(x[rest], y[rest]))


def shifted(x: Array, seed: int) -> Array:
    """Each picture moved by up to two pixels in both directions, black where nothing was."""
    padded = np.pad(x, ((0, 0), (2, 2), (2, 2), (0, 0)))
    offsets = np.random.default_rng(seed).integers(0, 5, (len(x), 2))
    return np.stack(
        [image[row : row + 28, column : column + 28] for image, (row, column) in zip(padded, offsets, strict=True)]
    )

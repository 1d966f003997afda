"""One sample as an application has it: read from a file, or drawn where its shape is known."""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekit.artifact import Artifact
from edgekit.entries import TensorEntry
from edgekit.errors import DataError

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

IMAGE = 3
RGB = 3


@dataclass(frozen=True, kw_only=True)
class ApplicationSample:
    """What goes into preprocessing."""

    arrays: "Mapping[str, Array]"
    """Input name -> array; empty: the device draws real values as the model takes them."""
    text: str
    """For people."""


def application_sample(model: Artifact | Path, path: Path | None) -> ApplicationSample:
    """The sample in ``path`` (an image, .npy or .npz), else seeded random data.

    Raises:
        DataError: it cannot be read; or there is none, and the shape before ``resize`` is not known.
        ModelError: a bare .tflite whose inputs cannot be named here.
    """
    if path is not None:
        from edgekit.predict import input_names, read_sample

        names = input_names(model)
        arrays = read_sample(path, names)
        chosen = {name: arrays[name] for name in names}
        shapes = ", ".join(f"{list(array.shape)} {array.dtype}" for array in chosen.values())
        return ApplicationSample(arrays=chosen, text=f"{path.name} {shapes}")
    if not isinstance(model, Artifact):
        return ApplicationSample(arrays={}, text="seeded random values as the model takes them")
    drawn = {item.name: _draw(item) for item in model.manifest.inputs}
    shapes = ", ".join(f"{list(array.shape)} {array.dtype}" for array in drawn.values())
    return ApplicationSample(arrays=drawn, text=f"seeded random {shapes}")


def _draw(entry: TensorEntry) -> "Array":
    """Of the shape before preprocessing; an image is uint8 RGB, as a camera gives it."""
    import numpy as np

    random = np.random.default_rng(zlib.crc32(entry.name.encode()))
    steps, shape = entry.preprocessing, entry.shape[1:]
    if steps is not None and steps.resize is not None:
        raise DataError(
            f"The artifact resizes its input {entry.name!r}, and nobody but the application knows what from: how long "
            "that takes depends on it.",
            hint="Give a picture of the application's camera: --sample FILE (an image, .npy or .npz).",
        )
    if steps is not None and len(shape) == IMAGE:
        height, width, channels = (shape[1], shape[2], shape[0]) if steps.layout == "nchw" else shape
        return random.integers(0, 256, (height, width, RGB if steps.color else channels), np.uint8)
    if entry.quantization is None and np.dtype(entry.dtype).kind != "f":
        return np.zeros(shape, entry.dtype)  # mostly indices, where a random value is out of range
    low, high = entry.range or (-1.0, 1.0)
    return random.uniform(low, high, shape).astype(np.float32)

"""What a sample is labelled with: a class index, an array, or the objects in an image."""

import math
from typing import Any, Literal

from edgekit_converters.coco import Objects
from edgekit_converters.errors import DataError

Targets = Literal["any", "class", "array", "optional", "boxes"]
"""What the user of the data needs: whatever there is, a class index, an array, an array if there is one, or boxes."""

MAX_LABEL = 1 << 31
_WANTED = {
    "class": (
        "has no labels, and accuracy needs them",
        "an .npz with x and y, or a folder of images with one subfolder a class",
    ),
    "array": ("has no targets, and the metric needs them", "an .npz with x and y, or a function that yields (x, y)"),
    "boxes": ("has no boxes, and the metric needs them", "the JSON file of COCO instances, its images beside it"),
}


def check_labelled(targets: Targets, *, labelled: bool | None, shape: tuple[int, ...] | None, where: str) -> None:
    """Raise DataError where the data cannot have what is needed, before any of it is read."""
    if labelled is False and targets in _WANTED:
        problem, form = _WANTED[targets]
        raise DataError(f"{where} {problem}.", hint=f"Give {form}.")
    if targets == "class" and shape is not None and math.prod(shape) != 1:
        raise DataError(
            f"'y' in {where} has shape (samples, {str(shape)[1:-1].rstrip(',')}); one class index a sample is needed.",
            hint="For one-hot labels save y.argmax(axis=1).",
        )


def interpret(target: Any, targets: Targets, where: str) -> tuple[int | None, Any]:
    """The class index, or None, and the target beyond it, or None; raises DataError when it is not what is needed."""
    if isinstance(target, Objects):
        if targets in {"any", "boxes"}:
            return None, target
        raise DataError(
            f"{where} is labelled with boxes, and the metric needs another target.", hint="Use map50 or map."
        )
    if target is None:
        if targets in _WANTED:
            problem, form = _WANTED[targets]
            raise DataError(f"{where} {problem}.", hint=f"Give {form}.")
        return None, None
    if targets == "boxes":
        raise DataError(f"{where} {_WANTED['boxes'][0]}.", hint=f"Give {_WANTED['boxes'][1]}.")
    array = _numbers(target, where)
    label = _class_index(array)
    if targets == "class" and label is None:
        raise DataError(
            f"{where} has the label {target!r}, which is no class index.",
            hint="Labels are whole numbers from 0, in the order of the model's output.",
        )
    return label, array


def target_bytes(target: Any) -> bytes:
    """What goes into a digest of the data."""
    if target is None:
        return b""
    if isinstance(target, Objects):
        return repr((target.size, target.boxes, target.categories, target.crowd)).encode()
    return f"{target.dtype.str}{target.shape}".encode() + bytes(target.tobytes())


def _numbers(target: Any, where: str) -> Any:
    import numpy as np

    array = np.asarray(target)
    if array.dtype.kind not in "biuf":
        raise DataError(
            f"{where} has the label {target!r}, which is no class index and no array of numbers.",
            hint="Labels are whole numbers from 0, targets arrays of numbers.",
        )
    return array


def _class_index(array: Any) -> int | None:
    if array.size != 1:
        return None
    value = array.reshape(-1)[0]
    whole = math.isfinite(value) and value == int(value) and 0 <= value < MAX_LABEL
    return int(value) if whole else None

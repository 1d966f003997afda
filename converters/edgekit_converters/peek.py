"""The first sample of some data, before the model is known: what shapes and dtypes a network may be traced with."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from edgekit_converters.calibration import open_source_of
from edgekit_converters.npy import npz_names, open_npz
from edgekit_converters.sample_sources import LABELS, SINGLE
from edgekit_converters.shapes import InputHint


def peek(
    spec: str,
    *,
    names: tuple[str, ...],
    transform: Callable[[str, Any], Any],
    batch: int,
    base: Path,
) -> dict[str, InputHint]:
    """Input name -> shape with ``batch`` and dtype of the first sample after ``transform``.

    ``names`` are the inputs that edgekit.toml speaks of. Without any, the names are the data's own, or ``x`` where it
    has none: a model of one input takes that as its own. Raises DataError.
    """
    path = base / spec
    if not names and path.suffix.lower() == ".npz" and path.is_file():
        with open_npz(path) as archive:
            names = tuple(name for name in npz_names(archive) if name != LABELS)
    source = open_source_of(spec, names or (SINGLE,), base)
    first = next(iter(source.read(None)), None)
    return {} if first is None else _hints(first.arrays, transform, batch)


def _hints(arrays: Mapping[str, Any], transform: Callable[[str, Any], Any], batch: int) -> dict[str, InputHint]:
    found = {}
    for name, array in arrays.items():
        seen = transform(name, array)
        # numpy makes real numbers float64 where a network computes in float32
        dtype = "float32" if seen.dtype.kind == "f" else str(seen.dtype)
        found[name] = InputHint(shape=(batch, *seen.shape), dtype=dtype, declared=False)
    return found

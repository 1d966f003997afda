"""Calibration and evaluation data, streamed: memory is constant in the number of samples.

A dataset is opened once (its form, its names and its count are checked then) and can be read any number of times.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from edgekit_converters.errors import DataError
from edgekit_converters.functions import SPELLING
from edgekit_converters.sample_sources import (
    RawSample,
    Source,
    open_folder,
    open_function,
    open_instances,
    open_npy_file,
    open_npz_file,
)
from edgekit_converters.targets import Targets, check_labelled, interpret
from edgekit_converters.types import TensorSpec

Transform = Callable[[str, Any], Any]
"""(input name, array of one sample without batch) -> what the model takes; raises ValueError."""

_FORMS = "an .npz, an .npy, a folder of images or of .npy files, a .json of COCO instances, or package.module:function"


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One sample as the model takes it."""

    inputs: Mapping[str, Any]
    """Input name -> array of the input's own shape and dtype; with a batch above 1 the sample is repeated in it."""
    label: int | None
    """Class index; None where the data has no labels."""
    digest: bytes
    """16 bytes that tell this content from any other."""
    source_dtypes: Mapping[str, str]
    """Input name -> dtype the data had before preprocessing."""
    target: Any = None
    """What the data says: an array (``y``) or ``coco.Objects``; None where it says nothing."""
    where: str = "a sample"
    """Where it came from, for messages."""


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """Samples that can be read again and again."""

    spec: str
    inputs: tuple[TensorSpec, ...]
    source: Source
    transform: Transform | None
    limit: int | None
    targets: Targets = "any"
    frames: bool = False
    """Samples are sequences: a further axis of any length behind the batch."""

    @property
    def count(self) -> int | None:
        """Number of samples; None where only reading tells."""
        if self.source.count is None:
            return None
        return self.source.count if self.limit is None else min(self.limit, self.source.count)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the class folders, in the order of the labels; empty where there are none."""
        return self.source.class_names

    def samples(self) -> Iterator[Sample]:
        """Read the data once; raises DataError naming the sample and what is wrong with it.

        With ``limit``, samples are spread evenly over the data where its count is known (files are often sorted by
        class), else they are the first ones.
        """
        for raw in self._chosen():
            yield self._prepare(raw)

    def _chosen(self) -> Iterator[RawSample]:
        total, limit = self.source.count, self.limit
        if limit is None or (total is not None and total <= limit):
            return self.source.read(None)
        if total is None:
            return islice(self.source.read(None), limit)
        return self.source.read([position * total // limit for position in range(limit)])

    def _prepare(self, raw: RawSample) -> Sample:
        digest = hashlib.blake2b(digest_size=16)
        arrays, dtypes = {}, {}
        for spec in self.inputs:
            array = raw.arrays.get(spec.name)
            if array is None:
                found = ", ".join(raw.arrays) or "nothing"
                raise DataError(
                    f"{raw.where} has no array for input {spec.name!r} (it has {found}).",
                    hint=f"Give one array per input: {', '.join(item.name for item in self.inputs)}.",
                )
            dtypes[spec.name] = str(array.dtype)
            arrays[spec.name] = (
                self._sequence(spec, array, raw.where) if self.frames else self._one(spec, array, raw.where)
            )
            digest.update(spec.name.encode() + arrays[spec.name].tobytes())
        label, target = interpret(raw.target, self.targets, raw.where)
        return Sample(
            inputs=arrays,
            label=label,
            digest=digest.digest(),
            source_dtypes=dtypes,
            target=target,
            where=raw.where,
        )

    def _one(self, spec: TensorSpec, array: Any, where: str) -> Any:
        fitted = _fit(self._transformed(spec.name, array, where), _in_source_layout(spec), where)
        return fitted if spec.permutation is None else _transposed(fitted, spec.permutation)

    def _sequence(self, spec: TensorSpec, array: Any, where: str) -> Any:
        """(T, ...) as the data has it -> (N, T, ...); every frame goes through what a sample goes through."""
        import numpy as np

        if array.ndim == 0 or not len(array):
            raise DataError(
                f"{where}: input {spec.name!r} has shape {array.shape}, and frames must lie along its first axis.",
                hint="Each sample of a stream is a sequence: (frames, ...).",
            )
        return np.stack([self._one(spec, frame, where) for frame in array], axis=1)

    def _transformed(self, name: str, array: Any, where: str) -> Any:
        if self.transform is None:
            return array
        try:
            return self.transform(name, array)
        except ValueError as err:
            raise DataError(
                f"{where}: the preprocessing of input {name!r} does not fit it: {err}.",
                hint=f"Check [input.{name}.preprocessing] in edgekit.toml.",
            ) from err


def open_dataset(
    spec: str,
    inputs: tuple[TensorSpec, ...],
    *,
    transform: Transform | None = None,
    limit: int | None = None,
    base: Path = Path(),
    targets: Targets = "any",
    frames: bool = False,
) -> Dataset:
    """Open calibration or evaluation data for a model's ``inputs``.

    ``spec`` is a path relative to ``base`` or ``package.module:function`` imported from ``base``; ``transform`` is the
    declared preprocessing; ``limit`` is the largest number of samples to use; ``targets`` is what must be known of each
    sample, and data that cannot have it is refused; with ``frames`` each sample is a sequence (T, ...) of what the
    input takes, and comes out as (N, T, ...). Raises DataError.
    """
    source = open_source_of(spec, tuple(item.name for item in inputs), base)
    check_labelled(targets, labelled=source.labelled, shape=source.target_shape, where=str(base / spec))
    return Dataset(
        spec=spec, inputs=inputs, source=source, transform=transform, limit=limit, targets=targets, frames=frames
    )


def open_source_of(spec: str, names: tuple[str, ...], base: Path) -> Source:
    """The data behind ``spec`` for inputs called ``names``; raises DataError."""
    path = base / spec
    if not path.exists() and SPELLING.fullmatch(spec):
        return open_function(spec, names, base)
    if not path.exists():
        raise DataError(f"The data {path} does not exist.", hint=f"Give {_FORMS}.")
    if path.is_dir():
        return open_folder(path, names)
    if path.suffix.lower() == ".npz":
        return open_npz_file(path, names)
    if path.suffix.lower() == ".npy":
        return open_npy_file(path, names)
    if path.suffix.lower() == ".json":
        return open_instances(path, names)
    raise DataError(f"{path} is of no form that edgekit reads.", hint=f"Give {_FORMS}.")


def _in_source_layout(spec: TensorSpec) -> TensorSpec:
    """The input as the source has it: data is given in the source's layout, whatever a converter made of it."""
    if spec.permutation is None:
        return spec
    shape = [0] * len(spec.shape)
    for position, axis in enumerate(spec.permutation):
        shape[axis] = spec.shape[position]
    return replace(spec, shape=tuple(shape), permutation=None)


def _transposed(array: Any, permutation: tuple[int, ...]) -> Any:
    import numpy as np

    return np.ascontiguousarray(array.transpose(permutation))


def _fit(array: Any, spec: TensorSpec, where: str) -> Any:
    """The array in the input's own shape and dtype; axes of length 1 may be missing or too many."""
    import numpy as np

    wanted = spec.shape[1:]
    if tuple(length for length in array.shape if length != 1) != tuple(length for length in wanted if length != 1):
        hint = f"Each sample must have shape {wanted}, without the batch."
        if array.ndim == len(wanted) == 3:  # noqa: PLR2004 - an image
            keys = [f"resize = {list(wanted[:2])}"] * (array.shape[:2] != wanted[:2])
            keys += ['color = "gray"'] * (wanted[2] == 1 != array.shape[2])
            hint += f" For images set [input.{spec.name}.preprocessing] {' and '.join(keys)}." * bool(keys)
        raise DataError(
            f"{where}: input {spec.name!r} has shape {tuple(array.shape)}, the model takes {wanted}.", hint=hint
        )
    dtype = np.dtype(spec.dtype)
    if array.dtype != dtype:
        array = _cast(array, dtype, spec, where)
    return np.ascontiguousarray(np.broadcast_to(array.reshape((1, *wanted)), spec.shape))


def _cast(array: Any, dtype: Any, spec: TensorSpec, where: str) -> Any:
    import numpy as np

    if array.dtype.kind not in "biuf":
        raise DataError(
            f"{where}: input {spec.name!r} is of dtype {array.dtype}, which is no number.",
            hint="Give arrays of numbers, all samples of the same shape.",
        )
    if dtype.kind == "f":
        with np.errstate(over="ignore"):  # infinity from here on, which the checks report
            return array.astype(dtype)
    limits = np.iinfo(dtype) if dtype.kind in "iu" else None
    if array.dtype.kind == "f" or limits is None or array.min() < limits.min or array.max() > limits.max:
        raise DataError(
            f"{where}: input {spec.name!r} is {array.dtype}, the model takes {dtype}, and not every value fits.",
            hint=f"Save the data as {dtype}.",
        )
    return array.astype(dtype)

"""The forms of data: .npz, .npy, folders, a function. Each becomes a ``Source`` that yields raw samples."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgekit_converters.coco import read_instances
from edgekit_converters.errors import ConverterError, DataError
from edgekit_converters.functions import import_function, importable, items
from edgekit_converters.images import SUFFIXES, read_image
from edgekit_converters.npy import npz_names, open_member, open_npy, open_npz, read_array, read_rows

LABELS = "y"
SINGLE = "x"


@dataclass(frozen=True, kw_only=True)
class RawSample:
    """One sample as the data has it, before preprocessing."""

    where: str
    """For messages, such as ``sample 12 of data.npz`` or the path of an image."""
    arrays: Mapping[str, Any]
    target: Any = None
    """What is known of it: a class index, an array, ``coco.Objects``; None where the data says nothing."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """Data that was opened and can be read repeatedly."""

    count: int | None
    labelled: bool | None
    """None where only reading tells."""
    read: Callable[[Sequence[int] | None], Iterator[RawSample]]
    """The samples at these rising positions, or all."""
    class_names: tuple[str, ...] = ()
    target_shape: tuple[int, ...] | None = None
    """Of the target of one sample; None where only reading tells."""


def open_npz_file(path: Path, names: tuple[str, ...]) -> Source:
    """An array per input name, or ``x`` where there is one input; labels under ``y``."""
    with open_npz(path) as archive:
        present = npz_names(archive)
        keys = _npz_keys(path, names, present)
        labelled = LABELS in present and LABELS not in keys.values()
        wanted = {**keys, **({LABELS: LABELS} if labelled else {})}
        lengths, target_shape = {}, None
        for key in wanted.values():
            with open_member(archive, key) as (_, header):
                lengths[key] = header.shape[0]
                target_shape = header.shape[1:] if key == LABELS and labelled else None
    if len(set(lengths.values())) > 1:
        counts = ", ".join(f"{key}: {length}" for key, length in lengths.items())
        raise DataError(
            f"The arrays of {path} do not hold the same number of samples ({counts}).",
            hint="The first axis counts the samples, in the same order in every array.",
        )

    def read(positions: Sequence[int] | None) -> Iterator[RawSample]:
        with ExitStack() as stack:
            archive = stack.enter_context(open_npz(path))
            streams = {}
            for name, key in wanted.items():
                stream, header = stack.enter_context(open_member(archive, key))
                streams[name] = read_rows(stream, header, f"{key!r} in {path}")
            rows = zip(*streams.values(), strict=True)
            for position, row in _at(positions, rows):
                arrays = dict(zip(streams, row, strict=True))
                where = f"Sample {position} of {path}"
                target = arrays.pop(LABELS) if labelled else None
                yield RawSample(where=where, arrays=arrays, target=target)

    return Source(count=next(iter(lengths.values())), labelled=labelled, read=read, target_shape=target_shape)


def open_npy_file(path: Path, names: tuple[str, ...]) -> Source:
    """One array, samples along its first axis, for a model of one input."""
    name = _only_input(path, names)
    with open_npy(path) as (_, header):
        count = header.shape[0]

    def read(positions: Sequence[int] | None) -> Iterator[RawSample]:
        with open_npy(path) as (stream, header):
            for position, row in _at(positions, read_rows(stream, header, str(path))):
                yield RawSample(where=f"Sample {position} of {path}", arrays={name: row})

    return Source(count=count, labelled=False, read=read)


def open_folder(path: Path, names: tuple[str, ...]) -> Source:
    """Images or .npy files, one a sample; subfolders are classes, labelled in the order of their names."""
    name = _only_input(path, names)
    classes = sorted(item for item in path.iterdir() if item.is_dir() and not item.name.startswith("."))
    groups: list[tuple[Path, int | None]] = [(path, None)]
    if classes:
        groups = [(folder, label) for label, folder in enumerate(classes)]
    files = [(file, label) for folder, label in groups for file in sorted(folder.iterdir()) if _is_sample(file)]
    if not files:
        raise DataError(
            f"The folder {path} holds no images and no .npy files.",
            hint=f"Images end in {', '.join(sorted(SUFFIXES))}; subfolders of it are classes.",
        )
    loose = [item for item in path.iterdir() if _is_sample(item)] if classes else []
    if loose:
        raise DataError(
            f"{path} holds class folders and also {len(loose)} loose samples, such as {loose[0].name}.",
            hint="Move them into a class folder, or take the folders away.",
        )

    def read(positions: Sequence[int] | None) -> Iterator[RawSample]:
        for _, (file, label) in _at(positions, files):
            array = read_image(file) if file.suffix.lower() in SUFFIXES else _read_single(file)
            yield RawSample(where=str(file), arrays={name: array}, target=label)

    return Source(
        count=len(files),
        labelled=bool(classes),
        read=read,
        class_names=tuple(folder.name for folder in classes),
    )


def open_instances(path: Path, names: tuple[str, ...]) -> Source:
    """A JSON file of COCO instances: the images it names, each with its objects."""
    name = _only_input(path, names)
    images = read_instances(path)

    def read(positions: Sequence[int] | None) -> Iterator[RawSample]:
        for where, pixels, objects in images.read(positions):
            yield RawSample(where=where, arrays={name: pixels}, target=objects)

    return Source(count=len(images.files), labelled=True, read=read)


def open_function(spec: str, names: tuple[str, ...], base: Path) -> Source:
    """``package.module:function`` found from ``base``; it is called anew for every reading."""
    function = import_function(spec, base)

    def read(positions: Sequence[int] | None) -> Iterator[RawSample]:
        with importable(base):
            for position, item in _at(positions, _guarded(spec, function)):
                yield _yielded(item, names, f"Sample {position} of {spec}")

    return Source(count=None, labelled=None, read=read)


def _npz_keys(path: Path, names: tuple[str, ...], present: list[str]) -> dict[str, str]:
    if all(name in present for name in names):
        return {name: name for name in names}
    if len(names) == 1 and SINGLE in present:
        return {names[0]: SINGLE}
    expected = f"{names[0]} or {SINGLE}" if len(names) == 1 else ", ".join(names)
    raise DataError(
        f"{path} holds {', '.join(present) or 'nothing'}; the model's inputs are {', '.join(names)}.",
        hint=f"Name the arrays {expected}; labels, if any, {LABELS}.",
    )


def _only_input(path: Path, names: tuple[str, ...]) -> str:
    if len(names) != 1:
        raise DataError(
            f"{path} can feed one input, and the model has {len(names)}: {', '.join(names)}.",
            hint="Give an .npz with one array per input, or package.module:function that yields dicts.",
        )
    return names[0]


def _is_sample(path: Path) -> bool:
    return path.is_file() and not path.name.startswith(".") and path.suffix.lower() in {*SUFFIXES, ".npy"}


def _read_single(path: Path) -> Any:
    with open_npy(path) as (stream, header):
        return read_array(stream, header, str(path))


def _at(positions: Sequence[int] | None, rows: Any) -> Iterator[tuple[int, Any]]:
    if positions is None:
        yield from enumerate(rows)
        return
    wanted = iter(positions)
    following = next(wanted, None)
    for position, row in enumerate(rows):
        if following is None:
            return
        if position == following:
            yield position, row
            following = next(wanted, None)


def _yielded(item: Any, names: tuple[str, ...], where: str) -> RawSample:
    import numpy as np

    target = None
    if isinstance(item, tuple) and len(item) == 2:  # noqa: PLR2004 - (x, y)
        item, target = item
    if isinstance(item, Mapping):
        arrays = {str(key): np.asarray(value) for key, value in item.items()}
        return RawSample(where=where, arrays=arrays, target=target)
    if len(names) != 1:
        raise DataError(
            f"{where} is a single array, and the model has the inputs {', '.join(names)}.",
            hint="Yield a dict with one array per input.",
        )
    return RawSample(where=where, arrays={names[0]: np.asarray(item)}, target=target)


def _guarded(spec: str, function: Callable[[], Any]) -> Iterator[Any]:
    try:
        yield from items(function)
    except ConverterError:
        raise
    except (Exception, SystemExit) as err:
        raise DataError(
            f"{spec} failed: {type(err).__name__}: {err}.", hint="Run it alone to see where; it takes no arguments."
        ) from err

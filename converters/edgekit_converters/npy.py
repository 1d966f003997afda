"""Arrays read row by row from .npy and .npz files: never a whole array in memory, never pickle, never mmap."""

import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import IO, Any

from edgekit_converters.errors import DataError

MAX_ROW_BYTES = 1 << 30
"""A sample larger than this is a damaged header or a hostile file."""
NUMBERS = "biuf"
"""numpy kinds that are data: bool, int, unsigned, float. Objects would need pickle, which can run code."""
DAMAGED = (OSError, EOFError, ValueError, zipfile.BadZipFile, zlib.error, struct.error, NotImplementedError)


@dataclass(frozen=True, kw_only=True)
class Header:
    """What a .npy says about its array."""

    dtype: Any
    """``numpy.dtype``."""
    shape: tuple[int, ...]

    @property
    def row_bytes(self) -> int:
        """Bytes of one item along the first axis."""
        return int(self.dtype.itemsize) * prod(self.shape[1:])


def read_header(stream: IO[bytes], what: str, size: int) -> Header:
    """Header of the .npy in ``stream`` of ``size`` bytes; raises DataError for what cannot be streamed safely."""
    from numpy.lib import format as npy

    try:
        version = npy.read_magic(stream)
        reader = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, fortran_order, dtype = reader(stream)
    except DAMAGED as err:
        # only the first line: numpy goes on to recommend pickle
        raise DataError(
            f"{what} is no array of numpy: {str(err).partition(chr(10))[0].rstrip('.')}.",
            hint="Write it with numpy.save or numpy.savez.",
        ) from err
    if dtype.hasobject or dtype.kind not in NUMBERS:
        pickled = "; edgekit never unpickles data, because that can run code" if dtype.hasobject else ""
        raise DataError(
            f"{what} holds {dtype}, not real numbers{pickled}.",
            hint="Save one array of numbers, all rows of the same shape: numpy.savez(file, x=numpy.stack(rows)).",
        )
    if fortran_order and sum(length > 1 for length in shape) > 1:
        raise DataError(
            f"{what} is stored column by column (Fortran order), which cannot be read sample by sample.",
            hint="Save numpy.ascontiguousarray(array) instead.",
        )
    header = Header(dtype=dtype, shape=tuple(int(length) for length in shape))
    if not shape:
        raise DataError(f"{what} is a single number.", hint="The first axis counts the samples.")
    # an empty row counts as a byte, lest a header of a few bytes stand for 10^18 of them
    if min(shape) < 0 or header.row_bytes > MAX_ROW_BYTES or max(1, header.row_bytes) * header.shape[0] > size:
        raise DataError(
            f"{what} says it holds {header.shape} {dtype}, which is more than the {size} bytes that are there.",
            hint="The file is damaged or cut off; save it again.",
        )
    return header


def read_rows(stream: IO[bytes], header: Header, what: str) -> Iterator[Any]:
    """The items along the first axis, in the order of the file, as arrays of native byte order."""
    import numpy as np

    native = header.dtype.newbyteorder("=")
    for number in range(header.shape[0]):
        try:
            data = stream.read(header.row_bytes)
        except DAMAGED as err:
            raise _cut_off(what, number, header, str(err)) from err
        if len(data) != header.row_bytes:
            raise _cut_off(what, number, header, "the file ends there")
        yield np.frombuffer(data, header.dtype).reshape(header.shape[1:]).astype(native, copy=False)


def read_array(stream: IO[bytes], header: Header, what: str) -> Any:
    """The whole array, which is one sample; raises DataError where it is larger than a sample can be."""
    import numpy as np

    if header.row_bytes * header.shape[0] > MAX_ROW_BYTES:
        raise DataError(
            f"{what} holds {header.shape} {header.dtype}, which is too large for one sample.",
            hint="Give one sample, in the shape that the model takes.",
        )
    rows = list(read_rows(stream, header, what))
    return np.stack(rows) if rows else np.empty(header.shape, header.dtype)


@contextmanager
def open_npy(path: Path) -> Iterator[tuple[IO[bytes], Header]]:
    """A .npy behind its header; raises DataError."""
    try:
        stream = path.open("rb")
    except OSError as err:
        raise DataError(f"{path} cannot be read: {err.strerror}.", hint="Check the path of the data.") from err
    with stream:
        yield stream, read_header(stream, str(path), path.stat().st_size)


@contextmanager
def open_npz(path: Path) -> Iterator[zipfile.ZipFile]:
    """The archive; raises DataError."""
    try:
        archive = zipfile.ZipFile(path)
    except DAMAGED as err:
        cause = getattr(err, "strerror", None) or err
        raise DataError(
            f"{path} cannot be read: {cause}.", hint="Check the path, or write it with numpy.savez."
        ) from err
    with archive:
        yield archive


def npz_names(archive: zipfile.ZipFile) -> list[str]:
    """Names of the arrays, as numpy shows them."""
    return [name.removesuffix(".npy") for name in archive.namelist()]


@contextmanager
def open_member(archive: zipfile.ZipFile, name: str) -> Iterator[tuple[IO[bytes], Header]]:
    """One array of an .npz behind its header; several can be open at a time; raises DataError."""
    what = f"{name!r} in {archive.filename}"
    try:
        member = archive.getinfo(f"{name}.npy")
        stream = archive.open(member)
    except (KeyError, RuntimeError, *DAMAGED) as err:
        raise DataError(f"{what} cannot be read: {err}.", hint="Write the file with numpy.savez.") from err
    with stream:
        yield stream, read_header(stream, what, member.file_size)


def _cut_off(what: str, number: int, header: Header, cause: str) -> DataError:
    return DataError(
        f"{what} is damaged at sample {number} of {header.shape[0]}: {cause}.",
        hint="The file is cut off or was changed; save it again.",
    )

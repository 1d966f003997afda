"""Files and folders that appear whole or not at all."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PART = ".part"


def replace_file(path: Path, data: bytes) -> None:
    """Write ``data`` beside ``path`` and rename it there; nothing is left behind however this ends. Raises OSError.

    A link stays one: what it names is replaced. What stands under the name of the part, a link to another file too, is
    removed and never followed.
    """
    path = path.resolve()
    part = path.with_name(f".{path.name}{PART}")
    try:
        part.unlink(missing_ok=True)
        part.write_bytes(data)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def scratch_beside(path: Path) -> Iterator[Path]:
    """A hidden folder (mode 0700) beside ``path``, from which one rename makes that appear; then gone. Raises OSError.

    What a process that was killed left of it is removed first: one that lives holds a lock on its own.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with _locked(path.parent):  # a folder whose lock is only about to be taken looks like one that was left
        _remove_left(path)
        folder = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=PART, dir=path.parent))
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        with suppress(OSError):  # a file system without locks: there nothing is ever taken for left
            fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with suppress(OSError):
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _remove_left(path: Path) -> None:
    with os.scandir(path.parent) as scan:
        names = [entry.name for entry in scan if entry.is_dir(follow_symlinks=False)]
    for name in names:
        if not (name.startswith(f".{path.name}.") and name.endswith(PART)):
            continue
        with suppress(OSError):  # in use, another user's, or gone meanwhile
            lock = os.open(path.parent / name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path.parent / name)
            finally:
                os.close(lock)

"""A power supply or a disk that fails at any chosen operation on files, and what the disk holds then."""

import os
import shutil
import stat
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

SPACE = ("symlink", "mkdir", "write", "open")
"""What a full disk refuses."""
OPERATIONS = (*SPACE, "rename", "replace", "unlink", "rmdir", "pwrite", "ftruncate", "fsync")
VIEWS = ("whole", "names", "synced")
"""What was written is there, as after SIGKILL; names are there, but bytes only where they were flushed; and names,
too, only where their folder was flushed, which is all that POSIX promises."""


class PowerLostError(BaseException):
    """Nothing after it happens: every further operation raises it again. For ``Disk.failing``, which ends with it."""


class Disk:
    """What was flushed below ``folder``; flushed at the beginning is all of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.steps = 0
        self._bytes: dict[int, bytes] = {}
        self._names: dict[int, dict[str, os.stat_result]] = {}
        self._links: dict[int, Path] = {}
        self._held: list[int] = []  # keeps the kernel from using a number again
        for path in (folder, *folder.rglob("*")):
            if not path.is_symlink():
                with _opened(path) as number:
                    self._flushed(number)

    @contextmanager
    def failing(
        self, after: int, error: BaseException, patch: pytest.MonkeyPatch, names: Collection[str] = OPERATIONS
    ) -> Iterator[None]:
        """Raise ``error`` in the place of every operation of ``names`` behind the first ``after`` of them."""
        self.steps = 0

        def step() -> None:
            self.steps += 1
            if self.steps > after:
                raise error

        def counted(name: str) -> Callable[..., Any]:
            function = self._flushed if name == "fsync" else getattr(os, name)

            def wrapped(*arguments: Any, **named: Any) -> Any:
                if name != "open" or arguments[1] & os.O_CREAT:
                    step()
                return function(*arguments, **named)

            return wrapped

        with patch.context() as patched:
            for name in names:
                patched.setattr(os, name, counted(name))
            try:
                yield
            except PowerLostError:
                pass
            finally:
                for number in self._held:
                    os.close(number)

    def survivor(self, view: str, folder: Path) -> Path:
        """A copy of the disk as it is found when the power is back."""
        folder.mkdir()
        self._copy(self.folder, self.folder.stat(), folder, view)
        return folder

    def _copy(self, path: Path, status: os.stat_result, to: Path, view: str) -> None:
        if view == "synced":
            found = self._names.get(status.st_ino, {})
        else:
            found = {entry.name: entry.stat(follow_symlinks=False) for entry in os.scandir(path)}
        for name, inner in found.items():
            if stat.S_ISDIR(inner.st_mode):
                (to / name).mkdir()
                self._copy(path / name, inner, to / name, view)
            elif stat.S_ISLNK(inner.st_mode):
                (to / name).symlink_to(self._links[inner.st_ino] if view == "synced" else (path / name).readlink())
            elif view == "whole":
                shutil.copy(path / name, to / name)
            else:
                (to / name).write_bytes(self._bytes.get(inner.st_ino, b""))

    def _flushed(self, number: int) -> None:
        status, path = os.fstat(number), Path(f"/proc/self/fd/{number}")
        self._held.append(os.dup(number))
        if not stat.S_ISDIR(status.st_mode):
            self._bytes[status.st_ino] = path.read_bytes()
            return
        names = {entry.name: entry.lstat() for entry in path.iterdir()}
        self._names[status.st_ino] = names
        for name, inner in names.items():
            if stat.S_ISLNK(inner.st_mode):
                self._links[inner.st_ino] = (path / name).readlink()


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    number = os.open(path, os.O_RDONLY)
    try:
        yield number
    finally:
        os.close(number)

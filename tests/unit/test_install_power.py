"""The power fails, or the disk is full, at each single operation: what is active then, and that a retry works."""

import contextlib
import errno
import itertools
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from edgekit.agent import activation, hooks, install_command, store
from edgekit.agent.layout import Place, read_current
from tests.unit.power import OPERATIONS, SPACE, VIEWS, Disk, PowerLostError
from tests.unit.releases import Board, Shelf

pytestmark = pytest.mark.unit
REPORT = {"passed": True, "vectors": 4, "delegate": "xnnpack", "runtime": "none", "version": "0"}
OLD, NEW = "1.0.0", "1.1.0"


@dataclass(frozen=True, kw_only=True)
class Change:
    """What an update client does to a device with install.sh of release ``NEW``."""

    before: tuple[str, ...]
    """Releases that were installed."""
    arguments: tuple[str, ...] = ()
    healthy: bool = True
    status: int = 0
    active: str | None = NEW
    """Afterwards."""
    floor: str | None = NEW


CHANGES = {
    "confirm": Change(before=(), arguments=("--confirm",), active=None),
    "first": Change(before=()),
    "second": Change(before=(OLD,)),
    "fourth": Change(before=("0.8.0", "0.9.0", OLD)),
    "unhealthy": Change(before=(OLD,), healthy=False, status=3, active=OLD, floor=OLD),
    "deactivate": Change(before=(OLD, NEW), arguments=("--deactivate",), active=None),
    "restore": Change(before=(OLD, NEW), arguments=("--restore",), active=OLD),
}
EACH = [name if name == "confirm" else pytest.param(name, marks=pytest.mark.slow) for name in CHANGES]


@dataclass(frozen=True, kw_only=True)
class Bench:
    """A change and the disk before it; it happens to copies of that."""

    change: Change
    release: Path
    folder: Path
    arguments: tuple[str, ...]

    @property
    def before(self) -> Board:
        return board(self.folder / "before")

    def copy(self, name: str) -> Path:
        return Path(shutil.copytree(self.folder / "before", self.folder / name, symlinks=True))

    def run(self, disk: Path) -> int:
        return install_command.main([str(self.release), "--root", str(disk / "root"), *self.arguments])


def board(disk: Path) -> Board:
    return Board(disk / "root", lambda: "")


def contents_of(folder: Path) -> frozenset[tuple[str, bytes]]:
    """Names and bytes; folders and links have none."""
    return frozenset(
        (str(path.relative_to(folder)), path.read_bytes() if path.is_file() and not path.is_symlink() else b"")
        for path in folder.rglob("*")
    )


def floor_of(device: Board) -> str | None:
    return device.floor if (device.root / "models/demo/state.json").exists() else None


@pytest.fixture
def bench(request: pytest.FixtureRequest, shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """Golden vectors pass without a runtime; the guardian is in this process, and dies with the power, too."""
    change = CHANGES[request.param]

    def check(_child: Any, _delegate: str, _host: Any, meanwhile: Callable[[], None]) -> Any:
        meanwhile()
        return REPORT

    @contextlib.contextmanager
    def guarded(place: Place, _host: Any, _lock: int) -> Iterator[None]:
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                activation.undo(place)

    monkeypatch.setattr(os, "fsync", lambda _: None)
    monkeypatch.setattr(store, "prepared", lambda *_: contextlib.nullcontext())
    monkeypatch.setattr(store, "check", check)
    monkeypatch.setattr(activation, "_guarded", guarded)
    monkeypatch.setattr(hooks, "_run", lambda *_: (0, "") if change.healthy else (1, "dark"))
    disk = tmp_path / "before"
    disk.mkdir()
    digests: list[str] = []
    for version in change.before:
        assert install_command.main([str(shelf.release(version)), "--root", str(disk / "root")]) == 0
        digests.append(str(read_current(Place(root=str(disk / "root"), name="demo"))))
    release = shelf.release(NEW) if change.healthy else shelf.with_hooks(NEW, health_check="dark", health_timeout_s=0.1)
    arguments = (*change.arguments, *digests[:1]) if "--restore" in change.arguments else change.arguments
    return Bench(change=change, release=release, folder=tmp_path, arguments=arguments)


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("bench", EACH, indirect=True)
def test_the_power_fails(bench: Bench, view: str, shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever was active before or is afterwards is active, whole, and the floor is that of the one or the other."""
    change, before = bench.change, (bench.before.active(), floor_of(bench.before))
    seen: set[frozenset[tuple[str, bytes]]] = set()
    for number in itertools.count():
        folder = bench.copy("disk")
        disk = Disk(folder)
        with disk.failing(number, PowerLostError(), monkeypatch):
            bench.run(folder)
        found = board(disk.survivor(view, bench.folder / "found"))
        shutil.rmtree(folder)
        assert found.active() in (before[0], change.active, None if change.healthy else NEW), number
        assert floor_of(found) in (before[1], change.floor), number
        if disk.steps <= number:
            assert (found.active(), floor_of(found)) == (change.active, change.floor), "it had ended"
        contents = contents_of(found.root.parent)
        known = contents in seen
        seen.add(contents)
        if before[1] and not known:
            other = Path(shutil.copytree(found.root.parent, bench.folder / "other", symlinks=True))
            assert install_command.main([str(shelf.release("0.9.5")), "--root", str(other / "root")]) == 8
            assert board(other).active() in (before[0], change.active), "what was not confirmed was undone"
            shutil.rmtree(other)
        if not known:
            assert bench.run(found.root.parent) == change.status, number
            assert (found.active(), floor_of(found)) == (change.active, change.floor), number
        shutil.rmtree(found.root.parent)
        if disk.steps <= number:
            break


@pytest.mark.parametrize("bench", EACH, indirect=True)
def test_the_disk_is_full(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """What ends with 0 is done; otherwise what was active is active, without any space on the disk.

    A way back that has begun may be at its end.
    """
    change, before = bench.change, (bench.before.active(), floor_of(bench.before))
    for number in itertools.count():
        folder = bench.copy("disk")
        disk, device = Disk(folder), board(folder)
        with disk.failing(number, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), monkeypatch, SPACE):
            status = bench.run(folder)
        after = (change.active, change.floor)
        failed = {before, after} if {"--deactivate", "--restore"} & {*change.arguments} else {before}
        assert (device.active(), floor_of(device)) in ({after} if status == change.status else failed), number
        assert bench.run(folder) == change.status, "there is space again"
        assert (device.active(), floor_of(device)) == after
        shutil.rmtree(folder)
        if disk.steps <= number:
            break


@pytest.mark.parametrize("bench", ["second"], indirect=True)
@pytest.mark.slow
def test_the_disk_becomes_read_only(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Behind the switch there is no way back then, which is said; the next attempt that can write works."""
    written = {*OPERATIONS} - {"write"}  # which goes to the log, too
    after, stuck = (bench.change.active, bench.change.floor), 0
    for number in itertools.count():
        folder = bench.copy("disk")
        disk, device = Disk(folder), board(folder)
        capfd.readouterr()
        with disk.failing(number, OSError(errno.EROFS, os.strerror(errno.EROFS)), monkeypatch, written):
            status = bench.run(folder)
        if status and device.active() != OLD:
            stuck += 1
            assert "its file system is read-only. It could not be undone: " in capfd.readouterr().err
        assert bench.run(folder) == 0
        assert (device.active(), floor_of(device)) == after, number
        shutil.rmtree(folder)
        if disk.steps <= number:
            break
    assert stuck

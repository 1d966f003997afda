"""A device with SWUpdate: its own /etc and /var/lib in a mount namespace of each run, two loops as slots.

Each command of the device is a boot: folders are bound to the places that SWUpdate knows, the slots are mounted as
/etc/fstab would, and all of it is a process namespace that can lose its power. /var/lib is a disk: it stays.
"""

import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from edgekit.agent.layout import Place
from edgekit.agent.release import read_release, verify
from edgekit.bundle.entries import Release
from edgekit.bundle.envelopes import load_envelope
from edgekit.keys.trust import read_trust
from tests.lab.clients.active import active_version
from tests.lab.clients.power import power_on
from tests.lab.clients.types import Outcome
from tests.lab.machine import require, run

PROGRAMS = ("swupdate", "unshare", "mount", "losetup", "mkfs.ext4", "awk", "flock")
ROOT = "/var/lib/edgekit"
SLOTS = {"a": "/var/lib/slots/model-a", "b": "/var/lib/slots/model-b"}
"""Links on the device to its block devices, as udev makes them in /dev/disk/by-partlabel."""
SETTINGS = {"directory": {"mode": "directory"}, "ab": {"mode": "ab", "slot-a": SLOTS["a"], "slot-b": SLOTS["b"]}}
"""What a bundle for this device is made with, and what its files are made with."""
SLOT_BYTES = 8 * 2**20
BOOT = """\
set -e
mount --make-rprivate /
mount --bind {top}/etc /etc
mount --bind {top}/var-lib /var/lib
mount -t overlay -o ro,lowerdir={top}/usr/sbin:/usr/sbin overlay /usr/sbin
for slot in a b; do
  mount -t ext4 -o ro,nosuid,nodev {slots}/model-$slot {root}/slots/{model}/$slot 2>/dev/null || true # nofail
done
cd /
exec "$@"
"""


@dataclass(frozen=True, kw_only=True)
class Swupdate:
    """The running device."""

    top: Path
    """Holds its etc and var-lib."""
    loops: Mapping[str, str]
    """Block device by slot; empty in mode ``directory``."""
    model: str
    environment: Mapping[str, str]

    @property
    def place(self) -> Place:
        """The model on it, as this process sees it."""
        return Place(root=str(self.top / "var-lib/edgekit"), name=self.model)

    @property
    def slots(self) -> Path:
        """Where ``current`` is in mode ``ab``."""
        return Path(self.place.root) / "slots" / self.model

    @property
    def temporary(self) -> Path:
        """TMPDIR of SWUpdate, which is on a disk here: what a lost power supply leaves there is met again."""
        return self.top / "var-lib/swupdate"

    @property
    def program(self) -> Path:
        """/usr/sbin/edgekit-swupdate."""
        return self.top / "usr/sbin/edgekit-swupdate"

    def run(self, *words: str | Path, kill_after_s: float | None = None) -> Outcome:
        """A command on the device after a boot; ``accepted`` when it exits 0."""
        command = ["sh", self.top / "boot", *words]
        return power_on(command, environment=self.environment, kill_after_s=kill_after_s)

    def install(self, bundle: Path, *arguments: str, kill_after_s: float | None = None) -> Outcome:
        """``edgekit-swupdate install``; further ``arguments`` go to swupdate, and the last of a kind counts there."""
        return self.run("sh", self.program, "install", bundle.resolve(), *arguments, kill_after_s=kill_after_s)

    def active(self) -> str | None:
        """Version that an application gets after a restart; AssertionError where it is not whole."""
        return self._active_slot() if self.loops else active_version(self.place)

    def _active_slot(self) -> str | None:
        if not (self.slots / "current").is_symlink():
            return None
        slot = (self.slots / "current").readlink().name
        with tempfile.TemporaryDirectory(prefix="edgekit-lab-slot-") as folder:
            run("mount", "-t", "ext4", "-o", "ro", self.loops[slot], folder)
            try:
                release = read_release(f"{folder}/release")
                verify(release)
                return release.named.version
            finally:
                run("umount", folder)


@contextmanager
def swupdate(folder: Path, keys: Path, release: Release, *, mode: str = "directory") -> Iterator[Swupdate]:
    """Bring up a device for releases like ``release``; raises LabUnavailable where this machine cannot."""
    require(PROGRAMS)
    top = folder / "device"
    written = load_envelope("swupdate").device_files(release, read_trust(keys), SETTINGS[mode])
    shutil.copytree("/etc", top / "etc", symlinks=True, ignore=_only_what_is_needed)
    for path, data in written.files.items():
        _write(top / path.replace("var/lib/", "var-lib/", 1), data)
    for path in written.executable:
        (top / path).chmod(0o755)
    environment = {
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        "LC_ALL": "C.UTF-8",
        "TMPDIR": "/var/lib/swupdate",
        "EDGEKIT_PYTHON": sys.executable,
    }
    for name in ("edgekit", "swupdate", "slots", f"edgekit/slots/{release.name}/a", f"edgekit/slots/{release.name}/b"):
        (top / "var-lib" / name).mkdir(parents=True, exist_ok=True)
    values = {"top": top, "slots": "/var/lib/slots", "root": ROOT, "model": release.name}
    _write(top / "boot", BOOT.format(**values).encode())
    loops: dict[str, str] = {}
    try:
        for slot in SLOTS if mode == "ab" else ():
            image = top / f"slot-{slot}.img"
            with image.open("wb") as stream:
                stream.truncate(SLOT_BYTES)
            loops[slot] = run("losetup", "--find", "--show", image).strip()
            (top / f"var-lib/slots/model-{slot}").symlink_to(loops[slot])
        yield Swupdate(top=top, loops=loops, model=release.name, environment=environment)
    finally:
        for loop in loops.values():
            run("losetup", "--detach", loop, check=False)


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def _only_what_is_needed(folder: str, names: list[str]) -> set[str]:
    """Of this machine's /etc: what a shell and Python need, and nothing that says who it is."""
    return (
        set(names) - {"passwd", "group", "ld.so.cache", "ld.so.conf", "nsswitch.conf", "alternatives"}
        if folder == "/etc"
        else set()
    )

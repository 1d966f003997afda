"""A device with Debian's RAUC: two slots on loop devices, its service on a D-Bus of its own, boots that are played.

Every power-on is a process with a PID and a mount namespace: when it is killed, all that it started and all that it
mounted is gone at once, as if the power went; only what was not yet written back to the disk is not lost. No
bootloader boots a model slot anywhere, so that nothing is left out: the start of the slots' program is the boot.
"""

import hashlib
import io
import os
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from edgekit.agent.layout import Place
from edgekit.agent.state import read_state
from edgekit.bundle.entries import Installation, Release
from edgekit.bundle.rauc import device_files
from edgekit.bundle.rauc.device import UNITS
from edgekit.bundle.types import RELEASE, SIGNATURE
from edgekit.keys.trust import read_trust
from tests.lab.clients.power import TIMEOUT_S, run_until
from tests.lab.clients.types import Outcome
from tests.lab.machine import LabUnavailable, require, run

PROGRAMS = ("rauc", "dbus-daemon", "dbus-send", "unshare", "losetup", "mount", "mkfs.ext4", "tar")
MACHINE = Path(__file__).parents[1] / "inside/rauc-machine.sh"
SETTINGS: Mapping[str, str] = {"format": "plain"}
"""What its bundles are made with: verity needs device-mapper, which is the kernel's and not a namespace's."""
MODEL = "demo"
SLOTS = ("A", "B")
SLOT_BYTES = 16 * 2**20
BUS = """\
<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>unix:path={folder}/socket</listen>
  <policy context="default">
    <allow user="*"/> <allow own="*"/> <allow send_destination="*" eavesdrop="true"/> <allow eavesdrop="true"/>
  </policy>
</busconfig>
"""


@dataclass(frozen=True, kw_only=True)
class RaucDevice:
    """The device; it is off between calls."""

    folder: Path
    devices: Mapping[str, str] = field(default_factory=dict)
    """Slot -> its loop device; for the time that the device exists."""

    def install(self, bundle: Path, *, kill_after_s: float | None = None) -> Outcome:
        """``rauc install``, then a second power-on, at which the new slot proves itself."""
        before, started = self.slot(), time.monotonic()
        done = self.power_on("install", str(bundle), kill_after_s=kill_after_s)
        if done.killed:
            _release(bundle)
        output = done.output
        if done.accepted:
            left = None if kill_after_s is None else max(0.0, kill_after_s - done.seconds)
            done = self.power_on("show", kill_after_s=left)
            output += done.output
        return Outcome(
            accepted=done.accepted and self.slot() != before,
            killed=done.killed,
            output=output,
            seconds=time.monotonic() - started,
        )

    def active(self) -> str | None:
        """The version that applications see after a start, compared with its release.json file by file."""
        shown, _ = self._run("show", kill_after_s=None)
        assert shown.returncode == 0, shown.stderr
        if not shown.stdout:
            return None
        with tarfile.open(fileobj=io.BytesIO(shown.stdout)) as archive:
            files = {
                member.name.removeprefix("./"): archive.extractfile(member).read()  # type: ignore[union-attr]
                for member in archive
                if member.isfile()
            }
        release = msgspec.json.decode(files[RELEASE], type=Release)
        whole = {path: entry.sha256 for path, entry in release.files.items()}
        there = {path: hashlib.sha256(data).hexdigest() for path, data in files.items()}
        assert whole == {path: digest for path, digest in there.items() if path not in {RELEASE, SIGNATURE}}
        return release.version

    def power_on(self, *arguments: str, kill_after_s: float | None = None) -> Outcome:
        """One power-on with what ``rauc-machine.sh`` takes; ``accepted`` is exit status 0."""
        started = time.monotonic()
        done, killed = self._run(*arguments, kill_after_s=kill_after_s)
        return Outcome(
            accepted=done.returncode == 0,
            killed=killed,
            output=done.stderr.decode(errors="replace") + ("" if arguments[0] == "show" else done.stdout.decode()),
            seconds=time.monotonic() - started,
        )

    def slot(self) -> str | None:
        """The slot that applications saw when the device was on for the last time."""
        link = self.folder / "run/current"
        return link.readlink().name if link.is_symlink() else None

    def states(self) -> dict[str, str]:
        """What the slots' program keeps: ``primary``, and for each slot ``good``, ``bad`` or attempts left."""
        text = (self.folder / "data/slots/state").read_text()
        return dict(line.split("=") for line in text.splitlines())

    def floor(self) -> str | None:
        """Version of the highest release that was confirmed."""
        floor = read_state(Place(root=str(self.folder / "data"), name=MODEL)).floor
        return floor and floor.version

    def _run(self, *arguments: str, kill_after_s: float | None) -> "tuple[subprocess.CompletedProcess[bytes], bool]":
        environment = {
            **os.environ,
            "PATH": f"{self.folder}/bin:{os.environ['PATH']}:/usr/sbin:/sbin",
            "SLOT": str(self.folder / "edgekit-slot"),
            "CONF": str(self.folder / "etc/system.conf"),
            "RUN": str(self.folder / "run"),
            "BUS": str(self.folder),
            "EDGEKIT_PYTHON": sys.executable,
        }
        done, killed = run_until(["sh", MACHINE, *arguments], environment=environment, kill_after_s=kill_after_s)
        for device in self.devices.values():
            _wait_until_free(device)
        return done, killed


@contextmanager
def client(
    folder: Path,
    keys: Path,
    *,
    hardware: str = "rpi4",
    program: str | None = None,
    settings: Mapping[str, str] | None = None,
) -> Iterator[RaucDevice]:
    """A device without a release, with the files of ``edgekit bundle device-files``, in ``folder``, which is empty.

    ``program`` is a shell script that is another rauc than this machine's.
    """
    require(PROGRAMS)
    devices: dict[str, str] = {}
    try:
        for slot in SLOTS:
            image = folder / f"{slot}.img"
            with image.open("wb") as stream:
                stream.truncate(SLOT_BYTES)
            devices[slot] = run("losetup", "--find", "--show", image).strip()
        own = {
            "configuration": f"{folder}/etc", "program": f"{folder}/edgekit-slot", "run": f"{folder}/run",
            "slot-a": devices["A"], "slot-b": devices["B"],
        }  # fmt: skip
        _write_files(folder, keys, hardware, {**SETTINGS, **own, **(settings or {})})
        if program is not None:
            (folder / "bin").mkdir()
            (folder / "bin/rauc").write_text(program)
            (folder / "bin/rauc").chmod(0o755)
        yield RaucDevice(folder=folder, devices=devices)
    finally:
        for device in devices.values():
            run("losetup", "--detach", device, check=False)


def _write_files(folder: Path, keys: Path, hardware: str, settings: Mapping[str, str]) -> None:
    release = Release(
        schema_version=1,
        name=MODEL,
        version="1.0.0",
        target=hardware,
        hardware=(hardware,),
        artifact="0" * 64,
        installation=Installation(root=str(folder / "data")),
        files={},
    )
    written = device_files(release, read_trust(keys), settings)
    for name, data in written.files.items():
        # units lie aside, for a device that has systemd
        path = folder / "units" / name.removeprefix(f"{UNITS}/") if name.startswith(UNITS) else Path("/", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        path.chmod(0o755 if name in written.executable else 0o644)
    (folder / "bus.conf").write_text(BUS.format(folder=folder))


def _release(bundle: Path) -> None:
    """A loop device outlives a rauc that is killed before it mounted it; a power cut would take that along, too."""
    for line in run("losetup", "--associated", bundle).splitlines():
        run("losetup", "--detach", line.partition(":")[0], check=False)  # most go by themselves a moment later


def _wait_until_free(device: str) -> None:
    """A killed namespace gives its mounts back a moment after its last process."""
    deadline = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline:
        try:
            os.close(os.open(device, os.O_RDONLY | os.O_EXCL))
        except OSError:
            time.sleep(0.01)
        else:
            return
    raise LabUnavailable(f"{device} is still mounted")

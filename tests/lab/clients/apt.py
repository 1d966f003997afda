"""A device whose models come by apt: this machine's own root under an overlay in memory, with apt and dpkg from there.

The overlay lives in a mount namespace of its own, so that neither this machine's packages nor its mounts ever change.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from edgekit.agent.layout import Place
from tests.lab.clients.active import active_version
from tests.lab.clients.power import power_on
from tests.lab.clients.types import Outcome
from tests.lab.machine import LabUnavailable, require

PROGRAMS = ("apt-get", "dpkg", "unshare", "nsenter", "chroot", "mount")
ROOT = "var/lib/edgekit"
TIMEOUT_S = 240.0
"""Emulated on a busy machine an installation takes half a minute."""
_numbers = count()
SETUP = """\
set -e
mount -t tmpfs -o mode=755 tmpfs {top}
mkdir {top}/upper {top}/work {top}/root
mount -t overlay -o lowerdir={lower},upperdir={top}/upper,workdir={top}/work overlay {top}/root
cd {top}/root
mkdir -p dev
mount -t tmpfs -o mode=755 tmpfs dev
for name in null zero full random urandom tty; do touch dev/$name; mount --bind /dev/$name dev/$name; done
ln -s /proc/self/fd dev/fd
mkdir dev/shm
# no lists and no sources but the test's own: apt is quick and asks no network
for name in dev/shm run srv var/lib/apt/lists var/cache/apt etc/apt/sources.list.d var/lib/edgekit; do
  mkdir -p $name
  mount -t tmpfs -o mode=755 tmpfs $name
done
chmod 1777 dev/shm tmp
mkdir -p var/lib/apt/lists/partial var/cache/apt/archives/partial
rm -f etc/apt/sources.list
# what is installed stays as it is now: this machine may be installing something of its own meanwhile
cp -a var/lib/dpkg/status var/lib/dpkg/status.own
mv var/lib/dpkg/status.own var/lib/dpkg/status
echo ready
exec sleep infinity
"""
ENTER = """\
mount -t proc proc "$0/proc" || exit
if [ -e "$0/run/cpuinfo" ]; then mount --bind "$0/run/cpuinfo" "$0/proc/cpuinfo" || exit; fi
exec chroot "$0" "$@"
"""


@dataclass(frozen=True, kw_only=True)
class Apt:
    """The running device."""

    holder: int
    """Process that keeps its mounts."""
    python: str
    """On the device, with a TFLite runtime."""
    top: Path
    model: str

    @property
    def files(self) -> Path:
        """Its root, as this process sees it."""
        return Path(f"/proc/{self.holder}/root{self.top}/root")

    @property
    def place(self) -> Place:
        """The model on it."""
        return Place(root=str(self.files / ROOT), name=self.model)

    def set_defaults(self, **values: str) -> None:
        """What /etc/default/edgekit says besides the Python."""
        path = self.files / "etc/default/edgekit"
        lines = {"EDGEKIT_PYTHON": self.python, **values}
        path.write_text("".join(f"{name}={value}\n" for name, value in lines.items()))

    def run(self, *words: str, kill_after_s: float | None = None) -> Outcome:
        """A command on the device, in process namespaces of its own; ``accepted`` when it exits 0."""
        root = f"{self.top}/root"
        boot = (
            *("nsenter", f"--mount=/proc/{self.holder}/ns/mnt"),
            *("unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", ENTER, root),
        )
        command = (
            *("env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LC_ALL=C.UTF-8"),
            *("DEBIAN_FRONTEND=noninteractive", "QEMU_CPU=cortex-a72", *words),
        )
        return power_on(command, environment=os.environ, kill_after_s=kill_after_s, boot=boot, timeout_s=TIMEOUT_S)

    def apt(self, *words: str, kill_after_s: float | None = None) -> Outcome:
        """``apt-get`` as a script calls it."""
        return self.run("apt-get", "-q", "-y", "--no-install-recommends", *words, kill_after_s=kill_after_s)

    def bring(self, bundle: Path) -> str:
        """Copy a package to the device; its path there."""
        shutil.copyfile(bundle, self.files / "srv" / bundle.name)
        return f"/srv/{bundle.name}"

    def install(self, bundle: Path, *, kill_after_s: float | None = None) -> Outcome:
        """What a fleet's script does: end what was interrupted, then install, whatever apt thinks of its version."""
        self.run("dpkg", "--configure", "-a")  # where a bad version is half-configured this fails, and nothing is lost
        return self.apt("install", "--allow-downgrades", self.bring(bundle), kill_after_s=kill_after_s)

    def active(self) -> str | None:
        """Version that an application gets now; AssertionError where it is not whole."""
        return active_version(self.place)

    def status(self, package: str) -> str:
        """``ii`` installed, ``iF`` half-configured, ``rc`` removed with its state kept, ``un`` not there."""
        done = self.run("dpkg-query", "-W", "-f", "${db:Status-Abbrev}", package)
        return done.output.strip() if done.accepted else "un"


@contextmanager
def apt(
    folder: Path,
    *,
    model: str = "demo",
    lower: Path = Path("/"),
    python: str = sys.executable,
    cpuinfo: str | None = None,
) -> Iterator[Apt]:
    """Bring the device up; raises LabUnavailable where this machine has no apt, or no overlays.

    ``lower`` is the root below the overlay, ``python`` what has a runtime in it; ``cpuinfo`` is what /proc/cpuinfo
    says, where that is not this machine's.
    """
    require(PROGRAMS)
    top = Path(f"/run/edgekit-lab-apt-{os.getpid()}-{next(_numbers)}")
    top.mkdir()
    try:
        script = folder / "apt-setup"
        script.write_text(SETUP.format(top=top, lower=lower))
        with (folder / "apt-log").open("wb") as log:
            holder = subprocess.Popen(
                ["unshare", "--mount", "--propagation", "private", "sh", script],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )
        try:
            assert holder.stdout is not None
            if holder.stdout.readline() != b"ready\n":
                raise LabUnavailable(f"no device for apt: {(folder / 'apt-log').read_text()[-300:]}")
            device = Apt(holder=holder.pid, python=python, top=top, model=model)
            device.set_defaults()
            if cpuinfo is not None:
                (device.files / "run/cpuinfo").write_text(cpuinfo)
            if not device.run(python, "--version").accepted:
                raise LabUnavailable(f"{python} does not run in an overlay of {lower}")
            yield device
        finally:
            holder.kill()
            holder.wait()
            if holder.stdout is not None:
                holder.stdout.close()
    finally:
        top.rmdir()

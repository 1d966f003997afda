"""A device with Mender's client, standalone: its own /etc/mender and /var/lib in a mount namespace of each run.

Debian's client knows fixed paths only, so folders are bound to them. Each command is a boot: what is in memory is gone
afterwards, and /var/lib stays.
"""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from edgekit.agent.layout import Place
from edgekit.bundle.entries import Release
from edgekit.bundle.mender import device_files
from edgekit.keys.trust import read_trust
from tests.lab.clients.active import active_version
from tests.lab.clients.power import power_on
from tests.lab.clients.types import Outcome
from tests.lab.machine import require

PROGRAMS = ("mender", "unshare", "mount")
STORE = "var/lib/mender"
BOOT = """\
set -e
mount --make-rprivate /
for folder in etc/mender etc/default usr/share/mender; do mount --bind {top}/$folder /$folder; done
mount -t tmpfs -o mode=755 tmpfs /var/lib # Debian's /var/lib/mender is a link to /data
for folder in mender edgekit; do mkdir /var/lib/$folder; mount --bind {top}/var/lib/$folder /var/lib/$folder; done
cd /
exec "$@"
"""
MENDER = "mender --no-syslog"
INSTALL = f'{MENDER} install "$1" && {MENDER} commit'
"""What a fleet's device does: the health check is before the commit."""


@dataclass(frozen=True, kw_only=True)
class Mender:
    """The running device."""

    top: Path
    """Its root, as far as it is its own."""
    model: str

    @property
    def place(self) -> Place:
        """The model on it, as this process sees it."""
        return Place(root=str(self.top / "var/lib/edgekit"), name=self.model)

    @property
    def environment(self) -> Mapping[str, str]:
        """Of everything that runs on it."""
        return {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "HOME": "/root"}

    def set_defaults(self, **values: str) -> None:
        """What /etc/default/edgekit says besides the Python of this test run."""
        lines = {"EDGEKIT_PYTHON": sys.executable, **values}
        text = "".join(f"{name}={value}\n" for name, value in lines.items())
        (self.top / "etc/default/edgekit").write_text(text)

    def run(self, *words: str | Path, kill_after_s: float | None = None) -> Outcome:
        """A command on the device after a boot; ``accepted`` when it exits 0."""
        return power_on(("sh", self.top / "boot", *words), environment=self.environment, kill_after_s=kill_after_s)

    def mender(self, *words: str | Path, kill_after_s: float | None = None) -> Outcome:
        """``mender WORDS``."""
        return self.run(*MENDER.split(), *words, kill_after_s=kill_after_s)

    def install(self, bundle: Path, *, kill_after_s: float | None = None) -> Outcome:
        """``mender install`` and ``mender commit``."""
        return self.run("sh", "-c", INSTALL, "install", bundle.resolve(), kill_after_s=kill_after_s)

    def provides(self) -> dict[str, str]:
        """What Mender says is on the device."""
        lines = self.mender("show-provides").output.splitlines()
        return dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("time="))

    def active(self) -> str | None:
        """Version that an application gets after a restart; AssertionError where it is not whole."""
        return active_version(self.place)


@contextmanager
def mender(folder: Path, keys: Path, release: Release, **settings: str) -> Iterator[Mender]:
    """Bring up a device for releases like ``release``; raises LabUnavailable where this machine has no client.

    ``settings`` are those of `edgekit bundle device-files`.
    """
    require(PROGRAMS)
    top = folder / "device"
    made = device_files(release, read_trust(keys), settings)
    for name, data in made.files.items():
        path = top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        path.chmod(0o755 if name in made.executable else 0o644)
    for name in (STORE, "var/lib/edgekit", "etc/default"):
        (top / name).mkdir(parents=True, exist_ok=True)
    (top / "boot").write_text(BOOT.format(top=top))
    device = Mender(top=top, model=release.name)
    device.set_defaults()
    yield device

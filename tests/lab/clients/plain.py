"""A device without an update system: a script that copies a tar bundle there, unpacks it and runs its install.sh.

As with Ansible or a cron job. The machine that sends verifies the bundle, because it has the keys; the device has sh,
tar and a Python with the runtime.
"""

import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from edgekit.agent.layout import Place
from edgekit.bundle.entries import Release
from edgekit.bundle.verify import Policy, verify_bundle
from edgekit.errors import IntegrityError
from edgekit.keys.trust import read_trust
from tests.lab.clients.active import active_version
from tests.lab.clients.power import power_on
from tests.lab.clients.types import Outcome
from tests.lab.machine import require

PROGRAMS = ("unshare", "tar", "sh")
SCRIPT = """\
set -e
cd "$1"
rm -rf incoming
mkdir incoming
tar -C incoming --no-same-owner -xf arrived.tar
shift
exec sh incoming/install.sh "$@"
"""


@dataclass(frozen=True, kw_only=True)
class Plain:
    """The device; it is off between calls."""

    folder: Path
    """Its disk: what arrived, and edgekit's root."""
    keys: Path
    place: Place
    """The model on it."""

    def install(self, bundle: Path, *arguments: str, kill_after_s: float | None = None) -> Outcome:
        """Verify, copy, unpack, ``sh install.sh ARGUMENTS``; the sender is not killed with the device."""
        started = time.monotonic()
        try:
            verify_bundle(bundle, read_trust(self.keys), Policy(now=datetime.now(UTC)))
        except IntegrityError as err:
            return Outcome(accepted=False, killed=False, output=err.message, seconds=time.monotonic() - started)
        shutil.copyfile(bundle, self.folder / "arrived.tar")
        return self.run(
            "sh", "-c", SCRIPT, "sh", self.folder, "--root", self.place.root, *arguments, kill_after_s=kill_after_s
        )

    def run(self, *words: str | Path, kill_after_s: float | None = None) -> Outcome:
        """A command on the device."""
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "EDGEKIT_PYTHON": sys.executable}
        return power_on(words, environment=environment, kill_after_s=kill_after_s)

    def active(self) -> str | None:
        """Version that an application gets now; AssertionError where it is not whole."""
        return active_version(self.place)


@contextmanager
def plain(folder: Path, keys: Path, release: Release) -> Iterator[Plain]:
    """A device in ``folder`` for releases like ``release``; raises LabUnavailable where this machine cannot."""
    require(PROGRAMS)
    folder.mkdir(parents=True, exist_ok=True)
    yield Plain(folder=folder, keys=keys, place=Place(root=str(folder / "edgekit"), name=release.name))

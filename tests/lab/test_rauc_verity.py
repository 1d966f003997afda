"""The default, verity: installed on a whole machine, because dm-verity is the kernel's; the files are where they go."""

import io
import tarfile
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from edgekit.artifact import Artifact
from edgekit.bundle.create import Created
from edgekit.bundle.entries import Release
from edgekit.bundle.rauc import device_files
from edgekit.bundle.rauc.squashfs import SUPERBLOCK_BYTES
from edgekit.keys.trust import read_trust
from edgekit.transport import Completed
from tests.bundles import make_bundle, make_keys, tiny_artifact
from tests.lab.clients.power import BOOT
from tests.lab.clients.rauc import BUS, MACHINE
from tests.lab.guest import Guest

pytestmark = pytest.mark.lab
NOW = datetime.now(UTC) - timedelta(days=1)
"""Keys of yesterday are valid, whatever the guest's clock was set to by others."""
TIMEOUT_S = 600.0
"""Its CPU is emulated."""
HERE = "/root/rauc"
PROGRAM = "/usr/lib/edgekit/edgekit-slot"
STATE = "/var/lib/edgekit/slots/state"
SETTINGS = {"slot-a": "/dev/loop0", "slot-b": "/dev/loop1"}
PREPARE = f"""\
for module in $(cat /lab/rauc-modules/order); do busybox insmod /lab/rauc-modules/$module; done
cd {HERE}
for slot in 0 1; do
  busybox truncate -s 16M slot$slot
  [ -e /dev/loop$slot ] || mknod /dev/loop$slot b 7 $slot
  losetup /dev/loop$slot slot$slot
done
"""
LEAVE = f"losetup -d /dev/loop0; losetup -d /dev/loop1; rm -rf {HERE} /var/lib/edgekit /run/edgekit"


def test_a_verity_bundle_is_installed_and_one_whose_payload_was_changed_is_not(guest: Guest, tmp_path: Path) -> None:
    keys, artifact = make_keys(tmp_path / "keys", now=NOW), tiny_artifact(tmp_path / "artifact")
    old, new = (_bundle(tmp_path / version, keys, artifact, version) for version in ("1.0.0", "1.1.0"))
    changed = bytearray(new.path.read_bytes())
    changed[SUPERBLOCK_BYTES + 50_000] ^= 1  # in the payload; the signature, which is over the manifest, still holds
    bundles = {"old": old.path.read_bytes(), "changed": bytes(changed), "new": new.path.read_bytes()}
    _send(
        guest,
        {
            **{f"/{path}": data for path, data in _device_files(old.verified.release, keys).items()},
            **{f"{HERE}/{name}.raucb": data for name, data in bundles.items()},
            f"{HERE}/machine.sh": MACHINE.read_bytes(),
            f"{HERE}/bus.conf": BUS.format(folder=HERE).encode(),
        },
    )
    guest.run("sh", "-c", PREPARE)
    try:
        assert _install(guest, "old").exit_code == 0
        # its golden vectors would take a minute on the emulated CPU; test_rauc.py proves them on slots of this machine
        guest.run("sed", "-i", "s/^B=.*/B=good/", STATE)
        refused = _install(guest, "changed")
        assert b"edgekit-slot: slot B is active" in refused.stderr
        assert refused.exit_code != 0
        assert b"Input/output error" in refused.stdout + refused.stderr
        assert guest.run("cat", STATE) == "primary=B\nA=bad\nB=good\n"
        assert _install(guest, "new").exit_code == 0
        assert guest.run("cat", STATE) == "primary=A\nA=3\nB=good\n"
    finally:
        guest.root.run(["sh", "-c", LEAVE])


def _bundle(folder: Path, keys: Path, artifact: Artifact, version: str) -> Created:
    return make_bundle(folder, "rauc", keys=keys, artifact=artifact, version=version, now=NOW)


def _device_files(release: Release, keys: Path) -> Mapping[str, bytes]:
    return device_files(release, read_trust(keys), SETTINGS).files


def _send(guest: Guest, files: Mapping[str, bytes]) -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for path, data in files.items():
            member = tarfile.TarInfo(path.removeprefix("/"))
            member.size, member.mode = len(data), 0o755
            archive.addfile(member, io.BytesIO(data))
    done = guest.root.run(["tar", "-C", "/", "-xf", "-"], stdin=stream.getvalue(), timeout_s=TIMEOUT_S)
    assert done.exit_code == 0, done.stderr


def _install(guest: Guest, name: str) -> Completed:
    environment = {
        "SLOT": PROGRAM, "CONF": "/etc/rauc/system.conf", "RUN": "/run/edgekit", "BUS": HERE,
    }  # fmt: skip
    words = [f"{name}={value}" for name, value in environment.items()]
    return guest.root.run(
        ["env", *words, *BOOT, "sh", f"{HERE}/machine.sh", "install", f"{HERE}/{name}.raucb"], timeout_s=TIMEOUT_S
    )

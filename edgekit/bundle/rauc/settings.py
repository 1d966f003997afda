"""What ``--setting`` takes for RAUC: of the bundle, and of the device that it is for."""

from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec

from edgekit.bundle.entries import DevicePath, Release
from edgekit.documents import Document, convert
from edgekit.errors import BundleError

SETTINGS: Mapping[str, str] = {
    "format": "plain or verity (default): plain for devices whose kernel has no dm-verity, or with RAUC before 1.5",
    "slot-a": "block device of the first slot; default /dev/disk/by-partlabel/model-a",
    "slot-b": "block device of the second slot; default /dev/disk/by-partlabel/model-b",
    "rauc": "version of RAUC on the device, default 1.8; from 1.13 on it keeps a floor of its own, min-bundle-version",
    "configuration": "folder of system.conf on the device; default /etc/rauc",
    "program": "where the slots' program goes on the device; default /usr/lib/edgekit/edgekit-slot",
    "run": "folder of mounts on the device, empty after a start; default /run/edgekit",
}
FLOOR_SINCE = (1, 13)
"""The oldest that was seen to know min-bundle-version (Debian 13); 1.8 (Debian 12) refuses the whole file for it."""


class Settings(Document, frozen=True, kw_only=True, rename="kebab"):
    """``SETTINGS``, read."""

    format: Literal["plain", "verity"] = "verity"
    slot_a: DevicePath = "/dev/disk/by-partlabel/model-a"
    slot_b: DevicePath = "/dev/disk/by-partlabel/model-b"
    rauc: Annotated[str, msgspec.Meta(pattern=r"^[1-9]\d{0,3}\.\d{1,4}(\.\d{1,4})?$(?!\n)")] = "1.8"
    configuration: DevicePath = "/etc/rauc"
    program: DevicePath = "/usr/lib/edgekit/edgekit-slot"
    run: DevicePath = "/run/edgekit"

    @property
    def keeps_floor(self) -> bool:
        """Whether the device's RAUC knows min-bundle-version."""
        return tuple(int(part) for part in self.rauc.split(".")[:2]) >= FLOOR_SINCE


def read_settings(settings: Mapping[str, str]) -> Settings:
    """Typed settings with their defaults; raises BundleError for a value that is none."""
    read = convert(dict(settings), Settings, BundleError, where="--setting")
    if read.slot_a == read.slot_b:
        raise BundleError("Both slots are one device.", hint="Name two: --setting slot-a=... --setting slot-b=...")
    return read


def compatible(release: Release) -> str:
    """What RAUC calls the device; raises BundleError where the release is for more than one."""
    if len(release.hardware) > 1:
        raise BundleError(
            f"A RAUC bundle is for one compatible, and the release is for {', '.join(release.hardware)}.",
            hint="Make a bundle for each: edgekit bundle create --hardware ONE.",
        )
    return release.hardware[0]

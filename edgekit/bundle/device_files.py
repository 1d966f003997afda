"""The device's side of a format, written as a folder that mirrors the device's root."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edgekit.bundle.create import own_settings
from edgekit.bundle.envelopes import load_envelope
from edgekit.bundle.folders import write_folder
from edgekit.bundle.verify import Verified
from edgekit.errors import BundleError
from edgekit.keys.types import Trust


@dataclass(frozen=True, kw_only=True)
class WrittenFiles:
    """What lies in the folder now."""

    folder: Path
    files: tuple[str, ...]
    """Relative to the folder, and to ``/`` of the device."""
    notes: tuple[str, ...]
    """What to do with them, a sentence each."""


def write_device_files(verified: Verified, trust: Trust, settings: Mapping[str, str], folder: Path) -> WrittenFiles:
    """Write what a device needs before it can install bundles like ``verified``; whole or not at all.

    Raises BundleError where ``folder`` holds something, cannot be written, or a setting is unknown.
    """
    if "root" in settings:
        raise BundleError(
            f"The release says its root on the device: {verified.release.installation.root}.",
            hint="Leave it out here; edgekit bundle create --setting root=... makes a release with another one.",
        )
    own = own_settings(verified.format, settings)
    wanted = load_envelope(verified.format).device_files(verified.release, trust, own)
    write_folder(folder, wanted.files, wanted.executable)
    return WrittenFiles(folder=folder, files=tuple(sorted(wanted.files)), notes=wanted.notes)

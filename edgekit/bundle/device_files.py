"""The device's side of a format, written as a folder that mirrors the device's root."""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edgekit.bundle.create import own_settings
from edgekit.bundle.envelopes import load_envelope
from edgekit.bundle.types import DeviceFiles
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
    own = own_settings(verified.format, settings)
    wanted = load_envelope(verified.format).device_files(verified.release, trust, own)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise BundleError(f"{folder} exists and is not empty; it is left as it is.", hint="Choose another --output.")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        _write(wanted, folder)
    except OSError as err:
        raise BundleError(
            f"{folder} cannot be written: {err.strerror or err}.", hint="Free some space, or choose another --output."
        ) from err
    return WrittenFiles(folder=folder, files=tuple(sorted(wanted.files)), notes=wanted.notes)


def _write(wanted: DeviceFiles, folder: Path) -> None:
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as scratch:
        part = Path(scratch) / "files"
        part.mkdir()
        for name, data in wanted.files.items():
            path = part / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            path.chmod(0o755 if name in wanted.executable else 0o644)
        if folder.exists():
            folder.rmdir()
        part.rename(folder)

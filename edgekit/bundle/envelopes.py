"""Every bundle format: a module and a line in ``ENVELOPES``."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import cast

from edgekit.artifact import Artifact
from edgekit.bundle.archives.tar import BLOCK
from edgekit.bundle.entries import Format
from edgekit.bundle.refusal import refused
from edgekit.bundle.types import RELEASE, Envelope

ENVELOPES: dict[Format, str] = {
    "tar": "edgekit.bundle.tar",
    "deb": "edgekit.bundle.deb.envelope",
    "rauc": "edgekit.bundle.rauc",
    "swupdate": "edgekit.bundle.swupdate",
    "mender": "edgekit.bundle.mender",
    "mcu": "edgekit.bundle.mcu.envelope",
}
"""Format -> module, imported when it is needed."""
EXTRAS: dict[Format, str] = {"mcu": "edgekit.bundle.mcu.envelope"}
"""Formats whose module has an ``extras`` -> that module."""


@dataclass(frozen=True, kw_only=True)
class ExtrasRequest:
    """What a format's own files of the tree are made from."""

    artifact: Artifact
    version: str
    keys: Path
    settings: Mapping[str, str]
    scratch: Path
    """An empty folder, removed afterwards."""


Extras = Callable[[ExtrasRequest], Mapping[str, bytes]]
"""``extras`` of a module: path below the tree -> bytes, put there before the tree is sealed; raises BundleError."""
MAGIC: tuple[tuple[bytes, Format], ...] = (
    (b"!<arch>\ndebian-binary", "deb"),
    (b"070702", "swupdate"),
    (b"070701", "swupdate"),
    (b"hsqs", "rauc"),
    (b"version\0", "mender"),
    (RELEASE.encode() + b"\0", "tar"),
)
"""What a file of a format starts with."""
ZSTD = bytes.fromhex("28b52ffd")
"""What a delta starts with (RFC 8878)."""


def load_envelope(name: Format) -> Envelope:
    """The module of a format."""
    return cast("Envelope", import_module(ENVELOPES[name]))


def load_extras(name: Format) -> Extras | None:
    """What makes the format's own files; None where it has none."""
    return cast("Extras", import_module(EXTRAS[name]).extras) if name in EXTRAS else None


def detect(data: bytes) -> Format:
    """The format of a file by its content; raises IntegrityError where it is no bundle."""
    for magic, name in MAGIC:
        if data.startswith(magic):
            return "mcu" if name == "tar" and _has_microcontroller_files(data) else name
    if data.startswith(ZSTD):
        raise refused(
            "This is a delta, and no bundle.",
            hint="Make the bundle of it and the old one first: edgekit bundle patch OLD DELTA --output FILE.",
        )
    known = ", ".join(sorted({name for _, name in MAGIC}))
    raise refused(f"This is no bundle: its first bytes are of none of the formats {known}.")


def _has_microcontroller_files(data: bytes) -> bool:
    """An ``mcu`` bundle is a tar whose release.json, the first file, lists files below mcu/."""
    try:
        size = int(data[124:135], 8)
    except ValueError:
        return False
    return b'"mcu/' in data[BLOCK : BLOCK + size]

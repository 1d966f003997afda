"""RAUC's manifest: which device, which version, and the sha256 of the one image; read strictly.

https://rauc.readthedocs.io/en/latest/reference.html#manifest
"""

import configparser
import re
from dataclasses import dataclass

from edgekit.bundle.refusal import refused

SLOT_CLASS = "model"
IMAGE = "release.tar"
"""Name of the payload in the image; RAUC unpacks a tar into a slot that it formatted."""
END = f"filename={IMAGE}\n".encode()
"""RAUC writes the name last."""
MAX_BYTES = 4096
_PATTERNS = {
    ("update", "compatible"): r"[A-Za-z0-9][A-Za-z0-9._:-]{0,62}",
    ("update", "version"): r"[0-9A-Za-z.-]{1,320}",
    ("bundle", "format"): r"plain|verity",
    ("bundle", "verity-hash"): r"[0-9a-f]{64}",
    ("bundle", "verity-salt"): r"[0-9a-f]{64}",
    ("bundle", "verity-size"): r"[1-9][0-9]{0,9}",
    (f"image.{SLOT_CLASS}", "sha256"): r"[0-9a-f]{64}",
    (f"image.{SLOT_CLASS}", "size"): r"[1-9][0-9]{0,9}",
    (f"image.{SLOT_CLASS}", "filename"): re.escape(IMAGE),
}
"""All that one of ours may say. Hooks and handlers would be programs that nobody looked at."""
_OPTIONAL = {"format", "verity-hash", "verity-salt", "verity-size"}


@dataclass(frozen=True, kw_only=True)
class Verity:
    """The signed side of the hash tree."""

    root: bytes
    """32 bytes."""
    salt: bytes
    tree_bytes: int


@dataclass(frozen=True, kw_only=True)
class RaucManifest:
    """What ``manifest.raucm`` says."""

    compatible: str
    version: str
    sha256: str
    """Of the payload, as hexadecimal digits."""
    size: int
    """Of the payload, bytes."""
    verity: Verity | None
    """None where the tree is not there yet (as inside the image) and in a plain bundle."""


def write_manifest(compatible: str, version: str, bundle_format: str) -> str:
    """What ``rauc bundle`` takes; it adds digest and size."""
    return (
        f"[update]\ncompatible={compatible}\nversion={version}\n\n"
        f"[bundle]\nformat={bundle_format}\n\n[image.{SLOT_CLASS}]\nfilename={IMAGE}\n"
    )


def read_manifest(data: bytes) -> RaucManifest:
    """Read what RAUC wrote; raises IntegrityError for everything that is not known here."""
    parser = configparser.ConfigParser(
        delimiters=("=",), comment_prefixes=("#",), empty_lines_in_values=False, interpolation=None, default_section=""
    )
    parser.optionxform = str  # type: ignore[assignment,method-assign] # keys as they are
    try:
        parser.read_string(data.decode("ascii"))
    except (configparser.Error, UnicodeDecodeError) as err:
        raise refused("The manifest of the RAUC bundle cannot be read.") from err
    values = {(section, key): value for section in parser.sections() for key, value in parser[section].items()}
    for place, value in values.items():
        pattern = _PATTERNS.get(place)
        if pattern is None or not re.fullmatch(pattern, value):
            said = f"[{place[0]}] {place[1]}"[:100]
            raise refused(f"The manifest of the RAUC bundle says something of {said!r} that edgekit never writes.")
    missing = [key for section, key in _PATTERNS if key not in _OPTIONAL and (section, key) not in values]
    if missing:
        raise refused(f"The manifest of the RAUC bundle does not say {missing[0]!r}.")
    image = f"image.{SLOT_CLASS}"
    return RaucManifest(
        compatible=values["update", "compatible"],
        version=values["update", "version"],
        sha256=values[image, "sha256"],
        size=int(values[image, "size"]),
        verity=_read_verity({key: value for (section, key), value in values.items() if section == "bundle"}),
    )


def _read_verity(said: dict[str, str]) -> Verity | None:
    if said.get("format") != "verity" or len(said) == 1:
        if len(said) > 1:
            raise refused("The manifest of the RAUC bundle names a hash tree, and the bundle has none.")
        return None
    try:
        return Verity(
            root=bytes.fromhex(said["verity-hash"]),
            salt=bytes.fromhex(said["verity-salt"]),
            tree_bytes=int(said["verity-size"]),
        )
    except KeyError as err:
        raise refused(f"The manifest of the RAUC bundle does not say {err.args[0]!r}.") from err

"""What a device needs once to take releases from an apt repository."""

from collections.abc import Mapping
from pathlib import Path

from edgekit.agent.install import TARGET
from edgekit.bundle.deb.control import DEFAULTS
from edgekit.bundle.deb.names import checked_package, package_name
from edgekit.bundle.entries import Release
from edgekit.bundle.types import DeviceFiles
from edgekit.documents import read_bounded
from edgekit.errors import BundleError
from edgekit.keys.types import Trust

SETTINGS: Mapping[str, str] = {
    "uri": "device files: where the repository is, such as https://apt.example.com/models",
    "suite": "device files: its suite; the default ./ is a flat repository, as apt-ftparchive makes it",
    "keyring": "device files: FILE with the repository's OpenPGP public key, armored (.asc) or not (.gpg)",
}
URI = "https://apt.example.com/models"
KEYRINGS = "etc/apt/keyrings"
MAX_KEYRING_BYTES = 1024 * 1024
ARMOR = b"-----BEGIN PGP PUBLIC KEY BLOCK-----"
DEFAULTS_FILE = """\
# Read by the packages of edgekit (edgekit-model-*) when they are installed or removed.
#
# The Python whose runtime runs the models; where it is not set, ROOT/runtime of `edgekit device setup`, then python3.
#EDGEKIT_PYTHON=/usr/bin/python3
#
# 1: install releases that are older than the newest that was ever active here. apt's --allow-downgrades alone is not
# enough for that. Take it away again afterwards.
#EDGEKIT_ALLOW_DOWNGRADE=1
"""


def device_files(release: Release, trust: Trust, settings: Mapping[str, str]) -> DeviceFiles:  # noqa: ARG001
    """An apt source, its key and the defaults of the maintainer scripts; raises BundleError for a keyring that is none.

    The key is the repository's, of OpenPGP: apt knows no other. Ours are checked by ``edgekit bundle verify`` before a
    package goes into the repository.
    """
    uri, suite = settings.get("uri", URI), settings.get("suite", "./")
    for name, value in (("uri", uri), ("suite", suite)):
        if not value.isprintable() or " " in value or not value:
            raise BundleError(
                f"The setting {name} cannot be {value[:100]!r}.", hint="It is one word, as in a deb822 source."
            )
    keyring = _read_keyring(settings["keyring"]) if "keyring" in settings else None
    key = f"{KEYRINGS}/edgekit.{'gpg' if keyring is not None and not keyring.startswith(ARMOR) else 'asc'}"
    flat = suite.endswith("/")
    source = ["Types: deb", f"URIs: {uri}", f"Suites: {suite}", *([] if flat else ["Components: main"])]
    source.append(f"Signed-By: /{key}")
    files = {
        "etc/apt/sources.list.d/edgekit.sources": ("\n".join(source) + "\n").encode(),
        DEFAULTS.lstrip("/"): DEFAULTS_FILE.encode(),
        f"{release.installation.root.lstrip('/')}/{TARGET}": f"{release.target}\n".encode(),
        **({key: keyring} if keyring is not None else {}),
    }
    runtime = f"{release.installation.root}/runtime, or where {DEFAULTS} says"
    address = f"The repository is taken to be at {URI}: --setting uri=ADDRESS says where it is."
    missing = f"Put the public key of the repository at /{key}: --setting keyring=FILE writes it."
    package = checked_package(settings.get("package") or package_name(release.name))
    return DeviceFiles(
        files=files,
        notes=(
            *(() if "uri" in settings else (address,)),
            *(() if keyring is not None else (missing,)),
            f"Then: apt-get update && apt-get install {package}",
            f"It needs Python with what {release.name}'s requirements.txt names: {runtime}.",
        ),
    )


def _read_keyring(path: str) -> bytes:
    """The bytes of an OpenPGP public key; raises BundleError."""
    data = read_bounded(Path(path), BundleError, limit=MAX_KEYRING_BYTES)
    # RFC 9580 4.2: a packet begins with bit 7; a public key is packet 6, in the old format 0x98-0x9b, in the new 0xc6
    if not data.startswith(ARMOR) and data[:1] not in {b"\x98", b"\x99", b"\x9a", b"\x9b", b"\xc6"}:
        raise BundleError(
            f"{path} is no OpenPGP public key.", hint="Export it: gpg --armor --export KEY > repository.asc."
        )
    return data

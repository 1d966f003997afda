"""Unpacks a bundle of the format tar on a device, if the device's own key signed it: edgekit-unpack BUNDLE FOLDER.

Python 3.7 or newer and openssl, nothing else: it is copied to devices as it stands (`edgekit bundle device-files`).
FOLDER appears whole or not at all; then `sh FOLDER/install.sh` installs the release. Exit status: 0 unpacked, 1 the
device could not, 2 arguments, 8 refused.
"""

from __future__ import annotations

import base64
import errno
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, BinaryIO

KEY = Path("/etc/edgekit/release.pub")
PAYLOAD_TYPE = "application/vnd.in-toto+json"
RELEASE, SIGNATURE, INSTALL = "release.json", "release.dsse.json", "install.sh"
PATH = re.compile(r"^[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}(/[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}){0,5}\Z")
MAX_DOCUMENT_BYTES = 8 * 2**20
BLOCK, CHUNK = 512, 2**20


class RefusedError(Exception):
    """The bundle is not what the key signed."""


def main(arguments: list[str], key: Path = KEY) -> int:
    """Unpack ``arguments`` = [BUNDLE, FOLDER]; says what happened on stderr."""
    if len(arguments) != 2:  # noqa: PLR2004 - BUNDLE, FOLDER
        return _say(2, "usage: edgekit-unpack BUNDLE FOLDER")
    bundle, folder = map(Path, arguments)
    try:
        unpack(bundle, folder, key)
    except RefusedError as err:
        return _say(8, f"FAILED (exit 8): {bundle} is refused: {err}.", "Get the bundle anew from where it was made.")
    except OSError as err:
        named = err.filename or folder
        missing = "Put the release key there: `edgekit bundle device-files` writes it."
        following = missing if str(named) == str(key) else "Correct that and run it again."
        return _say(1, f"FAILED (exit 1): {named}: {err.strerror}.", following)
    return _say(0, f"unpacked {bundle}, which this device's key signed.", f"sh {folder}/{INSTALL}")


def _say(status: int, message: str, following: str | None = None) -> int:
    print(f"edgekit: {message}", file=sys.stderr)  # noqa: T201 - this is a program
    if following is not None:
        print(f"edgekit: next: {following}", file=sys.stderr)  # noqa: T201
    return status


def unpack(bundle: Path, folder: Path, key: Path) -> None:
    """Raises RefusedError, and OSError where FOLDER exists or cannot be written.

    The signature comes first in the bundle and is checked first: nothing is written that it does not cover.
    """
    key.stat()
    parent = folder.resolve().parent
    if os.path.lexists(folder):
        raise FileExistsError(errno.EEXIST, "it exists already", str(folder))
    part = Path(tempfile.mkdtemp(prefix=".edgekit-", dir=str(parent)))
    try:
        with bundle.open("rb") as stream:
            documents = {name: _document(stream, name) for name in (RELEASE, SIGNATURE)}
            for name, data in documents.items():
                (part / name).write_bytes(data)
            _write_files(stream, part, _listed(documents, key))
        part.chmod(0o755)
        for inner, _, names in os.walk(str(part)):
            for path in (*(os.path.join(inner, name) for name in names), inner):  # noqa: PTH118 - as os.walk has them
                _flush(path)
        part.rename(folder)
        _flush(str(parent))
    finally:
        shutil.rmtree(str(part), ignore_errors=True)


def _document(stream: BinaryIO, name: str) -> bytes:
    found = _header(stream)
    if found is None or found[0] != name or found[1] > MAX_DOCUMENT_BYTES:
        raise RefusedError(f"it is no bundle, or not signed: {name} is not where it should be")
    data = stream.read(found[1])
    _skip_padding(stream, found[1])
    return data


def _skip_padding(stream: BinaryIO, size: int) -> None:
    """What follows ``size`` bytes of a file up to the next block: zeros."""
    if stream.read(-size % BLOCK) != bytes(-size % BLOCK):
        raise RefusedError("it has bytes that belong to no file, or is cut off")


def _header(stream: BinaryIO) -> tuple[str, int] | None:
    """Path and bytes of the next file of a ustar archive; None at its end."""
    header = stream.read(BLOCK)
    if header == bytes(BLOCK):
        if stream.read(BLOCK + 1) != bytes(BLOCK):
            raise RefusedError("it has bytes behind its end, or is cut off")
        return None
    if len(header) < BLOCK or header[156:157] != b"0" or header[257:265] != b"ustar\00000":
        raise RefusedError("it is cut off, or holds something else than files")
    try:
        name, prefix = (header[at : at + room].rstrip(b"\0").decode("ascii") for at, room in ((0, 100), (345, 155)))
        size = int(header[124:135], 8)
    except ValueError as err:
        raise RefusedError("it has a header that no bundle has") from err
    path = f"{prefix}/{name}" if prefix else name
    if not PATH.match(path) or size < 0:
        raise RefusedError(f"it holds {path!r}, which no release does")
    return path, size


def _listed(documents: dict[str, bytes], key: Path) -> dict[str, tuple[str, int]]:
    """sha256 and bytes of every file that the key signed for."""
    try:
        # it holds no number, and before its signature was checked none is worth the minutes that a long one can take
        envelope = json.loads(documents[SIGNATURE].decode(), parse_int=str)
        (signature,) = [base64.b64decode(item["sig"], validate=True) for item in envelope["signatures"]]
        payload = base64.b64decode(envelope["payload"], validate=True)
        if envelope["payloadType"] != PAYLOAD_TYPE or not _signed(payload, signature, key):
            raise RefusedError("its signature is not that of this device's key")
        subjects: list[Any] = json.loads(payload.decode())["subject"]
        digests = [item["digest"]["sha256"] for item in subjects if item["name"] == RELEASE]
        if digests != [hashlib.sha256(documents[RELEASE]).hexdigest()]:
            raise RefusedError(f"{RELEASE} is not the one that was signed")
        files = json.loads(documents[RELEASE].decode())["files"]
        return {str(name): (str(entry["sha256"]), int(entry["bytes"])) for name, entry in files.items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as err:
        raise RefusedError(f"{SIGNATURE} or {RELEASE} cannot be read") from err


def _write_files(stream: BinaryIO, part: Path, listed: dict[str, tuple[str, int]]) -> None:
    """The rest of the archive as new files below ``part``: each that was signed for, and no other."""
    missing = dict(listed)
    while True:
        found = _header(stream)
        if found is None:
            break
        name, size = found
        if name not in missing or missing[name][1] != size:
            raise RefusedError(f"{name} is not what was signed")
        path = part / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if _copy(stream, path, size) != missing.pop(name)[0]:
            raise RefusedError(f"{name} is not what was signed")
        path.chmod(0o755 if name == INSTALL else 0o644)
        _skip_padding(stream, size)
    if missing:
        raise RefusedError(f"{min(missing)} is missing")


def _copy(stream: BinaryIO, path: Path, size: int) -> str:
    """sha256 of the next ``size`` bytes, written to ``path``."""
    total = hashlib.sha256()
    with path.open("xb") as file:
        while size > 0:
            chunk = stream.read(min(size, CHUNK))
            if not chunk:
                raise RefusedError(f"it is cut off within {path.name}")
            file.write(chunk)
            total.update(chunk)
            size -= len(chunk)
    return total.hexdigest()


def _flush(path: str) -> None:
    """It is on the disk when this returns: otherwise FOLDER could be there without its files after a power cut."""
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def _signed(payload: bytes, signature: bytes, key: Path) -> bool:
    """Whether openssl accepts ``signature`` over DSSE's pre-authentication encoding of ``payload``."""
    encoded = b"DSSEv1 %d %s %d %s" % (len(PAYLOAD_TYPE), PAYLOAD_TYPE.encode(), len(payload), payload)
    with tempfile.TemporaryDirectory() as scratch:
        signed, said = Path(scratch, "signed"), Path(scratch, "signature")
        signed.write_bytes(encoded)
        said.write_bytes(signature)
        if b"ED25519" in _openssl("pkey", "-pubin", "-in", key, "-noout", "-text").stdout.upper():
            if b"-rawin" not in _openssl("pkeyutl", "-help").stderr:
                raise OSError(errno.EOPNOTSUPP, "an Ed25519 key needs version 3 of it", "openssl")
            done = _openssl("pkeyutl", "-verify", "-pubin", "-inkey", key, "-rawin", "-in", signed, "-sigfile", said)
        else:
            done = _openssl("dgst", "-sha256", "-verify", key, "-signature", said, signed)
    return done.returncode == 0


def _openssl(*arguments: str | Path) -> subprocess.CompletedProcess[bytes]:
    command = ["openssl", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, check=False)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

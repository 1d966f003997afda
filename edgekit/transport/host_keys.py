"""Host keys: the known_hosts format, the verdict on a key, and the project's own file of trusted ones."""

import base64
import binascii
import fnmatch
import hashlib
import hmac
import os
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from edgekit.errors import HostKeyError, TransportError
from edgekit.transport.ssh_config import Hop

PROJECT_FILE = Path(".edgekit") / "known_hosts"
"""Relative to the working directory; what it says about a host counts before the user's own files."""
REKEY_LOG = Path(".edgekit") / "rekey.log"
MAX_FILE_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True)
class HostKey:
    """The public key of a server."""

    kind: str
    """Such as ``ssh-ed25519``."""
    blob: bytes
    """Its encoding on the wire (RFC 4253)."""

    @property
    def fingerprint(self) -> str:
        """As ``ssh-keygen -l`` prints it: ``SHA256:`` and base64 without padding."""
        return "SHA256:" + base64.b64encode(hashlib.sha256(self.blob).digest()).decode().rstrip("=")

    def __str__(self) -> str:
        return f"{self.kind} {self.fingerprint}"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One line of a known_hosts file."""

    names: str
    """Comma-separated patterns, or one hashed name."""
    key: HostKey
    revoked: bool

    def matches(self, name: str) -> bool:
        """Whether the line speaks of ``name`` (``host`` or ``[host]:port``)."""
        if self.names.startswith("|1|"):
            return _matches_hashed(self.names, name)
        patterns = self.names.split(",")
        if any(pattern.startswith("!") and _matches_pattern(pattern[1:], name) for pattern in patterns):
            return False
        return any(_matches_pattern(pattern, name) for pattern in patterns)


def parse_line(line: str) -> Entry | None:
    """An entry, or None for comments, certificate authorities and lines that are damaged."""
    fields = line.split()
    revoked = bool(fields) and fields[0] == "@revoked"
    if revoked:
        del fields[0]
    if len(fields) < 3 or fields[0].startswith(("#", "@")):  # noqa: PLR2004 - names, kind, key
        return None
    try:
        blob = base64.b64decode(fields[2], validate=True)
    except (binascii.Error, ValueError):
        return None
    return Entry(names=fields[0], key=HostKey(fields[1], blob), revoked=revoked)


def known_entries(hop: Hop) -> tuple[Entry, ...]:
    """What is known of the host: the project's file decides where it knows it, else the user's and the system's."""
    name = hop.host_key_name
    own = tuple(entry for entry in _entries(PROJECT_FILE) if entry.matches(name))
    elsewhere = tuple(entry for path in hop.known_hosts_files for entry in _entries(path) if entry.matches(name))
    if not any(not entry.revoked for entry in own):
        return own + elsewhere
    return own + tuple(entry for entry in elsewhere if entry.revoked)


def verify(hop: Hop, key: HostKey) -> None:
    """Accept the key a server showed, or raise HostKeyError with fingerprints and the next step."""
    entries = known_entries(hop)
    if any(entry.revoked and entry.key == key for entry in entries):
        raise HostKeyError(
            f"{hop.name} ({hop.address}) shows {key}, which is marked as revoked.",
            hint="Do not connect: somebody may hold the key of that machine. Make it a new one there.",
            details={"found": key.fingerprint},
        )
    known = [entry.key for entry in entries if not entry.revoked]
    if key in known:
        return
    if not known:
        raise HostKeyError(
            f"The host key of {hop.name} ({hop.address}) is not known: {key}.",
            hint=f"Compare the fingerprint with the device's, then run `edgekit device trust {hop.name}`.",
            details={"found": key.fingerprint},
        )
    raise HostKeyError(
        f"The host key of {hop.name} ({hop.address}) has changed: known {', '.join(map(str, known))}; shown {key}.",
        hint=f"If it was reflashed, run `edgekit device rekey {hop.name}`; if not, somebody may be in between.",
        details={"known": [item.fingerprint for item in known], "found": key.fingerprint},
    )


def remember(hop: Hop, key: HostKey) -> None:
    """Put the key into the project's file; it replaces what the file had for this host."""
    name = hop.host_key_name
    line = f"{name} {key.kind} {base64.b64encode(key.blob).decode()}"
    kept = [text for text in _read(PROJECT_FILE) if not _speaks_of(text, name)]
    _replace(PROJECT_FILE, "".join(f"{text}\n" for text in (*kept, line)))


def log_rekey(hop: Hop, old: Iterable[HostKey], new: HostKey) -> None:
    """Append to the log of replaced keys: when, which device, old and new fingerprints."""
    REKEY_LOG.parent.mkdir(exist_ok=True)
    when = datetime.now(UTC).isoformat(timespec="seconds")
    former = ",".join(key.fingerprint for key in old) or "-"
    with REKEY_LOG.open("a") as stream:
        stream.write(f"{when} {hop.name} {hop.host_key_name} old={former} new={new.fingerprint}\n")


def _speaks_of(line: str, name: str) -> bool:
    entry = parse_line(line)
    return entry is not None and not entry.revoked and entry.matches(name)


def _entries(path: Path) -> Iterator[Entry]:
    return (entry for entry in map(parse_line, _read(path)) if entry is not None)


def _read(path: Path) -> list[str]:
    try:
        with path.open("rb") as stream:
            return stream.read(MAX_FILE_BYTES).decode(errors="replace").splitlines()
    except FileNotFoundError:
        return []
    except OSError as err:
        raise TransportError(f"{path} cannot be read: {err.strerror}.", hint="Make the file readable.") from err


def _replace(path: Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True)
    handle, part = tempfile.mkstemp(dir=path.parent, prefix=".known_hosts-")
    try:
        with os.fdopen(handle, "w") as stream:
            stream.write(text)
        Path(part).replace(path)
    except BaseException:
        Path(part).unlink(missing_ok=True)
        raise


def _matches_hashed(hashed: str, name: str) -> bool:
    """``|1|salt|HMAC-SHA1(salt, name)``, both base64."""
    parts = hashed.split("|")
    if len(parts) != 4:  # noqa: PLR2004
        return False
    try:
        salt, expected = base64.b64decode(parts[2]), base64.b64decode(parts[3])
    except (binascii.Error, ValueError):
        return False
    return hmac.compare_digest(hmac.new(salt, name.lower().encode(), hashlib.sha1).digest(), expected)


def _matches_pattern(pattern: str, name: str) -> bool:
    # in known_hosts only * and ? are special; brackets belong to [host]:port
    return fnmatch.fnmatchcase(name.lower(), pattern.lower().replace("[", "[[]"))

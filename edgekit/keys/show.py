"""``edgekit key show``: what anyone may know of a keys folder, and what its owner should."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal

from edgekit.errors import IntegrityError
from edgekit.keys.certificates import algorithm_of
from edgekit.keys.trust import OTHERS, checked_certificate, read_certificate, read_trust
from edgekit.keys.types import ALGORITHMS, PRIVATE, KeyEntry, Keys, Purpose, Trust

SOON = timedelta(days=30)
RENEW = "`edgekit key new --ca FOLDER --output NEW`, FOLDER being the one that holds ca.key,"


@dataclass(frozen=True, kw_only=True)
class KeyFinding:
    """Something the owner of the keys should know."""

    name: str
    severity: Literal["warning", "error"]
    message: str
    fix: str


def show_keys(keys: Path) -> Keys:
    """Every key that is there, none checked; raises IntegrityError without ca.crt or for what is no certificate."""
    trust = read_trust(keys)
    names: list[Purpose | Literal["ca"]] = ["ca", *(name for name in ALGORITHMS if trust.certificate(name).is_file())]
    return Keys(folder=keys, keys=tuple(_entry(keys, trust, name) for name in names))


def find_problems(keys: Keys, now: datetime) -> tuple[KeyFinding, ...]:
    """What keeps a key from signing at ``now``, or will within 30 days."""
    return tuple(_problems(keys, read_trust(keys.folder), now))


def _problems(keys: Keys, trust: Trust, now: datetime) -> Iterator[KeyFinding]:
    refused = set()
    for entry in keys.keys:
        if entry.purpose != "ca":
            try:
                checked_certificate(trust, entry.purpose, now)
            except IntegrityError as err:
                refused.add(err.message)
                yield KeyFinding(name=f"{entry.purpose}-refused", severity="error", message=err.message, fix=err.hint)
    for entry in keys.keys:
        path = keys.folder / PRIVATE / f"{entry.purpose}.key"
        if entry.private and path.stat().st_mode & OTHERS:
            yield KeyFinding(
                name=f"{entry.purpose}-readable",
                severity="error",
                message=f"{path} can be read or written by others.",
                fix=f"Run `chmod 600 {path}`; if others were here, make new keys.",
            )
        if timedelta(0) <= entry.expires - now < SOON:
            renewed = "new keys and their ca.crt on every device" if entry.purpose == "ca" else RENEW
            yield KeyFinding(
                name=f"{entry.purpose}-expires",
                severity="warning",
                message=f"The {entry.purpose} key expires in {(entry.expires - now).days} days.",
                fix=f"Renew it with {renewed} before then; what it signed is refused afterwards.",
            )


def _entry(keys: Path, trust: Trust, name: Purpose | Literal["ca"]) -> KeyEntry:
    from cryptography.hazmat.primitives.hashes import SHA256

    certificate = read_certificate(trust, name)
    return KeyEntry(
        purpose=name,
        algorithm=algorithm_of(certificate),
        starts=certificate.not_valid_before_utc,
        expires=certificate.not_valid_after_utc,
        fingerprint=certificate.fingerprint(SHA256()).hex(),
        private=(keys / PRIVATE / f"{name}.key").is_file(),
    )

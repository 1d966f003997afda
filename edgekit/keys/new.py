"""``edgekit key new``: a folder of keys that appears whole or not at all, its private half for the owner's eyes."""

import os
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from edgekit.errors import IntegrityError, KeysError
from edgekit.files import scratch_beside
from edgekit.keys.types import ALGORITHMS, PRIVATE, PUBLIC, Algorithm, Keys, Purpose

if TYPE_CHECKING:
    from edgekit.keys.certificates import Pair

CA_DAYS = 3650
"""Devices carry ca.crt; whoever replaces it touches all of them."""
GITIGNORE = b"private/\n"


def new_keys(
    folder: Path,
    *,
    algorithms: Mapping[Purpose, Algorithm],
    days: int,
    organization: str | None,
    ca: Path | None,
    now: datetime,
) -> Keys:
    """Make a key for every purpose, valid for ``days`` from ``now``, below a new CA or that of the folder ``ca``.

    ``algorithms`` are those that differ from the default. With ``ca`` the folder gets ca.crt and no ca.key: that stays
    where it is. ``organization`` is by default the CA's, or ``edgekit``. Raises KeysError where the folder exists, the
    CA cannot sign, or nothing can be written.
    """
    from edgekit.keys.show import show_keys

    if folder.exists() or folder.is_symlink():
        raise KeysError(
            f"{folder} exists already, and keys are never overwritten.", hint="Give --output a folder that is new."
        )
    if days < 1:
        raise KeysError(f"A key that is valid for {days} days signs nothing.", hint="Give --days 1 or more.")
    chosen = {purpose: algorithms.get(purpose, accepted[0]) for purpose, accepted in ALGORITHMS.items()}
    for purpose, algorithm in chosen.items():
        if algorithm not in ALGORITHMS[purpose]:
            raise KeysError(
                f"{algorithm} is no algorithm for {purpose}.", hint=f"It takes {' or '.join(ALGORITHMS[purpose])}."
            )
    _write_folder(folder, _files(chosen, days=days, organization=organization, ca=ca, now=now))
    return show_keys(folder)


def _files(
    chosen: Mapping[Purpose, Algorithm], *, days: int, organization: str | None, ca: Path | None, now: datetime
) -> dict[str, bytes]:
    """Path in the folder -> contents."""
    from edgekit.keys.certificates import certificate_pem, new_ca, new_leaf, private_pem, public_pem

    if ca is None:
        authority = new_ca(organization or "edgekit", now=now, days=max(days, CA_DAYS))
        secret = {f"{PRIVATE}/ca.key": private_pem(authority.key, "ca")}
    else:
        authority, secret = _existing_ca(ca, now), {}
    files = {".gitignore": GITIGNORE, **secret, f"{PUBLIC}/ca.crt": certificate_pem(authority.certificate)}
    owner = organization or _organization(authority)
    for purpose, algorithm in chosen.items():
        leaf = new_leaf(authority, purpose, algorithm, organization=owner, now=now, days=days)
        if ca is not None:
            _check_below(leaf, authority, ca, now)
        files[f"{PRIVATE}/{purpose}.key"] = private_pem(leaf.key, purpose)
        files[f"{PUBLIC}/{purpose}.crt"] = certificate_pem(leaf.certificate)
        files[f"{PUBLIC}/{purpose}.pub"] = public_pem(leaf.certificate)
    return files


def _existing_ca(folder: Path, now: datetime) -> "Pair":
    """The CA of another keys folder; raises KeysError where it may not sign at ``now``, IntegrityError without one."""
    from edgekit.keys.certificates import Pair
    from edgekit.keys.private import read_private_key
    from edgekit.keys.trust import read_certificate, read_trust

    certificate = read_certificate(read_trust(folder), "ca")
    path = folder / PRIVATE / "ca.key"
    if not path.is_file():
        raise KeysError(
            f"{path} is missing: new keys are signed by it.",
            hint="Give --ca the folder of `edgekit key new` with its private/ca.key, from where that was moved to.",
        )
    key = read_private_key(folder, "ca", certificate)
    if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
        raise KeysError(
            f"The CA of {folder} is valid from {certificate.not_valid_before_utc:%Y-%m-%d} to "
            f"{certificate.not_valid_after_utc:%Y-%m-%d}, not now.",
            hint="Make a new one: leave out --ca. Devices need the new ca.crt before the first bundle below it.",
        )
    return Pair(key=key, certificate=certificate)


def _check_below(leaf: "Pair", authority: "Pair", ca: Path, now: datetime) -> None:
    """Not every certificate may sign others, and not every CA may sign for code."""
    from edgekit.keys.trust import check_leaf

    try:
        check_leaf(leaf.certificate, authority.certificate, now, path=Path("A key"))
    except IntegrityError as err:
        raise KeysError(
            f"{ca} holds no CA that can sign keys for code. {err.message}",
            hint="Give --ca the folder of the first `edgekit key new`, or make a new CA: leave out --ca.",
        ) from err


def _organization(authority: "Pair") -> str:
    from cryptography.x509.oid import NameOID

    named = authority.certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    return str(named[0].value) if named else "edgekit"


def _write_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    """Beside ``folder``, then renamed there: a folder of that name is whole."""
    try:
        with scratch_beside(folder) as part:  # mode 0700
            for name, data in files.items():
                path = part / name
                path.parent.mkdir(mode=0o700, exist_ok=True)
                _write(path, data, mode=0o600 if name.startswith(f"{PRIVATE}/") else 0o644)
            part.rename(folder)
    except OSError as err:
        raise KeysError(
            f"{folder} cannot be written: {err.strerror}.", hint="Give --output a folder that you may make."
        ) from err


def _write(path: Path, data: bytes, *, mode: Literal[0o600, 0o644]) -> None:
    """The mode is there before the first byte is."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(data)
        os.fsync(stream.fileno())  # a key that signed and was lost with the power cannot be made again

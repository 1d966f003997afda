"""A payload that is what was signed: bytes, keys and a clock in, a tree or one reason out; no I/O but the trusted keys.

Order matters: the framing first (bounded, canonical), then the signature over release.json, then what release.json
says of every other file, then what the files say of each other. Nothing of a later step is read before the earlier one
held.
"""

import hashlib
import re
from collections.abc import Mapping
from datetime import datetime
from typing import TypeVar

from edgekit.agent.release import PATH
from edgekit.artifact import GOLDEN, MANIFEST
from edgekit.bundle.archives.tar import read_tar
from edgekit.bundle.entries import Release
from edgekit.bundle.provenance import PAYLOAD_TYPE, Statement
from edgekit.bundle.refusal import refused
from edgekit.bundle.tar import canonical_order
from edgekit.bundle.types import AGENT, ARTIFACT, INSTALL, RELEASE, REQUIREMENTS, SBOM, SIGNATURE, Tree
from edgekit.documents import MAX_BYTES, parse_json
from edgekit.entries import Manifest
from edgekit.errors import IntegrityError
from edgekit.keys.types import Trust

T = TypeVar("T")
NEEDED = (AGENT, INSTALL, REQUIREMENTS, SBOM, f"{ARTIFACT}/{MANIFEST}", f"{ARTIFACT}/{GOLDEN}")


def read_sealed(payload: bytes, trust: Trust, now: datetime) -> Tree:
    """The tree in ``payload``; raises IntegrityError with the one reason why it is not accepted."""
    members = read_tar(payload)
    files = {member.name: member.data for member in members}
    for name in files:
        if not PATH.match(name):
            raise refused(f"{_shown(repr(name))} is no path that a release may have.")
    if RELEASE not in files:
        raise refused(f"It holds no {RELEASE}: it is no bundle of edgekit's.")
    if SIGNATURE not in files:
        raise refused(f"It is not signed: it holds no {SIGNATURE}.")
    signed = _signed_statement(files, trust, now)
    release = read_document(files[RELEASE], Release, RELEASE)
    _check_files(files, release)
    if tuple(files) != canonical_order(files):
        raise refused("Its files are in another order than edgekit writes them.")
    if any(member.executable != (member.name == INSTALL) for member in members):
        raise refused("A file's mode is not what edgekit writes.")
    _check_artifact(files, release, signed)
    return Tree(release=release, files=files)


def _signed_statement(files: Mapping[str, bytes], trust: Trust, now: datetime) -> Statement:
    """The statement under a good signature, whose subject is this release.json."""
    from edgekit.keys.dsse import verify_dsse

    signed = read_document(verify_dsse(files[SIGNATURE], PAYLOAD_TYPE, trust, now), Statement, SIGNATURE)
    if _subject(signed, RELEASE) != hashlib.sha256(files[RELEASE]).hexdigest():
        raise refused(f"{RELEASE} is not the one that was signed.")
    return signed


def _subject(signed: Statement, name: str) -> str | None:
    """sha256 that the statement gives ``name``; None where it has it not once."""
    found = [subject.digest.sha256 for subject in signed.subject if subject.name == name]
    return found[0] if len(found) == 1 else None


def _check_files(files: Mapping[str, bytes], release: Release) -> None:
    """Exactly the files that release.json lists, each with its bytes."""
    present = set(files) - {RELEASE, SIGNATURE}
    for path in sorted(present - set(release.files)):
        raise refused(f"{_shown(path)} is in it and not in {RELEASE}: it was added.")
    for path, entry in sorted(release.files.items()):
        if path not in present:
            raise refused(f"{path} is missing: it was removed, or the bundle is not whole.")
        if len(files[path]) != entry.bytes or hashlib.sha256(files[path]).hexdigest() != entry.sha256:
            raise refused(f"{path} is not the file that was signed: its bytes were changed.")
    folders = {path[:at] for path in present for at, letter in enumerate(path) if letter == "/"}
    for path in sorted(folders & set(files)):
        raise refused(f"{path} is a file and a folder in it.")
    for path in NEEDED:
        if path not in present:
            raise refused(f"It holds no {path}, which every release has.")


def _check_artifact(files: Mapping[str, bytes], release: Release, signed: Statement) -> None:
    """The artifact is whole by its own manifest, and is the one that release.json and the statement name."""
    document = files[f"{ARTIFACT}/{MANIFEST}"]
    if hashlib.sha256(document).hexdigest() != release.artifact:
        raise refused(f"{RELEASE} names another artifact than the one in the bundle.")
    manifest = read_document(document, Manifest, f"{ARTIFACT}/{MANIFEST}")
    if manifest.target != release.target:
        raise refused(f"{RELEASE} says it is for {release.target}, and its model was built for {manifest.target}.")
    if not {manifest.model, manifest.reference, GOLDEN} <= set(manifest.files):
        raise refused(f"{ARTIFACT}/{MANIFEST} does not list its own model and golden vectors.")
    start = f"{ARTIFACT}/"
    listed = {path.removeprefix(start): entry for path, entry in release.files.items() if path.startswith(start)}
    del listed[MANIFEST]
    differing = sorted(path for path in {*listed, *manifest.files} if listed.get(path) != manifest.files.get(path))
    if differing:
        raise refused(f"{start}{_shown(differing[0])} is not what {ARTIFACT}/{MANIFEST} says of it.")
    if _subject(signed, start + manifest.model) != manifest.files[manifest.model].sha256:
        raise refused(f"The signed provenance is about another model than {start}{manifest.model}.")


def read_document(data: bytes, kind: type[T], where: str) -> T:
    """A document of at most ``MAX_BYTES``; raises IntegrityError with one short line."""
    if len(data) > MAX_BYTES:
        raise refused(f"{where} has more than {MAX_BYTES:,} bytes: it is no document of edgekit's.")
    try:
        return parse_json(data, kind, IntegrityError, where=where)
    except IntegrityError as err:
        raise refused(_shown(err.message)) from err


def _shown(text: str) -> str:
    """Untrusted text as one short line."""
    return re.sub(r"[^ -~]", "?", text)[:300]

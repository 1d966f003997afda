"""What `edgekit bundle verify` decides. ``verify_bytes`` and what it calls are pure; ``verify_bundle`` reads."""

import hashlib
import tempfile
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from edgekit.agent.versions import parse as parse_version
from edgekit.bundle.entries import Format, Release
from edgekit.bundle.envelopes import detect, load_envelope
from edgekit.bundle.libraries import VERIFYING, require
from edgekit.bundle.refusal import refused
from edgekit.bundle.sealed import read_sealed
from edgekit.bundle.types import MAX_BUNDLE_BYTES, RELEASE, Opened, ToolCheck, Tree
from edgekit.documents import read_bounded
from edgekit.errors import BundleError, IntegrityError, ToolMissingError
from edgekit.keys.types import Purpose, Trust
from edgekit.progress import Progress, silent

MAX_REASON = 1000
"""Characters; documents that are quoted in a reason have megabytes."""


@dataclass(frozen=True, kw_only=True)
class Policy:
    """What is known when a bundle is judged."""

    now: datetime
    """Aware; decides which certificates are valid."""
    device_version: str | None = None
    """Version on the device: this one again or an older one is refused. None: not known, and not checked."""
    target: str | None = None
    """Profile of the device. None: not checked."""
    hardware: str | None = None
    """What the device calls itself. None: not checked."""


@dataclass(frozen=True, kw_only=True)
class Signer:
    """A key whose signature held."""

    purpose: Purpose
    fingerprint: str
    """sha256 of its certificate (DER), hexadecimal."""
    expires: datetime


@dataclass(frozen=True, kw_only=True)
class Verified:
    """A bundle that was accepted, and what that rests on."""

    format: Format
    release: Release
    digest: str
    """sha256 of release.json: names the whole tree."""
    payload_sha256: str
    """Of the tree as a canonical tar; the same in every format that carries this tree."""
    bytes: int
    """Of the file."""
    signers: tuple[Signer, ...]
    checked: tuple[str, ...]
    """What edgekit checked, a phrase each."""
    tool: ToolCheck | None
    """What the format's own tool checked; None where it has none or was not asked."""


@dataclass(frozen=True, kw_only=True)
class Accepted:
    """Bytes that are a bundle, whole, signed and allowed."""

    format: Format
    opened: Opened
    tree: Tree


def verify_bytes(data: bytes, trust: Trust, policy: Policy) -> Accepted:
    """Judge a whole file: its envelope, its tree, the policy, and that envelope and tree say the same.

    Whatever the bytes are, raises nothing but IntegrityError with the reason why it is refused.
    """
    try:
        name = detect(data)
        opened = load_envelope(name).open_envelope(data, trust, policy.now)
        tree = verify_payload(opened.payload, trust, policy)
        check_envelope(opened, tree.release)
    except IntegrityError as err:
        if len(err.message) <= MAX_REASON:
            raise
        # from None: what a hostile bundle had it say is as long in the cause
        raise IntegrityError(f"{err.message[:MAX_REASON]}...", hint=err.hint[:MAX_REASON]) from None
    return Accepted(format=name, opened=opened, tree=tree)


def verify_payload(payload: bytes, trust: Trust, policy: Policy) -> Tree:
    """The tree in a payload that is whole, signed and allowed; raises IntegrityError with the reason otherwise."""
    tree = read_sealed(payload, trust, policy.now)
    check_policy(tree.release, policy)
    return tree


def check_policy(release: Release, policy: Policy) -> None:
    """Whether this device may have it; raises IntegrityError, and BundleError for a policy that is none."""
    if policy.target is not None and release.target != policy.target:
        raise refused(
            f"It is for the target {release.target}, and the device's is {policy.target}.",
            hint=f"Make one for the device: edgekit build --target {policy.target}, then edgekit bundle create.",
        )
    if policy.hardware is not None and policy.hardware not in release.hardware:
        raise refused(
            f"It is for {', '.join(release.hardware)}, and the device is {policy.hardware}.",
            hint=f"Make one for the device: edgekit bundle create --hardware {policy.hardware}.",
        )
    if policy.device_version is None:
        return
    ours, theirs = parse_version(release.version), parse_version(check_version(policy.device_version))
    if ours < theirs:
        raise refused(
            f"It is version {release.version}, older than the {policy.device_version} on the device.",
            hint="Release what shall be installed under a higher version.",
        )
    if ours == theirs:
        raise refused(
            f"It is version {release.version}, which the device has already: a replay.",
            hint="Nothing is to be installed; something else is released under a higher version.",
        )


def check_version(text: str) -> str:
    """``text`` if it is a version of releases; raises BundleError."""
    try:
        parse_version(text)
    except ValueError as err:
        raise BundleError(
            f"{text!r} is no version of a release.",
            hint="Such as 1.4.0 or 1.4.0-rc.1 (semver, without build metadata).",
        ) from err
    return text


def check_envelope(opened: Opened, release: Release) -> None:
    """What an update client reads of the envelope is what release.json says; raises IntegrityError."""
    if opened.version is not None and opened.version != release.version:
        raise refused(f"Its envelope says version {opened.version}, and {RELEASE} says {release.version}.")
    if opened.hardware is not None and sorted(opened.hardware) != sorted(release.hardware):
        said = ", ".join(opened.hardware) or "no device"
        raise refused(f"Its envelope is for {said}, and {RELEASE} is for {', '.join(release.hardware)}.")


def verify_bundle(
    path: Path, trust: Trust, policy: Policy, *, with_tool: bool = True, progress: Progress = silent
) -> Verified:
    """Verify a file of any format, all of it.

    Raises IntegrityError (exit code 8) with the reason why it is refused; BundleError where the file cannot be read
    or the format's own tool is missing.
    """
    require(VERIFYING)
    progress("read")
    data = read_bundle(path)
    progress("check")
    accepted = verify_bytes(data, trust, policy)
    name, opened, tree = accepted.format, accepted.opened, accepted.tree
    tool = None
    if with_tool:
        progress(f"{name}'s own tool")
        with tempfile.TemporaryDirectory(prefix="edgekit-verify-") as scratch:
            tool = _ask_tool(path, trust, name, Path(scratch))
    return Verified(
        format=name,
        release=tree.release,
        digest=hashlib.sha256(tree.files[RELEASE]).hexdigest(),
        payload_sha256=hashlib.sha256(opened.payload).hexdigest(),
        bytes=len(data),
        signers=tuple(_signer(purpose, trust, policy.now) for purpose in ("release", *opened.signed_by)),
        checked=_checked(name, opened, tree.release, policy),
        tool=tool,
    )


def read_bundle(path: Path) -> bytes:
    """The file's bytes; raises BundleError where there is no such file, IntegrityError where it is too large."""
    if not path.is_file() and not path.is_fifo():
        what = "is a folder" if path.is_dir() else "is no regular file" if path.exists() else "does not exist"
        raise BundleError(f"{path} {what}.", hint="Give a file that `edgekit bundle create` made.")
    if path.stat().st_size > MAX_BUNDLE_BYTES:
        raise refused(f"{path} has {path.stat().st_size:,} bytes; a bundle has at most {MAX_BUNDLE_BYTES:,}.")
    return read_bounded(path, BundleError, limit=MAX_BUNDLE_BYTES)


def _ask_tool(path: Path, trust: Trust, name: Format, scratch: Path) -> ToolCheck | None:
    try:
        return load_envelope(name).check(path, trust, scratch)
    except ToolMissingError as err:
        hint = f"{err.hint} Or do without (verify --skip-tool): edgekit's own check covers every byte."
        raise ToolMissingError(err.message, hint=hint) from err


def _signer(purpose: Purpose, trust: Trust, now: datetime) -> Signer:
    from cryptography.hazmat.primitives.hashes import SHA256

    from edgekit.keys.trust import checked_certificate

    certificate = checked_certificate(trust, purpose, now)
    return Signer(
        purpose=purpose,
        fingerprint=certificate.fingerprint(SHA256()).hex(),
        expires=certificate.not_valid_after_utc,
    )


def _checked(name: Format, opened: Opened, release: Release, policy: Policy) -> tuple[str, ...]:
    """True sentences only: what was not asked for is not claimed."""
    said = [f"every byte of the {name} file: signed, or exactly what edgekit writes"]
    said += [f"{purpose} signature over the envelope" for purpose in opened.signed_by]
    said += [
        "release signature, its certificate's chain, purpose and expiry",
        f"{len(release.files)} files by sha256, the artifact by its manifest",
    ]
    stated = [name for name in ("version", "hardware") if getattr(opened, name) is not None]
    if stated:
        said.append(f"{' and '.join(stated)} of the envelope against release.json")
    if policy.device_version is not None:
        said.append(f"newer than {policy.device_version}")
    if policy.target is not None:
        said.append(f"target {policy.target}")
    if policy.hardware is not None:
        said.append(f"hardware {policy.hardware}")
    return tuple(said)

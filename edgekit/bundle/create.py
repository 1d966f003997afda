"""An artifact becomes a bundle: tree, seal, envelope, our own verification; the file appears whole or not at all."""

import difflib
import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from edgekit.artifact import Artifact
from edgekit.bundle.entries import Format, Installation
from edgekit.bundle.envelopes import ExtrasRequest, load_envelope, load_extras
from edgekit.bundle.folders import unwritable
from edgekit.bundle.libraries import CREATING, require
from edgekit.bundle.provenance import Locked, find_lock
from edgekit.bundle.sbom import licence_findings
from edgekit.bundle.tar import tar_of
from edgekit.bundle.tree import ReleaseRequest, build_tree
from edgekit.bundle.types import CreateRequest
from edgekit.bundle.verify import Policy, Verified, check_version, verify_bundle
from edgekit.documents import convert
from edgekit.errors import BundleError, ToolMissingError
from edgekit.files import scratch_beside
from edgekit.keys.types import Trust
from edgekit.progress import Progress, silent
from edgekit.project import Deploy
from edgekit.target import load_target
from edgekit_converters.types import Finding

SETTINGS: Mapping[str, str] = {"root": "edgekit's folder on the device; default /var/lib/edgekit"}
"""What every format has; the envelope's own come in addition."""
WITHOUT_HOOKS: Mapping[Format, str] = {
    "mcu": "Do it in the firmware: it confirms its image after RunSelfTest().",
}
"""Formats whose devices do not switch by install.sh -> what takes the place of the project's hooks there."""


@dataclass(frozen=True, kw_only=True)
class BundleRequest:
    """What is to be made."""

    artifact: Artifact
    format: Format
    version: str
    keys: Path
    output: Path
    hardware: tuple[str, ...] = ()
    """Devices that may install it; empty: those that call themselves like the target."""
    licenses: tuple[str, ...] = ()
    settings: Mapping[str, str]
    """``root`` and those of the format."""
    deploy: Deploy
    """``[deploy]`` of the project."""
    directory: Path = Path()
    """The project's, where its lock is."""


@dataclass(frozen=True, kw_only=True)
class Created:
    """A bundle that was made and verified."""

    path: Path
    verified: Verified
    seconds: float
    findings: tuple[Finding, ...]


def create_bundle(wanted: BundleRequest, *, now: datetime, progress: Progress = silent) -> Created:
    """Make and verify a bundle; ``wanted.output`` appears only when it was accepted.

    Raises:
        BundleError: it cannot be made, or the format's own tool is missing or failed.
        KeysError: the keys cannot sign. IntegrityError: what was made is refused, such as for keys that expired.
        TargetError: the artifact's target has no profile here.
    """
    from edgekit.keys.trust import read_trust

    started = time.monotonic()
    require(CREATING)
    own = own_settings(wanted.format, wanted.settings)
    trust = read_trust(wanted.keys)
    check_version(wanted.version)
    _check_target(wanted)
    findings = licence_findings(wanted.licenses)
    locked, unlocked = find_lock(wanted.artifact, wanted.directory)
    output = checked_output(wanted.output)
    try:
        with scratch_beside(output) as folder:
            made, payload_sha256 = _make(wanted, own, locked, folder, now, progress)
            verified, unasked = _verify(made, trust, Policy(now=now), progress)
            if verified.format != wanted.format or verified.payload_sha256 != payload_sha256:
                raise BundleError(
                    f"What {wanted.format} made does not hold the release that it was given.",
                    hint="This is a defect of edgekit or of the format's tool; nothing was written.",
                )
            made.chmod(0o644)
            made.replace(output)
    except OSError as err:
        raise unwritable(err.filename or wanted.output, err) from err
    return Created(
        path=wanted.output,
        verified=verified,
        seconds=time.monotonic() - started,
        findings=(*findings, *hook_findings(wanted), *unlocked, *unasked),
    )


def hook_findings(wanted: BundleRequest) -> tuple[Finding, ...]:
    """Hooks of the project that devices of this format do not run."""
    hooks = [name for name in ("on_activate", "health_check") if getattr(wanted.deploy, name)]
    if not hooks or wanted.format not in WITHOUT_HOOKS:
        return ()
    finding = Finding(
        name="hooks-not-run",
        severity="warning",
        message=f"Devices of {wanted.format} do not run {' and '.join(hooks)} of edgekit.toml.",
        fix=WITHOUT_HOOKS[wanted.format],
    )
    return (finding,)


def checked_output(path: Path) -> Path:
    """The file that a rename may replace, behind every link; raises BundleError for a folder or a device file."""
    output = path.resolve()  # a link stays one
    if output.exists() and not output.is_file():
        what = "a folder" if output.is_dir() else "no regular file"
        raise BundleError(f"{path} is {what}.", hint="Name a file with --output.")
    return output


def _make(
    wanted: BundleRequest,
    own: Mapping[str, str],
    locked: Locked | None,
    folder: Path,
    now: datetime,
    progress: Progress,
) -> tuple[Path, str]:
    """The envelope's file in ``folder``, and the sha256 of its payload."""
    for name in ("extras", "envelope"):
        (folder / name).mkdir()
    progress("release tree")
    make_extras = load_extras(wanted.format)
    extras: Mapping[str, bytes] = {}
    if make_extras is not None:
        extras = make_extras(
            ExtrasRequest(
                artifact=wanted.artifact,
                version=wanted.version,
                keys=wanted.keys,
                settings=own,
                scratch=folder / "extras",
            )
        )
    tree = build_tree(release_request(wanted, locked), wanted.keys, extras)
    payload = tar_of(tree)
    progress(f"{wanted.format} envelope")
    request = CreateRequest(
        tree=tree, payload=payload, keys=wanted.keys, settings=own, scratch=folder / "envelope", now=now
    )
    return load_envelope(wanted.format).create(request), hashlib.sha256(payload).hexdigest()


def _verify(made: Path, trust: Trust, policy: Policy, progress: Progress) -> tuple[Verified, tuple[Finding, ...]]:
    """As `edgekit bundle verify`; where only the tool that checks is missing, a finding says so."""
    try:
        return verify_bundle(made, trust, policy, progress=progress), ()
    except ToolMissingError as err:
        finding = Finding(
            name="tool-not-asked",
            severity="warning",
            message=f"The bundle was verified by edgekit alone: {err.message}",
            fix=err.hint,
        )
        return verify_bundle(made, trust, policy, with_tool=False, progress=progress), (finding,)


def release_request(wanted: BundleRequest, locked: Locked | None) -> ReleaseRequest:
    """What the release is made of: the user's wishes, the project's and the artifact's own, in this order."""
    target = wanted.artifact.manifest.target
    return ReleaseRequest(
        artifact=wanted.artifact,
        target=load_target(target),
        name=wanted.deploy.name or wanted.artifact.manifest.name,
        version=wanted.version,
        hardware=wanted.hardware or (target,),
        licenses=wanted.licenses,
        installation=installation(wanted.deploy, wanted.settings),
        locked=locked,
    )


def installation(deploy: Deploy, settings: Mapping[str, str]) -> Installation:
    """``[deploy]`` of the project and the setting ``root``; raises BundleError for a root that is no such path."""
    value = {
        "on_activate": deploy.on_activate,
        "health_check": deploy.health_check,
        "health_timeout_s": deploy.health_timeout_s,
        "keep_versions": deploy.keep_versions,
        **({"root": settings["root"]} if "root" in settings else {}),
    }
    return convert(value, Installation, BundleError, where="--setting")


def own_settings(name: Format, settings: Mapping[str, str]) -> dict[str, str]:
    """The settings that the format's module takes; raises BundleError for one that nobody knows."""
    known = {**SETTINGS, **load_envelope(name).SETTINGS}
    unknown = next((key for key in settings if key not in known), None)
    if unknown is not None:
        close = difflib.get_close_matches(unknown, known, n=1)
        told = "; ".join(f"{key}: {meaning}" for key, meaning in known.items())
        raise BundleError(
            f"{name} has no setting {unknown!r}.",
            hint=f"Did you mean {close[0]!r}?" if close else f"Its settings: {told}.",
        )
    return {key: value for key, value in settings.items() if key not in SETTINGS}


def _check_target(wanted: BundleRequest) -> None:
    """Raises BundleError for what install.sh could never test and switch; ``mcu`` is for those without it."""
    target = load_target(wanted.artifact.manifest.target)
    if wanted.format != "mcu" and target.support.deploy == "elsewhere":
        raise BundleError(
            f"A {wanted.format} bundle installs and tests itself on the device, and {target.name} cannot do that. "
            f"{target.support.missing}",
            hint="For a microcontroller: --format mcu."
            if target.os == "none"
            else f"{wanted.artifact.model} is the file; ship it with the application that runs it.",
        )

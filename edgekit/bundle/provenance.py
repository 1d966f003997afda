"""Where a release comes from: an in-toto Statement v1 with a SLSA provenance v1 predicate.

https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md, https://slsa.dev/spec/v1.0/provenance.
Its subjects are release.json, which holds the digest of every other file, and the model. No time, host or user is in
it.
"""

import hashlib
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from edgekit.artifact import Artifact
from edgekit.bundle.types import ARTIFACT, RELEASE
from edgekit.digests import sha256_file
from edgekit.documents import Document, write_json
from edgekit.entries import Manifest, Sha256
from edgekit.lock import LOCK, LockedBuild, read_lock
from edgekit_converters.types import Finding

PAYLOAD_TYPE = "application/vnd.in-toto+json"
BUILD_TYPE = "https://github.com/edgekit/edgekit/blob/main/docs/bundle.md#build-type-v1"
BUILDER = "https://github.com/edgekit/edgekit"


class Digests(Document, frozen=True, kw_only=True):
    """in-toto's DigestSet, sha256 alone."""

    sha256: Sha256


class Subject(Document, frozen=True, kw_only=True):
    """A file that the statement is about."""

    name: Annotated[str, msgspec.Meta(max_length=1000)]
    digest: Digests


class Statement(Document, frozen=True, kw_only=True):
    """The signed document."""

    type: Literal["https://in-toto.io/Statement/v1"] = msgspec.field(name="_type")
    subject: tuple[Subject, ...]
    predicate_type: Literal["https://slsa.dev/provenance/v1"] = msgspec.field(name="predicateType")
    predicate: dict[str, Any]


class Locked(Document, frozen=True, kw_only=True):
    """The project's lock of the artifact."""

    file: Sha256
    """sha256 of edgekit.lock."""
    build: LockedBuild


def find_lock(artifact: Artifact, directory: Path) -> tuple[Locked | None, tuple[Finding, ...]]:
    """The entry of ``directory``'s lock that this artifact was built with; None with a finding where there is none."""
    lock = read_lock(directory)
    build = lock.builds.get(artifact.path.resolve().name) if lock is not None else None
    if build is None:
        cause = f"there is no {LOCK} in this folder" if lock is None else f"{LOCK} has no build {artifact.path.name}"
    elif not _fits(build, artifact.manifest):
        cause = f"{LOCK} has another build of {artifact.path.name}"
    else:
        return Locked(file=sha256_file(directory / LOCK), build=build), ()
    finding = Finding(
        name="no-lock",
        severity="warning",
        message=f"The provenance names no lock: {cause}.",
        fix=f"Build the artifact in its project and run this there: `edgekit build` writes {LOCK}.",
    )
    return None, (finding,)


def _fits(build: LockedBuild, manifest: Manifest) -> bool:
    """Whether a lock's entry can be of the artifact: what both tell is the same."""
    return build.tools == manifest.tools and build.settings.get("target") == manifest.target


def statement(artifact: Artifact, release: bytes, locked: Locked | None) -> bytes:
    """The statement about ``release`` (the bytes of release.json) and the artifact in it, as canonical JSON."""
    manifest = artifact.manifest
    model = f"{ARTIFACT}/{manifest.model}"
    return write_json(
        Statement(
            type="https://in-toto.io/Statement/v1",
            subject=(
                Subject(name=RELEASE, digest=Digests(sha256=hashlib.sha256(release).hexdigest())),
                Subject(name=model, digest=Digests(sha256=manifest.files[manifest.model].sha256)),
            ),
            predicate_type="https://slsa.dev/provenance/v1",
            predicate={
                "buildDefinition": {
                    "buildType": BUILD_TYPE,
                    "externalParameters": _parameters(manifest),
                    "internalParameters": {} if locked is None else {"lock": msgspec.to_builtins(locked.build)},
                    "resolvedDependencies": _dependencies(manifest, locked),
                },
                "runDetails": {
                    "builder": {"id": BUILDER, "version": {"edgekit": manifest.tools.get("edgekit", "unknown")}},
                },
            },
        )
    )


def _parameters(manifest: Manifest) -> dict[str, Any]:
    return {
        "target": manifest.target,
        "precision": manifest.precision,
        "io": manifest.io,
        "delegate": manifest.delegate,
        "scheme": msgspec.to_builtins(manifest.scheme),
        "compilation": None
        if manifest.compilation is None
        else {
            "compiler": manifest.compilation.compiler,
            "accelerator": manifest.compilation.accelerator,
            "settings": manifest.compilation.settings,
        },
    }


def _dependencies(manifest: Manifest, locked: Locked | None) -> list[dict[str, Any]]:
    """in-toto ResourceDescriptors: the source, the data, the lock, the tools."""
    files = [("source", manifest.source.name, manifest.source.sha256)]
    if manifest.calibration is not None:
        files.append(("calibration", "calibration data", manifest.calibration.sha256))
    if manifest.evaluation is not None:
        files.append(("evaluation", "evaluation data", manifest.evaluation.sha256))
    if locked is not None:
        files.append(("lock", LOCK, locked.file))
    found: list[dict[str, Any]] = [
        {"name": name, "digest": {"sha256": sha256}, "annotations": {"role": role}} for role, name, sha256 in files
    ]
    tools = [(name, version) for name, version in sorted(manifest.tools.items())]
    return found + [{"name": name, "uri": tool_purl(name, version)} for name, version in tools]


def tool_purl(name: str, version: str) -> str:
    """Package URL of a tool of the manifest; what is no package of PyPI is generic."""
    from packageurl import PackageURL

    kind = "generic" if name in {"python", "machine"} or " " in version else "pypi"
    return PackageURL(type=kind, name=name, version=version).to_string()

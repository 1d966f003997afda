"""The release tree: everything a device needs of one release, with release.json over it and a signature over that."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import msgspec

from edgekit.artifact import Artifact
from edgekit.bundle.entries import Installation, Release
from edgekit.bundle.provenance import PAYLOAD_TYPE, Locked, statement
from edgekit.bundle.requirements import requirements_file, runtime_requirements
from edgekit.bundle.sbom import Described, sbom
from edgekit.bundle.types import (
    AGENT,
    ARTIFACT,
    INSTALL,
    MAX_BUNDLE_BYTES,
    MAX_FILES,
    RELEASE,
    REQUIREMENTS,
    SBOM,
    SIGNATURE,
    Tree,
)
from edgekit.documents import convert, write_json
from edgekit.entries import FileEntry
from edgekit.errors import BundleError
from edgekit.target import Target
from edgekit.versions import version_of


@dataclass(frozen=True, kw_only=True)
class ReleaseRequest:
    """What a release is made of."""

    artifact: Artifact
    target: Target
    """Profile of the artifact's target."""
    name: str
    """Of the model on the device."""
    version: str
    hardware: tuple[str, ...]
    """Devices that may install it; at least one."""
    licenses: tuple[str, ...]
    """SPDX, of the model."""
    installation: Installation
    locked: Locked | None


def build_tree(wanted: ReleaseRequest, keys: Path, extras: Mapping[str, bytes]) -> Tree:
    """The sealed tree; ``extras`` are files that a format adds (path -> bytes).

    Raises BundleError for what cannot be a release (version, hardware, too many or too large files), KeysError where
    the keys cannot sign.
    """
    from edgekit.keys.dsse import sign_dsse

    files = {**_files(wanted), **extras}
    if len(files) + 2 > MAX_FILES or sum(map(len, files.values())) > MAX_BUNDLE_BYTES:
        raise BundleError(
            f"The release has {len(files)} files of {sum(map(len, files.values())):,} bytes together.",
            hint=f"A bundle has at most {MAX_FILES} files of {MAX_BUNDLE_BYTES:,} bytes: make the model smaller.",
        )
    release = _release(wanted, files)
    document = write_json(release)
    signature = sign_dsse(statement(wanted.artifact, document, wanted.locked), PAYLOAD_TYPE, keys)
    return Tree(release=release, files={RELEASE: document, SIGNATURE: signature, **dict(sorted(files.items()))})


def _files(wanted: ReleaseRequest) -> dict[str, bytes]:
    """Every file of the tree but release.json and its signature."""
    from edgekit.transport.agent_file import build_agent

    artifact, agent = wanted.artifact, build_agent()
    tools = artifact.manifest.tools
    described = Described(
        artifact=artifact,
        name=wanted.name,
        version=wanted.version,
        licenses=wanted.licenses,
        agent_sha256=agent.digest,
        agent_version=version_of("edgekit") or "unknown",
        requirements=runtime_requirements(wanted.target, tools),
    )
    return {
        **{f"{ARTIFACT}/{path}": _read(artifact.path / path) for path in artifact.files},
        AGENT: agent.data,
        INSTALL: resources.files("edgekit.bundle").joinpath(INSTALL).read_bytes(),
        REQUIREMENTS: requirements_file(wanted.name, wanted.installation.root, wanted.target, tools),
        SBOM: sbom(described),
    }


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as err:
        raise BundleError(
            f"{path} cannot be read: {err.strerror or err}.", hint="Is the artifact being built anew? Wait until it is."
        ) from err


def _release(wanted: ReleaseRequest, files: Mapping[str, bytes]) -> Release:
    """release.json, held against its own schema: what a device would refuse is not made."""
    release = Release(
        schema_version=1,
        name=wanted.name,
        version=wanted.version,
        target=wanted.artifact.manifest.target,
        hardware=wanted.hardware,
        artifact=wanted.artifact.digest,
        installation=wanted.installation,
        files={
            path: FileEntry(sha256=hashlib.sha256(data).hexdigest(), bytes=len(data))
            for path, data in sorted(files.items())
        },
    )
    return convert(msgspec.to_builtins(release), Release, BundleError, where=RELEASE)

"""The plain format: the release tree as a canonical tar, which is the payload of every other envelope, too.

No byte of it is outside the tree's own signature or the canonical framing, so it needs no envelope. Whoever unpacks it
on a device runs ``sh install.sh`` in it; nobody checks its signature there, so verify it before it goes there.
"""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from edgekit.bundle.archives.tar import write_tar
from edgekit.bundle.archives.types import Member
from edgekit.bundle.entries import Release
from edgekit.bundle.types import INSTALL, RELEASE, SIGNATURE, CreateRequest, DeviceFiles, Opened, ToolCheck, Tree
from edgekit.keys.types import Trust

SUFFIX = ".tar"
SETTINGS: Mapping[str, str] = {}


def canonical_order(paths: Mapping[str, object]) -> tuple[str, ...]:
    """release.json and its signature first, so that a reader can refuse early; the others sorted."""
    first = tuple(path for path in (RELEASE, SIGNATURE) if path in paths)
    return (*first, *sorted(set(paths) - set(first)))


def tar_of(tree: Tree) -> bytes:
    """The tree as the payload of every envelope; the same tree gives the same bytes."""
    return write_tar(
        [Member(name=path, data=tree.files[path], executable=path == INSTALL) for path in canonical_order(tree.files)]
    )


def create(request: CreateRequest) -> Path:
    """Write the payload as it is."""
    path = request.scratch / f"bundle{SUFFIX}"
    path.write_bytes(request.payload)
    return path


def open_envelope(data: bytes, trust: Trust, now: datetime) -> Opened:  # noqa: ARG001 - what every envelope takes
    """The file is the payload; ``read_tar`` and the tree's signature account for every byte."""
    return Opened(payload=data, version=None, hardware=None)


def check(path: Path, trust: Trust, scratch: Path) -> ToolCheck | None:  # noqa: ARG001
    """No tool knows more of it than edgekit does."""
    return None


def device_files(release: Release, trust: Trust, settings: Mapping[str, str]) -> DeviceFiles:  # noqa: ARG001
    """Nothing but a Python with the runtime."""
    return DeviceFiles(
        notes=(
            f"A device needs Python with what {release.name}'s requirements.txt names, and no other file.",
            "Verify the bundle before it is unpacked there: install.sh checks digests, not the signature.",
            f"Unpack it into an empty folder and run: sh install.sh --root {release.installation.root}",
        )
    )

"""The plain format: the release tree as a canonical tar, which is the payload of every other envelope, too.

No byte of it is outside the tree's own signature or the canonical framing, so it needs no envelope. On a device
``edgekit-unpack`` (``bundle/unpack.py``) checks the signature with openssl and unpacks it; ``install.sh`` does the
rest.
"""

from collections.abc import Mapping
from datetime import datetime
from importlib import resources
from pathlib import Path

from edgekit.bundle.archives.tar import write_tar
from edgekit.bundle.archives.types import Member
from edgekit.bundle.entries import Release
from edgekit.bundle.types import INSTALL, RELEASE, SIGNATURE, CreateRequest, DeviceFiles, Opened, ToolCheck, Tree
from edgekit.keys.types import Trust

SUFFIX = ".tar"
PROGRAM = "usr/local/bin/edgekit-unpack"
PUBLIC_KEY = "etc/edgekit/release.pub"
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
    """The release key, and what checks and unpacks a bundle with it."""
    from edgekit.keys.certificates import public_pem
    from edgekit.keys.trust import read_certificate

    unpack = resources.files("edgekit.bundle").joinpath("unpack.py").read_bytes()
    return DeviceFiles(
        files={
            PROGRAM: b"#!/usr/bin/env python3\n" + unpack,
            PUBLIC_KEY: public_pem(read_certificate(trust, "release")),
        },
        executable=(PROGRAM,),
        notes=(
            f"A device needs openssl, and a Python with what {release.name}'s requirements.txt names.",
            f"There: edgekit-unpack BUNDLE FOLDER && sh FOLDER/{INSTALL}",
            "edgekit-unpack trusts the key, not its certificate: for a key that was renewed, replace the file.",
        ),
    )

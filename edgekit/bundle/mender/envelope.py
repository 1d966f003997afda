"""The artifact's file: written by mender-artifact, its tars written again in canonical form, signed, read strictly.

mender-artifact gives the files in the header the times and the owner of this machine, and the manifest signs them: so
the manifest is made and signed here, over the canonical header.
"""

import hashlib
import io
import tarfile
from collections.abc import Mapping
from datetime import datetime
from importlib.resources import files
from pathlib import Path

from edgekit.bundle.archives.tar import read_tar, write_tar
from edgekit.bundle.archives.types import Member
from edgekit.bundle.entries import Release
from edgekit.bundle.mender.device import SETTINGS as DEVICE_SETTINGS
from edgekit.bundle.mender.device import public_key
from edgekit.bundle.mender.header import MEMBERS, MODULE, SCRIPT, artifact_name, check_header, read_depends
from edgekit.bundle.mender.signature import sign_manifest, verify_manifest
from edgekit.bundle.refusal import refused
from edgekit.bundle.sealed import read_document
from edgekit.bundle.tools import find_tool, make, run_tool
from edgekit.bundle.types import RELEASE, CreateRequest, Opened, ToolCheck
from edgekit.compilers.process import how_it_ended
from edgekit.errors import BundleError
from edgekit.keys.types import Trust

SUFFIX = ".mender"
SETTINGS: Mapping[str, str] = {
    "depends": "what a device must provide already, KEY:VALUE[,KEY:VALUE] as `mender show-provides` says; default none",
    **DEVICE_SETTINGS,
}
VERSION = b'{"format":"mender","version":3}'
PAYLOAD = "release.tar"
UNSIGNED = ("version", "manifest", "header.tar", "data/0000.tar")
SIGNED = ("version", "manifest", "manifest.sig", "header.tar", "data/0000.tar")
INSTALL_TOOL = "Install it: apt-get install mender-artifact (Debian, Ubuntu), or from docs.mender.io, Downloads."


def create(request: CreateRequest) -> Path:
    """Make the artifact by mender-artifact and sign it; raises BundleError, or KeysError where the keys cannot."""
    tool = find_tool("mender-artifact", install=INSTALL_TOOL)
    unsigned = request.scratch / "unsigned"
    make((tool, *_arguments(request), "--output-path", str(unsigned)))
    header, payload = _as_written(unsigned.read_bytes())
    manifest = _manifest(header, request.payload)
    parts = {
        "version": VERSION,
        "manifest": manifest,
        "manifest.sig": sign_manifest(manifest, request.keys),
        "header.tar": header,
        "data/0000.tar": payload,
    }
    bundle = request.scratch / f"bundle{SUFFIX}"
    bundle.write_bytes(write_tar([Member(name=name, data=parts[name]) for name in SIGNED]))
    return bundle


def _arguments(request: CreateRequest) -> tuple[str, ...]:
    release, scratch = request.tree.release, request.scratch
    payload, script = scratch / PAYLOAD, scratch / SCRIPT
    payload.write_bytes(request.payload)
    script.write_bytes(files(__package__).joinpath("healthy.sh").read_bytes())
    script.chmod(0o755)
    return (
        *("write", "module-image", "--type", MODULE, "--artifact-name", artifact_name(release)),
        *(word for hardware in release.hardware for word in ("--device-type", hardware)),
        *("--software-filesystem", MODULE, "--software-name", release.name, "--software-version", release.version),
        *(
            word
            for key, value in read_depends(request.settings.get("depends", "")).items()
            for word in ("--depends", f"{key}:{value}")
        ),
        *("--file", str(payload), "--script", str(script), "--compression", "none"),
    )


def _as_written(data: bytes) -> tuple[bytes, bytes]:
    """header.tar and data/0000.tar of what mender-artifact wrote, in canonical form."""
    try:
        outer = _members(data)
        header, payload = (_members(member.data) for member in outer[2:4])
    except (tarfile.TarError, ValueError, OSError) as err:
        raise _another_tool(f"it cannot be read ({err})") from err
    names = [tuple(member.name for member in members) for members in (outer, header, payload)]
    if names != [UNSIGNED, MEMBERS, (PAYLOAD,)] or outer[0].data != VERSION:
        raise _another_tool(f"it holds {', '.join(name for part in names for name in part)}")
    return write_tar(header), write_tar(payload)


def _members(data: bytes) -> list[Member]:
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
        found = ((info, archive.extractfile(info)) for info in archive)
        return [
            Member(name=info.name, data=stream.read(), executable=info.name.startswith("scripts/"))
            for info, stream in found
            if stream is not None
        ]


def _another_tool(reason: str) -> BundleError:
    return BundleError(
        f"This mender-artifact writes artifacts in a form that edgekit does not know: {reason}.",
        hint="Use version 3.9 or later of 3, as in Debian 12, and report its version.",
    )


def _manifest(header: bytes, payload: bytes) -> bytes:
    """sha256 of every part, as sha256sum prints it, in the order of mender-artifact."""
    parts = {f"data/0000/{PAYLOAD}": payload, "header.tar": header, "version": VERSION}
    return "".join(f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in parts.items()).encode()


def open_envelope(data: bytes, trust: Trust, now: datetime) -> Opened:
    """The release tree in an artifact whose every byte is signed or canonical.

    Nothing in header or payload is read before the signature over their sha256 held.
    """
    parts = {member.name: member for member in read_tar(data)}
    if tuple(parts) == UNSIGNED:
        raise refused("The artifact is not signed: it has no manifest.sig.")
    if tuple(parts) != SIGNED or any(member.executable for member in parts.values()):
        raise refused("The artifact's parts are not those that edgekit writes.")
    manifest, header = parts["manifest"].data, parts["header.tar"].data
    verify_manifest(manifest, parts["manifest.sig"].data, trust, now)
    payload = read_tar(parts["data/0000.tar"].data)
    if [(member.name, member.executable) for member in payload] != [(PAYLOAD, False)]:
        raise refused(f"The artifact's payload is not {PAYLOAD} alone.")
    if parts["version"].data != VERSION or manifest != _manifest(header, payload[0].data):
        raise refused("A part of the artifact is not what its signed manifest says.")
    release = _release(payload[0].data)
    check_header(read_tar(header), release)
    return Opened(payload=payload[0].data, version=release.version, hardware=release.hardware, signed_by=("mender",))


def _release(payload: bytes) -> Release:
    """release.json of a signed payload; the tree's own signature is checked later."""
    documents = [member.data for member in read_tar(payload) if member.name == RELEASE]
    if not documents:
        raise refused(f"It holds no {RELEASE}: it is no bundle of edgekit's.")
    return read_document(documents[0], Release, RELEASE)


def check(path: Path, trust: Trust, scratch: Path) -> ToolCheck | None:
    """Ask mender-artifact, with the key: without one it takes unsigned artifacts.

    Raises IntegrityError when it refuses, BundleError when it is not installed.
    """
    tool = find_tool("mender-artifact", install=INSTALL_TOOL)
    key = scratch / "mender.pub"
    key.write_bytes(public_key(trust))
    ran = run_tool((tool, "validate", "--key", str(key), str(path.absolute())))
    if ran.status != 0:
        raise refused(f"mender-artifact refuses it: {how_it_ended('mender-artifact validate', ran)}")
    words = run_tool((tool, "--version")).output.split()
    return ToolCheck(
        tool="mender-artifact",
        version=words[-1] if words else None,
        checked="signature of the manifest, every sha256 in it",
    )

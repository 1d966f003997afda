"""What the header of an artifact says: for which devices, what it provides afterwards, what must be there before."""

import re
from typing import Annotated, Literal

import msgspec

from edgekit.bundle.archives.types import Member
from edgekit.bundle.entries import Hardware, Release
from edgekit.bundle.refusal import refused
from edgekit.bundle.sealed import read_document
from edgekit.documents import Document
from edgekit.errors import BundleError

MODULE = "edgekit"
"""Name of the update module, which ``device_files`` writes; also of the software filesystem in Mender's sense."""
SCRIPT = "ArtifactCommit_Enter_00_edgekit"
"""State script: Mender runs it before the commit, and rolls back when it fails."""
MEMBERS = ("header-info", f"scripts/{SCRIPT}", "headers/0000/type-info")
Text = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/+-]{0,199}$(?!\n)")]
_DEPENDS = re.compile(r"([A-Za-z0-9][A-Za-z0-9._/+-]{0,199}):([A-Za-z0-9][A-Za-z0-9._/+-]{0,199})")


class Payload(Document, frozen=True, kw_only=True):
    """One payload of ``header-info``."""

    type: Literal["edgekit"]


class Provides(Document, frozen=True, kw_only=True):
    """``artifact_provides`` of ``header-info``."""

    artifact_name: Text


class Depends(Document, frozen=True, kw_only=True):
    """``artifact_depends`` of ``header-info``."""

    device_type: tuple[Hardware, ...]


class HeaderInfo(Document, frozen=True, kw_only=True):
    """``header-info``."""

    payloads: tuple[Payload]
    artifact_provides: Provides
    artifact_depends: Depends


class TypeInfo(Document, frozen=True, kw_only=True):
    """``headers/0000/type-info``."""

    type: Literal["edgekit"]
    artifact_depends: dict[Text, Text] | None = None
    """What ``mender show-provides`` must say on the device."""
    artifact_provides: dict[Text, Text]
    clears_artifact_provides: tuple[str, ...]


def artifact_name(release: Release) -> str:
    """What Mender's server lists, such as ``kws-1.4.0``."""
    return f"{release.name}-{release.version}"


def version_key(release: Release) -> str:
    """Name of the software version in the inventory of a device, such as ``edgekit.kws.version``."""
    return f"{MODULE}.{release.name}.version"


def read_depends(text: str) -> dict[str, str]:
    """The setting ``depends``: KEY:VALUE, separated by commas; raises BundleError."""
    found: dict[str, str] = {}
    for part in filter(None, text.split(",")):
        match = _DEPENDS.fullmatch(part)
        if match is None or match[1] in found:
            raise BundleError(
                f"The setting depends cannot have {part[:100]!r}.",
                hint="It is KEY:VALUE[,KEY:VALUE], each as `mender show-provides` names it on a device.",
            )
        found[match[1]] = match[2]
    return found


def check_header(members: tuple[Member, ...], release: Release) -> None:
    """What the header says of a release is what the release says of itself; raises IntegrityError."""
    if tuple(member.name for member in members) != MEMBERS:
        raise refused("Its header has other parts than edgekit writes.")
    if [member.executable for member in members] != [member.name.startswith("scripts/") for member in members]:
        raise refused("A mode in its header is not what edgekit writes.")
    info = read_document(members[0].data, HeaderInfo, MEMBERS[0])
    kind = read_document(members[2].data, TypeInfo, MEMBERS[2])
    if info.artifact_provides.artifact_name != artifact_name(release):
        raise refused(f"Its artifact name is {info.artifact_provides.artifact_name}, not {artifact_name(release)}.")
    if info.artifact_depends.device_type != release.hardware:
        raise refused(f"It is for the device types {', '.join(info.artifact_depends.device_type)}, its release is not.")
    if kind.artifact_provides != {version_key(release): release.version}:
        raise refused(f"It does not provide {version_key(release)} {release.version}, and nothing else.")
    if kind.clears_artifact_provides != (f"{MODULE}.{release.name}.*",):
        raise refused("It takes away what other artifacts provide.")

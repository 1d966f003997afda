"""What release.json says: one release of a model, whatever envelope it travels in."""

from typing import Annotated, Literal

import msgspec

from edgekit.agent.release import HARDWARE_PATTERN, PATH_PATTERN, ROOT_PATTERN
from edgekit.agent.versions import PATTERN
from edgekit.documents import Document
from edgekit.entries import FileEntry, Sha256
from edgekit.project import ModelName
from edgekit.target import Name as TargetName

Format = Literal["tar", "deb", "swupdate", "rauc", "mender", "mcu"]
SemVer = Annotated[str, msgspec.Meta(pattern=PATTERN)]
"""Semantic Versioning 2.0.0 without build metadata, which has no order. See ``edgekit/agent/versions.py``."""
Hardware = Annotated[str, msgspec.Meta(pattern=HARDWARE_PATTERN)]
"""What a device calls itself: SWUpdate's ``board:revision``, RAUC's ``compatible``, Mender's device type."""
ReleasePath = Annotated[str, msgspec.Meta(pattern=PATH_PATTERN)]
"""No absolute path, no ``..``, nothing hidden, six levels at most."""
DevicePath = Annotated[str, msgspec.Meta(pattern=ROOT_PATTERN)]

Command = Annotated[str, msgspec.Meta(pattern=r"^[^\x00]*$(?!\n)", max_length=10_000)]
"""For a shell: Linux takes no NUL in an argument, and at most 128 KiB."""


class Installation(Document, frozen=True, kw_only=True):
    """How a device installs the release; ``edgekit/agent/install.py`` reads it."""

    root: DevicePath = "/var/lib/edgekit"
    """edgekit's folder on the device: ROOT/models/NAME/current is the active version."""
    on_activate: Command | None = None
    """As in ``[deploy]`` of edgekit.toml."""
    health_check: Command | None = None
    health_timeout_s: Annotated[float, msgspec.Meta(gt=0, le=3600)] = 30.0
    keep_versions: Annotated[int, msgspec.Meta(ge=2, le=100)] = 3


class Release(Document, frozen=True, kw_only=True):
    """``release.json``: its sha256 names the whole tree, because it holds the sha256 of every other file."""

    schema_version: Literal[1]
    name: ModelName
    """Of the model on the device."""
    version: SemVer
    target: TargetName
    """The target profile it was built for."""
    hardware: Annotated[tuple[Hardware, ...], msgspec.Meta(min_length=1, max_length=64)]
    """Devices that may install it; at least one."""
    artifact: Sha256
    """Digest of the artifact: sha256 of artifact/manifest.json."""
    installation: Installation
    files: dict[ReleasePath, FileEntry]
    """Every file of the tree but release.json and its signature."""

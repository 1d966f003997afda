"""The values between the steps of a bundle, and what an envelope is."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Protocol

from edgekit.agent import release
from edgekit.bundle.entries import Release
from edgekit.keys.types import Purpose, Trust

RELEASE = release.RELEASE
SIGNATURE = release.SIGNATURE
"""DSSE envelope around an in-toto statement: its subjects are release.json and the model, its predicate is SLSA's."""
ARTIFACT = "artifact"
"""Folder of the tree: the artifact as `edgekit build` wrote it."""
AGENT = "agent/edgekit.pyz"
INSTALL = "install.sh"
"""POSIX shell; finds a Python with a runtime and calls the agent. Every envelope's script is a call of it."""
REQUIREMENTS = "requirements.txt"
SBOM = "sbom.cdx.json"
MAX_BUNDLE_BYTES = 2 * 2**30
"""Of one file; bundles are read whole."""
MAX_FILES = release.MAX_FILES


@dataclass(frozen=True, kw_only=True)
class Tree:
    """A sealed release: every file as bytes, release.json and its signature included."""

    release: Release
    files: Mapping[str, bytes]


@dataclass(frozen=True, kw_only=True)
class CreateRequest:
    """What an envelope is made from."""

    tree: Tree
    payload: bytes
    """The tree as a canonical tar (``bundle/tar.py``): the same bytes in every envelope that carries it."""
    keys: Path
    """As `edgekit key new` wrote it, private keys included."""
    settings: Mapping[str, str]
    """``--setting NAME=VALUE``; the envelope's ``SETTINGS`` names and describes them."""
    scratch: Path
    """An empty folder, removed afterwards."""
    now: datetime
    """Aware; decides whether certificates are valid, and goes into nothing that is written."""


@dataclass(frozen=True, kw_only=True)
class Opened:
    """What an envelope holds, after every byte of it was accounted for."""

    payload: bytes
    version: str | None
    """The version that the envelope itself states, mapped back to ours; None where it states none."""
    hardware: tuple[str, ...] | None
    """The devices that the envelope itself names; None where it names none."""
    signed_by: tuple[Purpose, ...] = ()
    """The keys whose signatures over the envelope were checked."""


@dataclass(frozen=True, kw_only=True)
class ToolCheck:
    """What the envelope's own tool said."""

    tool: str
    version: str | None
    checked: str
    """What it looked at, as a phrase: ``signature and every sha256``."""


@dataclass(frozen=True, kw_only=True)
class DeviceFiles:
    """What a device needs once, before it can install bundles of this format."""

    files: Mapping[str, bytes] = field(default_factory=dict)
    """Absolute path on the device without the leading ``/`` -> contents."""
    executable: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    """What to do with them, a sentence each."""


class Envelope(Protocol):
    """One bundle format: a module with these names, in the table of ``bundle/envelopes.py``."""

    SUFFIX: str
    """Such as ``.swu``."""
    SETTINGS: Mapping[str, str]
    """Name of a setting -> what it means, with its default."""

    def create(self, request: CreateRequest) -> Path:
        """Make the file in ``request.scratch`` by the ecosystem's own tool; raises BundleError."""

    def open_envelope(self, data: bytes, trust: Trust, now: datetime) -> Opened:
        """Account for every byte; pure.

        Each is covered by the envelope's signature (chain, purpose and expiry checked at ``now``) or canonical.
        Raises IntegrityError with one sentence.
        """

    def check(self, path: Path, trust: Trust, scratch: Path) -> ToolCheck | None:
        """Ask the ecosystem's own tool; None where the format has none.

        Raises IntegrityError when it refuses, BundleError when it is not installed.
        """

    def device_files(self, release: Release, trust: Trust, settings: Mapping[str, str]) -> DeviceFiles:
        """The device's side: configuration with the floor for downgrades and the certificate's purpose, public keys."""

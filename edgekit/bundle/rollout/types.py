"""What the files of a roll-out are made from."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from edgekit.bundle.entries import Format, Release

FILES = Path(__file__).parent / "files"
"""Scripts that go to users as they are."""


@dataclass(frozen=True, kw_only=True)
class RolloutRequest:
    """A verified bundle and what the user says of the fleet."""

    file: str
    """Name of the bundle's file, without its folder."""
    format: Format
    sha256: str
    """Of the whole file, hexadecimal."""
    size: int
    """Of the whole file, bytes."""
    release: Release
    tree: Mapping[str, bytes]
    """The release's files."""
    settings: Mapping[str, str]
    now: datetime
    """Aware."""


class System(Protocol):
    """A fleet's server: a module with these names."""

    FORMATS: tuple[Format, ...]
    """What its devices can install, the best first."""
    SETTINGS: Mapping[str, str]
    """Name of a setting -> what it means, with its default."""
    NEXT: str
    """What to do with the files: a command where there is one, with ``{folder}`` and ``{bundle}``."""

    def files(self, request: RolloutRequest) -> Mapping[str, bytes]:
        """File name -> contents; raises BundleError where a setting is missing or the version has no counterpart."""


def script(name: str) -> bytes:
    """A script of ``files/``, which needs nothing filled in."""
    return (FILES / name).read_bytes()

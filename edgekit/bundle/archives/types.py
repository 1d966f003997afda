"""One file of an archive."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Member:
    """A regular file; nothing else travels in a bundle."""

    name: str
    """Relative path with ``/``, ASCII."""
    data: bytes
    executable: bool = False
    """Mode 0755 instead of 0644."""

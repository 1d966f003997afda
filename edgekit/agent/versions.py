"""Versions of releases: Semantic Versioning 2.0.0 (semver.org) without build metadata, which has no order.

The same rules decide on this machine, when a bundle is made and verified, and on the device, when it is installed.
"""

import re
from typing import NamedTuple, Tuple

NUMBER = "(0|[1-9][0-9]{0,8})"
IDENTIFIER = "(0|[1-9][0-9]{0,8}|(?=[0-9A-Za-z-]{1,32}(\\.|$))[0-9]*[A-Za-z-][0-9A-Za-z-]*)"
"""Of a pre-release: a number without leading zeros, or 32 letters, digits and ``-`` at most."""
PATTERN = "^%s\\.%s\\.%s(-%s(\\.%s){0,7})?$(?!\\n)" % (NUMBER, NUMBER, NUMBER, IDENTIFIER, IDENTIFIER)
"""For Python and for JSON Schema; ``(?!\\n)`` because Python's ``$`` also matches before a last newline."""
_VERSION = re.compile(PATTERN)


class Version(NamedTuple):
    """Ordered as semver.org says in 11: versions compare as these tuples do."""

    core: Tuple[int, int, int]
    """Major, minor, patch."""
    final: bool
    """A pre-release comes before the version it leads to."""
    identifiers: Tuple[Tuple[bool, int, str], ...]
    """Of the pre-release: (whether it is text, number, text); numbers come before text, and more after fewer."""


def parse(text: str) -> Version:
    """The version that ``text`` names; raises ValueError for anything else, build metadata included."""
    if not _VERSION.match(text):
        raise ValueError("%r is no version such as 1.4.0 or 1.4.0-rc.1" % (text,))
    core, _, pre = text.partition("-")
    major, minor, patch = map(int, core.split("."))
    identifiers = tuple(_identifier(part) for part in pre.split(".")) if pre else ()
    return Version((major, minor, patch), not pre, identifiers)


def _identifier(text: str) -> Tuple[bool, int, str]:
    return (False, int(text), "") if text.isdigit() else (True, 0, text)

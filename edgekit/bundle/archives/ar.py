"""The common ar format as dpkg-deb writes it (deb(5)): no long names, owner 0, mode 100644, a fixed time.

Reading accepts that form and nothing else: each header is made again from what it says and compared byte for byte.
"""

import re
from collections.abc import Sequence

from edgekit.bundle.archives.tar import MTIME
from edgekit.bundle.archives.types import Member
from edgekit.bundle.refusal import refused
from edgekit.bundle.types import MAX_BUNDLE_BYTES
from edgekit.errors import BundleError

MAGIC = b"!<arch>\n"
HEADER_BYTES = 60
MAX_MEMBERS = 16
"""A .deb has three and our signature."""
MAX_SIZE = 10**10 - 1
"""Ten decimal digits, deb(5)."""
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,14}\Z")
"""deb(5): 15 characters, because others write a slash after the name; so no path, and no table of long names."""


def write_ar(members: Sequence[Member]) -> bytes:
    """The archive of ``members`` in their order; raises BundleError for a name that this format cannot hold."""
    parts = [MAGIC]
    for member in members:
        parts += (_header(member.name, len(member.data)), member.data, _padding(len(member.data)))
    return b"".join(parts)


def read_ar(data: bytes) -> tuple[Member, ...]:
    """The members of a canonical archive; raises IntegrityError for any other bytes."""
    if len(data) > MAX_BUNDLE_BYTES:
        raise refused(f"The package has more than {MAX_BUNDLE_BYTES:,} bytes.")
    if not data.startswith(MAGIC):
        raise refused("The file does not begin as an ar archive: it is no Debian package.")
    members: dict[str, Member] = {}
    at = len(MAGIC)
    while at < len(data):
        if len(members) == MAX_MEMBERS:
            raise refused(f"The package has more than {MAX_MEMBERS} members.")
        member, at = _read_member(data, at)
        if member.name in members:
            raise refused(f"The package has {member.name} twice.")
        members[member.name] = member
    return tuple(members.values())


def _read_member(data: bytes, at: int) -> tuple[Member, int]:
    """The member whose header is at ``at``, and where the next one starts."""
    header = data[at : at + HEADER_BYTES]
    name, digits = header[:16].rstrip(b" "), header[48:58].rstrip(b" ")
    known = NAME.match(name.decode("ascii", "replace")) and digits.isdigit()
    if not known or header != _header(name.decode("ascii"), int(digits)):
        raise refused("The package has a member that dpkg-deb and edgekit do not write: it was changed or truncated.")
    start = at + HEADER_BYTES
    end = start + int(digits)
    after = end + end % 2
    if after > len(data):
        raise refused(f"The package is truncated: it ends within {name.decode('ascii')}.")
    if data[end:after] != _padding(end - start):
        raise refused(f"The package has a byte behind {name.decode('ascii')} that belongs to no member.")
    return Member(name=name.decode("ascii"), data=data[start:end]), after


def _header(name: str, size: int) -> bytes:
    if not NAME.match(name) or size > MAX_SIZE:
        raise BundleError(
            f"{name!r} with {size:,} bytes cannot be a member of a Debian package.",
            hint=f"A name has at most 15 characters, a member at most {MAX_SIZE:,} bytes.",
        )
    return f"{name:<16}{MTIME:<12}{0:<6}{0:<6}{'100644':<8}{size:<10}`\n".encode("ascii")


def _padding(size: int) -> bytes:
    return b"\n" * (size % 2)

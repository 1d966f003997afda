"""cpio as SWUpdate reads it (SVR4 with checksums, magic 070702), in one canonical form: regular files, numbered inodes.

swugenerator copies mode, owner, link count and device numbers of its temporary files into the headers, and no signature
covers them: they are written again canonically, and reading accepts that form and nothing else, as in ``tar``.
Source: cpio(5), "New CRC Format"; SWUpdate's own manual, "SWUpdate: syntax and tags" and "cpio archive".
"""

import re
from collections.abc import Sequence

from edgekit.bundle.archives.types import Member
from edgekit.bundle.refusal import refused
from edgekit.bundle.types import MAX_BUNDLE_BYTES, MAX_FILES
from edgekit.errors import BundleError, IntegrityError

MAGIC = b"070702"
HEADER_BYTES = 110
ALIGNMENT = 4
BLOCK = 512
TRAILER = "TRAILER!!!"
MAX_NAME_BYTES = 255
"""SWUpdate's own limit of a member's name."""
NAME = re.compile(rb"[A-Za-z0-9_][A-Za-z0-9._-]*", re.ASCII)
"""Members lie side by side: SWUpdate writes each below its temporary folder by this name."""
REGULAR = 0o100000


def write_cpio(members: Sequence[Member]) -> bytes:
    """The archive of ``members`` in their order, padded to whole blocks.

    Raises BundleError for a name that no canonical archive holds.
    """
    parts: list[bytes] = []
    for inode, member in enumerate(members, start=1):
        parts += (_header(member.name, member.data, inode, member.executable), member.data, _align(len(member.data)))
    parts.append(_header(TRAILER, b"", 0, executable=False))
    return b"".join((*parts, bytes(-sum(map(len, parts)) % BLOCK)))


def read_cpio(data: bytes) -> tuple[Member, ...]:
    """The members of a canonical archive; raises IntegrityError for any other bytes, wrong checksums included."""
    if len(data) > MAX_BUNDLE_BYTES:
        raise refused(f"The archive has more than {MAX_BUNDLE_BYTES:,} bytes.")
    members: dict[str, Member] = {}
    at = 0
    while (found := _read_member(data, at, len(members) + 1)) is not None:
        member, at = found
        if member.name in members:
            raise refused(f"The archive has {member.name} twice.")
        if len(members) == MAX_FILES:
            raise refused(f"The archive has more than {MAX_FILES} files.")
        members[member.name] = member
    end = _header(TRAILER, b"", 0, executable=False)
    end += bytes(-(at + len(end)) % BLOCK)
    if data[at:] != end:
        raise refused("The archive does not end as edgekit writes its end: it was cut off, or bytes were added.")
    return tuple(members.values())


def _read_member(data: bytes, at: int, inode: int) -> tuple[Member, int] | None:
    """The member whose header is at ``at``, and where the next one starts; None at the trailer."""
    header = data[at : at + HEADER_BYTES]
    if len(header) < HEADER_BYTES:
        raise refused("The archive is truncated: its end is missing.")
    if not re.fullmatch(rb"070702[0-9A-F]{104}", header):
        raise _no_header()
    mode, size, name_bytes = (int(header[start : start + 8], 16) for start in (14, 54, 94))
    raw = data[at + HEADER_BYTES : at + HEADER_BYTES + min(name_bytes, MAX_NAME_BYTES + 1)]
    if raw == TRAILER.encode() + b"\0":
        return None
    if not NAME.fullmatch(raw[:-1]):
        raise _no_header()
    name, executable = raw[:-1].decode(), mode == REGULAR | 0o755
    start = at + HEADER_BYTES + name_bytes
    start += -start % ALIGNMENT
    body = data[start : start + size]
    if len(body) < size:
        raise refused(f"The archive is truncated: it ends within {name}.")
    end = start + size + -size % ALIGNMENT
    if data[at:start] != _header(name, body, inode, executable):
        raise _no_header(name)
    if data[start + size : end] != _align(size):
        raise refused(f"The archive has bytes behind {name} that belong to no file.")
    return Member(name=name, data=body, executable=executable), end


def _header(name: str, data: bytes, inode: int, executable: bool) -> bytes:
    """Header and name, padded so that the data starts aligned (each member starts aligned itself)."""
    raw = name.encode("ascii", "replace")
    if name != TRAILER and (not NAME.fullmatch(raw) or len(raw) >= MAX_NAME_BYTES):
        raise BundleError(
            f"{name!r} cannot be a file of a .swu.", hint="Use ASCII letters, digits, '.', '_' and '-', no folders."
        )
    mode = 0 if name == TRAILER else REGULAR | (0o755 if executable else 0o644)
    checksum = _checksum(data)
    owner_links_time = (0, 0, 1, 0)
    devices = (0, 0, 0, 0)
    fields = (inode, mode, *owner_links_time, len(data), *devices, len(raw) + 1, checksum)
    head = MAGIC + b"".join(b"%08X" % field for field in fields) + raw + b"\0"
    return head + _align(len(head))


def _checksum(data: bytes) -> int:
    """The sum of all bytes modulo 2**32, which the format calls a CRC."""
    import numpy as np

    return int(np.frombuffer(data, dtype=np.uint8).sum(dtype=np.uint64)) & 0xFFFFFFFF


def _align(size: int) -> bytes:
    return bytes(-size % ALIGNMENT)


def _no_header(name: str | None = None) -> IntegrityError:
    what = "a header" if name is None else f"the header or the checksum of {name[:200]!r}"
    return refused(f"The archive has {what} that edgekit does not write: it was changed, or is no .swu.")

"""POSIX ustar (IEEE Std 1003.1-1988) in one canonical form: regular files, fixed owner, mode and time, two zero blocks.

Reading accepts that form and nothing else: each header is made again from what it says and compared byte for byte, so
that links, devices, folders, sparse files, pax and GNU extensions, other checksums or metadata, bytes in the padding
and bytes behind the end are all refused by one rule. Nothing is unpacked to a disk here.
"""

from collections.abc import Sequence

from edgekit.bundle.archives.types import Member
from edgekit.bundle.refusal import refused
from edgekit.bundle.types import MAX_BUNDLE_BYTES, MAX_FILES
from edgekit.errors import BundleError, IntegrityError

BLOCK = 512
MTIME = 315532800
"""1980-01-01T00:00:00Z: never in the future of a device without a clock battery, and a date that zip knows, too."""
END = bytes(2 * BLOCK)
NAME_BYTES, PREFIX_BYTES = 100, 155


def write_tar(members: Sequence[Member]) -> bytes:
    """The archive of ``members`` in their order; raises BundleError for a path that ustar cannot hold."""
    parts: list[bytes] = []
    for member in members:
        parts += (_header(member.name, len(member.data), member.executable), member.data, _padding(len(member.data)))
    return b"".join((*parts, END))


def read_tar(data: bytes) -> tuple[Member, ...]:
    """The members of a canonical archive; raises IntegrityError for any other bytes."""
    if len(data) > MAX_BUNDLE_BYTES:
        raise refused(f"The archive has more than {MAX_BUNDLE_BYTES:,} bytes.")
    members: dict[str, Member] = {}
    at = 0
    while (header := data[at : at + BLOCK]) != END[:BLOCK]:
        if len(members) == MAX_FILES:
            raise refused(f"The archive has more than {MAX_FILES} files.")
        member, at = _read_member(data, header, at)
        if member.name in members:
            raise refused(f"The archive has {member.name} twice.")
        members[member.name] = member
    if len(data) < at + len(END):
        raise refused("The archive is truncated: its end is missing.")
    if len(data) > at + len(END) or data[at:] != END:
        raise refused("The archive has bytes behind its end.")
    return tuple(members.values())


def _read_member(data: bytes, header: bytes, at: int) -> tuple[Member, int]:
    """The member whose header is at ``at``, and where the next one starts."""
    if len(header) < BLOCK:
        raise refused("The archive is truncated: its end is missing.")
    name, size, executable = _parse(header)
    start, end = at + BLOCK, at + BLOCK + size
    after = end + -size % BLOCK
    if after > len(data):
        raise refused(f"The archive is truncated: it ends within {name}.")
    if data[end:after] != _padding(size):
        raise refused(f"The archive has bytes behind {name} that belong to no file.")
    return Member(name=name, data=data[start:end], executable=executable), after


def _parse(header: bytes) -> tuple[str, int, bool]:
    """Name, bytes and executable of a header that is exactly what ``_header`` makes of them."""
    try:
        tail, head = (_text(header[start : start + room]) for start, room in ((0, NAME_BYTES), (345, PREFIX_BYTES)))
        name = f"{head}/{tail}" if head else tail
        size, executable = int(header[124:135], 8), int(header[100:107], 8) == 0o755  # noqa: PLR2004 - rwxr-xr-x
        canonical = _header(name, size, executable)
    except (ValueError, BundleError) as err:
        raise _no_header() from err
    if header != canonical:
        raise _no_header(name)
    return name, size, executable


def _no_header(name: str | None = None) -> IntegrityError:
    what = "a header" if name is None else f"the header of {name[:200]!r}"
    return refused(f"The archive has {what} that edgekit does not write: it was changed, or is no bundle.")


def _text(field: bytes) -> str:
    return field.rstrip(b"\0").decode("ascii")


def _header(name: str, size: int, executable: bool) -> bytes:
    tail, prefix = _split(name)
    if not 0 <= size < 8**11:
        raise BundleError(
            f"{name} is too large for a bundle.", hint=f"A bundle has at most {MAX_BUNDLE_BYTES:,} bytes."
        )
    fields = (
        tail.ljust(NAME_BYTES, b"\0"),
        b"%07o\0" % (0o755 if executable else 0o644),
        b"%07o\0%07o\0" % (0, 0),  # uid, gid
        b"%011o\0%011o\0" % (size, MTIME),
        b" " * 8,  # the checksum counts itself as blanks
        b"0" + bytes(100),  # a regular file, no link
        b"ustar\00000",
        b"root".ljust(32, b"\0") * 2,
        b"%07o\0%07o\0" % (0, 0),  # device numbers
        prefix.ljust(PREFIX_BYTES, b"\0"),
        bytes(12),
    )
    block = b"".join(fields)
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def _split(name: str) -> tuple[bytes, bytes]:
    """``name`` as the fields name and prefix: unsplit where it fits, else at the last ``/`` that lets both fit."""
    raw = name.encode("ascii", "replace")
    if not raw or b"\0" in raw or not name.isascii():
        raise BundleError(
            f"{name!r} cannot be a path in a bundle.", hint="Use ASCII letters, digits, '.', '_' and '-'."
        )
    if len(raw) <= NAME_BYTES:
        return raw, b""
    at = raw.rfind(b"/", 0, PREFIX_BYTES + 1)
    prefix, tail = raw[: max(at, 0)], raw[at + 1 :]
    if not prefix or not 0 < len(tail) <= NAME_BYTES:
        raise BundleError(
            f"{name} is too long a path for a bundle.",
            hint=f"The last part may have {NAME_BYTES} characters, what is before it {PREFIX_BYTES}.",
        )
    return tail, prefix


def _padding(size: int) -> bytes:
    return bytes(-size % BLOCK)

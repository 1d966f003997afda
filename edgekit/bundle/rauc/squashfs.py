"""The bytes of a SquashFS around two uncompressed files: what ``rauc bundle`` makes of our folder.

Every byte of the image is a function of the manifest and the payload, so nothing here reads a file system: the frame is
written again and compared. SquashFS 4.0: https://www.kernel.org/doc/html/latest/filesystems/squashfs.html and
https://dr-emann.github.io/squashfs/.
"""

import struct

MANIFEST = "manifest.raucm"
MAX_PAYLOAD_BYTES = 2**30
"""Keeps the table of inodes within one block of metadata, which is 8 KiB."""
BLOCK_BYTES = 2**20
PAGE_BYTES = 4096
"""mksquashfs fills the image up to a multiple of it."""
MKSQUASHFS = (
    f"-b {BLOCK_BYTES} -comp gzip -noI -noD -noF -noX -no-fragments -no-sparse -no-duplicates -no-exports -no-xattrs "
    "-all-root -root-mode 755 -processors 1 -no-progress"
)
"""Nothing compressed and no fragments: the payload lies in the image as it is, so that deltas are small."""

_SUPERBLOCK = struct.Struct("<5I6H8Q")
SUPERBLOCK_BYTES = _SUPERBLOCK.size
_FILE = struct.Struct("<4H2I4I")
_FOLDER = struct.Struct("<4H2I2I2HI")
_MAGIC = 0x73717368
_FLAGS = 0x31B
"""Uncompressed inodes, data, fragments and ids; no fragments, not exportable, no extended attributes."""
_NONE = 2**64 - 1
_RAW = 0x8000
"""Of a block of metadata that is not compressed."""
_RAW_BLOCK = 1 << 24
"""Of a block of data that is not compressed."""
_GZIP, _BASIC_FOLDER, _BASIC_FILE = 1, 1, 2


def frame(manifest: bytes, payload_bytes: int, *, name: str) -> tuple[bytes, bytes]:
    """What stands before and after the payload, a file ``name`` of ``payload_bytes`` that follows the manifest.

    ``name`` sorts after ``manifest.raucm``. Modes are 0644 and 0755, the owner is root, all times are 0.
    """
    start = _SUPERBLOCK.size
    end = start + len(manifest) + payload_bytes
    first = _file(1, start, len(manifest))
    second = _file(2, start + len(manifest), payload_bytes)
    entries = ((0, 1, MANIFEST), (len(first), 2, name))
    listing = struct.pack("<3I", len(entries) - 1, 0, 1) + b"".join(_entry(*entry) for entry in entries)
    folder = _FOLDER.pack(_BASIC_FOLDER, 0o755, 0, 0, 0, 3, 0, 2, len(listing) + 3, 0, len(entries) + 2)
    inodes = _metadata(first + second + folder)
    names = _metadata(listing)
    ids = _metadata(struct.pack("<I", 0))
    fragments_at = end + len(inodes) + len(names)
    tables = inodes + names + ids + struct.pack("<Q", fragments_at)
    used = end + len(tables)
    superblock = _SUPERBLOCK.pack(
        _MAGIC, 3, 0, BLOCK_BYTES, 0, _GZIP, BLOCK_BYTES.bit_length() - 1, _FLAGS, 1, 4, 0, len(first + second), used,
        used - 8, _NONE, end, end + len(inodes), fragments_at, _NONE,
    )  # fmt: skip
    return superblock + manifest, tables + bytes(-used % PAGE_BYTES)


def _file(number: int, at: int, size: int) -> bytes:
    blocks = [BLOCK_BYTES] * (size // BLOCK_BYTES) + [size % BLOCK_BYTES] * bool(size % BLOCK_BYTES)
    inode = _FILE.pack(_BASIC_FILE, 0o644, 0, 0, 0, number, at, 2**32 - 1, 0, size)
    return inode + b"".join(struct.pack("<I", _RAW_BLOCK | length) for length in blocks)


def _entry(offset: int, number: int, name: str) -> bytes:
    return struct.pack("<HhHH", offset, number - 1, _BASIC_FILE, len(name) - 1) + name.encode()


def _metadata(data: bytes) -> bytes:
    return struct.pack("<H", _RAW | len(data)) + data

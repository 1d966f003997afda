"""The hash tree of dm-verity over an image: version 1, SHA-256, blocks of 4096 bytes, the salt first, no superblock.

https://docs.kernel.org/admin-guide/device-mapper/verity.html
"""

import hashlib

BLOCK_BYTES = 4096
SALT_BYTES = 32
"""What RAUC makes."""


def hash_tree(image: memoryview, salt: bytes) -> tuple[bytes, bytes]:
    """The tree as it stands behind the image, its uppermost level first, and the root hash (32 bytes).

    ``image`` has a multiple of ``BLOCK_BYTES`` bytes, and more than one block.
    """
    levels: list[bytes] = []
    data = image
    while len(data) > BLOCK_BYTES:
        digests = b"".join(_digest(data[at : at + BLOCK_BYTES], salt) for at in range(0, len(data), BLOCK_BYTES))
        levels.append(digests + bytes(-len(digests) % BLOCK_BYTES))
        data = memoryview(levels[-1])
    return b"".join(reversed(levels)), _digest(data, salt)


def _digest(block: memoryview, salt: bytes) -> bytes:
    return hashlib.sha256(salt + bytes(block)).digest()

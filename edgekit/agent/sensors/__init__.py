"""What the device knows about itself; one file for one physical thing.

Every function takes ``root``, the folder that stands for ``/``, so that tests drive it with a tree of files.
A sensor that is not there is None or empty, never 0.
"""

import errno
import os
import re
from typing import List, Optional

MAX_BYTES = 65536
NUMBER = re.compile(r"^[+-]?[0-9]{1,19}$")
"""What the kernel prints for a number of 64 bits; `int` would also take `1_0` and the digits of other scripts."""


def read_bytes(root: str, path: str) -> bytes:
    """The start of a file; OSError where it cannot be read. A file that has nothing to say does not hold us up."""
    # O_NONBLOCK: a pipe or a device node would otherwise wait for a writer, and a measurement with it.
    descriptor = os.open(os.path.join(root, path), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    data = b""
    try:
        while len(data) < MAX_BYTES:  # procfs gives a page at a time
            chunk = os.read(descriptor, MAX_BYTES - len(data))
            if not chunk:
                break
            data += chunk
    finally:
        os.close(descriptor)
    return data


def read_text(root: str, path: str) -> Optional[str]:
    """Text of a file of sysfs or procfs without trailing zeros and whitespace; None where unreadable."""
    try:
        return read_bytes(root, path).decode("utf-8", "replace").rstrip("\0 \n\t")
    except OSError:
        return None


def read_int(root: str, path: str) -> Optional[int]:
    """A whole number of at most 64 bits from such a file; None where it holds something else."""
    text = (read_text(root, path) or "").strip()
    return int(text) if NUMBER.match(text) else None


def read_scaled(root: str, path: str, unit: float) -> Optional[float]:
    """Such a number times ``unit``, such as 1e-6 for microvolts."""
    value = read_int(root, path)
    return None if value is None else value * unit


def is_forbidden(root: str, path: str) -> bool:
    """Whether a file is there that this user may not read."""
    try:
        read_bytes(root, path)
    except OSError as err:
        return err.errno in (errno.EACCES, errno.EPERM)
    return False


def label(text: str) -> str:
    """A name from the kernel or the firmware, printable and short enough for a table."""
    return "".join(char if char.isprintable() else "?" for char in text.strip())[:64]


def entries(root: str, path: str, prefix: str) -> List[str]:
    """Names in a folder that are ``prefix`` and a number, by number; empty where there is no such folder."""
    try:
        names = os.listdir(os.path.join(root, path))
    except OSError:
        return []
    numbered = [name for name in names if name.startswith(prefix) and name[len(prefix) :].isdigit()]
    return sorted(numbered, key=lambda name: int(name[len(prefix) :]))

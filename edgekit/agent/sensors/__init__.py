"""What the device knows about itself; one file for one physical thing.

Every function takes ``root``, the folder that stands for ``/``, so that tests drive it with a tree of files.
A sensor that is not there is None or empty, never 0.
"""

import os
from typing import List, Optional


def read_text(root: str, path: str) -> Optional[str]:
    """Text of a file of sysfs or procfs without trailing zeros and whitespace; None where unreadable."""
    try:
        with open(os.path.join(root, path), "rb") as stream:
            return stream.read(65536).decode("utf-8", "replace").rstrip("\0 \n\t")
    except OSError:
        return None


def read_int(root: str, path: str) -> Optional[int]:
    """A whole number from such a file; None where it holds something else."""
    text = read_text(root, path)
    try:
        return None if text is None else int(text)
    except ValueError:
        return None


def entries(root: str, path: str, prefix: str) -> List[str]:
    """Names in a folder that are ``prefix`` and a number, by number; empty where there is no such folder."""
    try:
        names = os.listdir(os.path.join(root, path))
    except OSError:
        return []
    numbered = [name for name in names if name.startswith(prefix) and name[len(prefix) :].isdigit()]
    return sorted(numbered, key=lambda name: int(name[len(prefix) :]))

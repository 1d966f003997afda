"""sha256 of files and folders."""

import hashlib
from collections.abc import Sequence
from pathlib import Path


def sha256_file(path: Path) -> str:
    """sha256 of a file's bytes, read in pieces."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sha256_source(path: Path) -> str:
    """sha256 of a model file, or of a folder's relative paths and contents in sorted order."""
    if path.is_file():
        return sha256_file(path)
    total = hashlib.sha256()
    for file in sorted(item for item in path.rglob("*") if item.is_file()):
        total.update(f"{file.relative_to(path).as_posix()}\0{sha256_file(file)}\n".encode())
    return total.hexdigest()


def sha256_files(paths: Sequence[Path]) -> str:
    """sha256 over the names and contents of some files, in the order given."""
    total = hashlib.sha256()
    for path in paths:
        total.update(f"{path.name}\0{sha256_file(path)}\n".encode())
    return total.hexdigest()

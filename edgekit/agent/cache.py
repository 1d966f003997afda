"""ROOT/cache/<sha256>: files a benchmark needs, by content; what is there is not sent again."""

import errno
import hashlib
import os
import re
import shutil
import time
from typing import Any, BinaryIO, Dict, List

from .events import AgentError, Emit
from .host import Host

MAX_FILES = 64
MAX_BYTES = 512 * 1024 * 1024
"""What the cache holds at most beside the files in use; the least recently used go first."""
STALE_S = 24 * 3600
"""A part of a file that is older was left by a process that was killed."""
SPARE_BYTES = 4 * 1024 * 1024
"""What must stay free on the disk of the device."""
CHUNK = 1024 * 1024
SHA256 = re.compile(r"^[0-9a-f]{64}$")


def fetch(root: str, files: List[Dict[str, Any]], stdin: BinaryIO, emit: Emit) -> Dict[str, str]:
    """Make ``files`` (``sha256``, ``bytes``) present; returns sha256 -> path.

    Emits ``need`` with the sha256 of those that are missing or damaged; the host answers with their bytes,
    one after the other, on stdin. Raises AgentError: ``integrity`` when what came is something else,
    ``device`` when the disk is full or read-only. Nothing half-written stays behind.
    """
    folder = os.path.join(os.path.expanduser(root), "cache")
    sizes = {str(file["sha256"]): int(file["bytes"]) for file in files}
    if not all(SHA256.match(digest) and size >= 0 for digest, size in sizes.items()):
        raise AgentError("device", "The request names files that are no sha256.", "This is a defect of edgekit.")
    paths = {digest: os.path.join(folder, digest) for digest in sizes}
    missing = [digest for digest, path in paths.items() if not _is_whole(path, digest, sizes[digest])]
    host = Host(stdin, emit)
    host.emit("need", files=missing)
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        _check_space(folder, sum(sizes[digest] for digest in missing))
        for digest in missing:
            _receive(paths[digest], digest, sizes[digest], host)
        for path in paths.values():
            os.utime(path)
        _prune(folder, set(paths))
    except BrokenPipeError:
        raise
    except OSError as err:
        raise AgentError(
            "device",
            "%s cannot be written on the device: %s." % (folder, err.strerror or err),
            "Free some space there, or choose another `root` in the device's table.",
        ) from err
    return paths


def _is_whole(path: str, digest: str, size: int) -> bool:
    try:
        return os.path.getsize(path) == size and _sha256(path) == digest
    except OSError:
        return False


def _sha256(path: str) -> str:
    total = hashlib.sha256()
    with open(path, "rb") as stream:
        for chunk in iter(lambda: stream.read(CHUNK), b""):
            total.update(chunk)
    return total.hexdigest()


def _check_space(folder: str, size: int) -> None:
    if size and shutil.disk_usage(folder).free < size + SPARE_BYTES:
        raise OSError(errno.ENOSPC, "%s for %d bytes" % (os.strerror(errno.ENOSPC), size))


def _receive(path: str, digest: str, size: int, host: Host) -> None:
    part = "%s.%d.part" % (path, os.getpid())
    total = hashlib.sha256()
    try:
        with open(part, "wb") as stream:
            left = size
            while left:
                chunk = host.read(min(left, CHUNK))
                stream.write(chunk)
                total.update(chunk)
                left -= len(chunk)
            stream.flush()
            os.fsync(stream.fileno())
        if total.hexdigest() != digest:
            raise AgentError(
                "integrity",
                "The device received other bytes than were sent: sha256 %s, expected %s." % (total.hexdigest(), digest),
                "Do it again; if it happens again, check the connection and the memory of the device.",
            )
        os.rename(part, path)
    finally:
        if os.path.exists(part):
            os.unlink(part)


def _prune(folder: str, in_use: "set[str]") -> None:
    others = []
    for name in os.listdir(folder):
        status = os.lstat(os.path.join(folder, name))
        if not SHA256.match(name) and status.st_mtime < time.time() - STALE_S:
            os.unlink(os.path.join(folder, name))
        elif SHA256.match(name) and name not in in_use:
            others.append((status.st_mtime, status.st_size, name))
    kept = 0
    for count, (_, size, name) in enumerate(sorted(others, reverse=True), start=1):
        kept += size
        if count > MAX_FILES or kept > MAX_BYTES:
            os.unlink(os.path.join(folder, name))

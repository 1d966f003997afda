"""From the host's bytes to a version folder: what is missing is asked for, compared, and appears by one rename.

A file that is under way is ROOT/staging/NAME/<digest>/<sha256 of the file>. It survives a lost connection, so
that the next attempt goes on where this one stopped; it does not survive anything else.
"""

import hashlib
import os
import shutil
import stat
from typing import Callable, ContextManager, Dict, List, NamedTuple, Tuple

from .events import AgentError
from .host import Host, HostGone
from .layout import CHUNK, MANIFEST, Entry, Place, fsync, is_intact, read_entries, read_manifest

SPARE_BYTES = 2 * 1024 * 1024
"""What must stay free on the disk of the device."""
ASSEMBLED = "version"
"""Where a version is put together, inside its staging folder; no sha256 is called like this."""

Read = Callable[[int], bytes]


class Source(NamedTuple):
    """Where the bytes of a version come from."""

    open: Callable[[str, int], ContextManager[Read]]
    """(sha256 of a file, offset) -> what reads some of its bytes from there on, at most so many and at least one."""
    resumes: bool
    """Whether what arrived in an earlier attempt is used: bytes on a line are dear, those on a disk are not."""


def find_missing(place: Place, digest: str, files: Dict[str, Entry]) -> List[str]:
    """Paths whose bytes the device does not have in this version: absent or damaged."""
    version = place.version(digest)
    whole = not os.path.islink(version)
    return [path for path in sorted(files) if not (whole and _is_placed(version, path, files[path]))]


def _is_placed(version: str, path: str, entry: Entry) -> bool:
    folders = [os.path.join(version, parent) for parent in _parents(path)]
    return not any(map(os.path.islink, folders)) and is_intact(os.path.join(version, path), entry)


def _parents(path: str) -> List[str]:
    parts = path.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts))]


def find_offsets(place: Place, digest: str, wanted: Dict[str, int]) -> Dict[str, int]:
    """For each sha256 of ``wanted`` (with its size): how many of its bytes arrived in an earlier attempt."""
    stage = os.path.join(place.staging, digest)
    offsets = {}
    for sha, size in wanted.items():
        try:
            status = os.lstat(os.path.join(stage, sha))
            fits = stat.S_ISREG(status.st_mode) and status.st_size <= size and not os.path.islink(stage)
            offsets[sha] = status.st_size if fits else 0
        except OSError:
            offsets[sha] = 0
    return offsets


def fetch(place: Place, digest: str, files: Dict[str, Entry], host: Host, source: Source) -> int:
    """Make the version whole on the device, not yet flushed; returns the payload bytes that were received.

    Emits ``need`` with ``files`` ([{sha256, offset}]) and ``free_bytes``; a host answers with those bytes, one file
    after the other, which are what ``source`` reads then. Raises AgentError: ``integrity`` when what came is something
    else, ``device`` when the host fell silent; OSError as the disk raises it.
    """
    _clean(place, digest)
    missing = find_missing(place, digest, files)
    wanted = {files[path].sha256: files[path].bytes for path in missing}
    offsets = find_offsets(place, digest, wanted) if source.resumes else dict.fromkeys(wanted, 0)
    left = sum(wanted.values()) - sum(offsets.values())
    free = free_bytes(place)
    if missing and free < left + SPARE_BYTES:
        raise AgentError(
            "device",
            "There is not enough space in %s on the device: %d bytes are free, %d are needed and %d must stay free."
            % (place.root, free, left, SPARE_BYTES),
            "Free some space there, deploy with a smaller keep_versions, or set `root` in the device's table.",
        )
    host.emit("need", files=[{"sha256": sha, "offset": offsets[sha]} for sha in sorted(wanted)], free_bytes=free)
    if not missing:
        return 0
    stage = os.path.join(place.staging, digest)
    try:
        _make_folder(stage)
        for sha in sorted(wanted):
            with source.open(sha, offsets[sha]) as read:
                _receive(os.path.join(stage, sha), Entry(sha, wanted[sha]), offsets[sha], read)
        _put(place, digest, {path: files[path] for path in missing})
    except (OSError, AgentError) as err:
        lost = isinstance(err, HostGone) or (isinstance(err, AgentError) and err.kind == "device")
        if not lost:
            shutil.rmtree(stage, ignore_errors=True)
        raise
    shutil.rmtree(stage)
    return left


def free_bytes(place: Place) -> int:
    """Free bytes for this user where edgekit keeps its files (or will)."""
    folder = place.root
    while not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    status = os.statvfs(folder)
    return status.f_bavail * status.f_frsize


def _clean(place: Place, digest: str) -> None:
    """Remove what attempts at other versions left behind, and whatever is not ours."""
    if os.path.islink(place.staging):
        os.unlink(place.staging)
    for name in os.listdir(place.staging) if os.path.isdir(place.staging) else ():
        if name != digest or os.path.islink(os.path.join(place.staging, name)):
            remove(os.path.join(place.staging, name))
    if os.path.lexists(os.path.join(place.staging, digest, ASSEMBLED)):
        remove(os.path.join(place.staging, digest, ASSEMBLED))


def remove(path: str) -> None:
    """Remove a file, a link or a tree; nothing behind a link."""
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    else:
        os.unlink(path)


def _make_folder(path: str) -> None:
    os.makedirs(path, mode=0o700, exist_ok=True)


def _receive(path: str, entry: Entry, offset: int, read: Read) -> None:
    if os.path.lexists(path) and (offset == 0 or os.path.islink(path)):
        remove(path)
    total = hashlib.sha256()
    number = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
    with os.fdopen(number, "r+b", buffering=0) as stream:
        for chunk in iter(lambda: stream.read(CHUNK), b""):
            total.update(chunk)
        while offset < entry.bytes:
            chunk = read(min(entry.bytes - offset, CHUNK))
            _write(number, chunk)
            # the disk begins to write now, so that the flush before the switch has little left to wait for
            os.posix_fadvise(number, offset, len(chunk), os.POSIX_FADV_DONTNEED)
            total.update(chunk)
            offset += len(chunk)
    if total.hexdigest() != entry.sha256:
        raise AgentError(
            "integrity",
            "The device received other bytes than were sent: sha256 %s, expected %s."
            % (total.hexdigest(), entry.sha256),
            "Deploy again; if it happens again, check the connection and the memory of the device.",
        )


def _write(number: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(number, view) :]


def _put(place: Place, digest: str, files: Dict[str, Entry]) -> None:
    """Put the received files where they belong: a new version by one rename, a damaged one file by file."""
    stage, version = os.path.join(place.staging, digest), place.version(digest)
    assembled = os.path.join(stage, ASSEMBLED)
    for path, source, last in _sources(files):
        target = os.path.join(assembled, path)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        if last:
            os.rename(os.path.join(stage, source), target)
        else:
            shutil.copyfile(os.path.join(stage, source), target)
    if os.path.lexists(version) and (os.path.islink(version) or not os.path.isdir(version)):
        os.unlink(version)
    os.makedirs(place.versions, exist_ok=True)
    if not os.path.isdir(version):
        _check_manifest(assembled, digest, files)
        os.rename(assembled, version)
        return
    for path in files:
        _replace(assembled, version, path)


def _sources(files: Dict[str, Entry]) -> List[Tuple[str, str, bool]]:
    """(path, sha256, whether no later path has the same bytes)."""
    last = {entry.sha256: path for path, entry in files.items()}
    return [(path, entry.sha256, last[entry.sha256] == path) for path, entry in files.items()]


def _check_manifest(folder: str, digest: str, files: Dict[str, Entry]) -> None:
    """What the host sent must be what the manifest, whose sha256 names the version, lists."""
    listed = read_entries(read_manifest(folder, digest).get("files"))
    if listed != {path: entry for path, entry in files.items() if path != MANIFEST}:
        raise AgentError(
            "integrity", "The files that were sent are not the ones the manifest lists.", "Build the artifact again."
        )


def _replace(assembled: str, version: str, path: str) -> None:
    for parent in _parents(path):
        folder = os.path.join(version, parent)
        if os.path.lexists(folder) and (os.path.islink(folder) or not os.path.isdir(folder)):
            os.unlink(folder)
        os.makedirs(folder, exist_ok=True)
    target = os.path.join(version, path)
    if os.path.isdir(target) and not os.path.islink(target):
        shutil.rmtree(target)
    os.replace(os.path.join(assembled, path), target)


def flush(place: Place, digest: str) -> None:
    """The version is on the disk when this returns; needed before it becomes active, and not earlier."""
    for folder, _, names in os.walk(place.version(digest)):
        for name in names:
            fsync(os.path.join(folder, name))
        fsync(folder)
    fsync(place.versions)

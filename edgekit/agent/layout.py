"""Where a model and its versions live on the device, and whether a folder still is what its digest says.

ROOT/models/NAME/versions/<sha256 of manifest.json>/   the files of an artifact
ROOT/models/NAME/current -> versions/<sha256>          the active version
ROOT/models/NAME/state.json, lock                      history; held while something changes
ROOT/staging/NAME/<sha256>/                            what has arrived of a version
ROOT/lib/edgekit.pyz                                   this package, for applications
"""

import errno
import hashlib
import json
import os
import re
import stat
from contextlib import contextmanager, suppress
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Pattern, Tuple

from .events import AgentError, Request

MANIFEST = "manifest.json"
MODEL = "model.tflite"
"""Where the manifest names no other file."""
MAX_FILES = 1000
MAX_MANIFEST_BYTES = 4 * 1024 * 1024
CHUNK = 1024 * 1024
NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}\Z")
SHA256 = re.compile(r"^[0-9a-f]{64}\Z")
PATH = re.compile(r"^[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*){0,3}\Z")
"""No absolute path, no ``..``, nothing hidden, four levels at most."""
CAUSES = {
    errno.ENOSPC: ("its disk is full", "Free some space there, or deploy with a smaller keep_versions."),
    errno.EDQUOT: ("the quota is used up", "Free some space there, or deploy with a smaller keep_versions."),
    errno.EROFS: (
        "its file system is read-only",
        "Remount it writable, or choose another root (`root` in the device's table, --root of install.sh).",
    ),
    errno.EACCES: (
        "there is no permission",
        "Give this user the folder, or choose another root (`root` in the device's table, --root of install.sh).",
    ),
    errno.EPERM: (
        "there is no permission",
        "Give this user the folder, or choose another root (`root` in the device's table, --root of install.sh).",
    ),
}


class Entry(NamedTuple):
    """What one file must be."""

    sha256: str
    bytes: int


class Place(NamedTuple):
    """One model on the device."""

    root: str
    """Absolute."""
    name: str

    @property
    def folder(self) -> str:
        return os.path.join(self.root, "models", self.name)

    @property
    def versions(self) -> str:
        return os.path.join(self.folder, "versions")

    @property
    def current(self) -> str:
        return os.path.join(self.folder, "current")

    @property
    def staging(self) -> str:
        return os.path.join(self.root, "staging", self.name)

    def version(self, digest: str) -> str:
        """Folder of a version."""
        return os.path.join(self.versions, digest)


def read_place(request: Request) -> Place:
    """``root`` and ``name`` of a request, checked."""
    root, name = str(request.get("root", "")), str(request.get("name", ""))
    if not os.path.isabs(root) or not NAME.match(name):
        raise AgentError(
            "device",
            "%r in %r cannot be a model on a device." % (name, root),
            "A name has letters, digits, '.', '_' and '-', 63 at most; the root is an absolute path.",
        )
    return Place(root=root, name=name)


def read_entries(files: Any, form: "Pattern[str]" = PATH, most: int = MAX_FILES) -> Dict[str, Entry]:
    """``{path: {"sha256": ..., "bytes": ...}}`` of a request or a manifest; raises AgentError ``integrity``.

    Every path has the ``form``; there is one at least and there are ``most`` at most.
    """
    try:
        entries = {str(path): Entry(str(item["sha256"]), int(item["bytes"])) for path, item in files.items()}
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as err:
        raise _hostile("its list of files cannot be read (%r)" % err) from err
    if not 0 < len(entries) <= most:
        raise _hostile("it lists %d files" % len(entries))
    for path, entry in entries.items():
        if not form.match(path) or not SHA256.match(entry.sha256) or entry.bytes < 0:
            raise _hostile("it lists %r, which is no path inside an artifact with its digest" % path[:200])
    return entries


def _hostile(reason: str) -> AgentError:
    return AgentError(
        "integrity", "This is no artifact that could be deployed: %s." % reason, "Build the artifact again."
    )


def list_versions(place: Place) -> List[str]:
    """Digests on the device, the newest first."""
    if not os.path.isdir(place.versions):
        return []
    found = [name for name in os.listdir(place.versions) if SHA256.match(name)]
    return sorted(found, key=lambda digest: -os.lstat(place.version(digest)).st_mtime)


def read_current(place: Place) -> Optional[str]:
    """Digest of the active version; None where there is none. Raises AgentError when ``current`` is no link."""
    try:
        digest = os.path.basename(os.readlink(place.current))
    except FileNotFoundError:
        return None
    except OSError as err:
        raise AgentError(
            "device",
            "%s is no link to a version: %s." % (place.current, err.strerror),
            "Something else than edgekit put it there; move it away and deploy again.",
        ) from err
    return digest if SHA256.match(digest) and os.path.isdir(place.version(digest)) else None


def point(place: Place, digest: Optional[str]) -> None:
    """Make ``digest`` (or nothing) the active version: one rename, on the disk when this returns."""
    if digest is None:
        if os.path.islink(place.current):
            os.unlink(place.current)
    elif _leads_to(_way_back(place), digest):
        os.replace(_way_back(place), place.current)
    else:
        os.replace(_make_link(place.current + ".new", digest), place.current)
    fsync(place.folder)


def prepare_way_back(place: Place, digest: str) -> None:
    """Have ``point`` need no space on the disk to make ``digest`` the active version."""
    if not _leads_to(_way_back(place), digest):
        _make_link(_way_back(place), digest)


def drop_way_back(place: Place) -> None:
    """What ``prepare_way_back`` made is not needed any more, once a switch is confirmed."""
    with suppress(OSError):  # it is in nobody's way; a disk that became read-only must not undo what is confirmed
        os.unlink(_way_back(place))


def _way_back(place: Place) -> str:
    return place.current + ".back"


def _leads_to(link: str, digest: str) -> bool:
    return os.path.islink(link) and os.readlink(link) == os.path.join("versions", digest)


def _make_link(link: str, digest: str) -> str:
    if os.path.lexists(link):
        os.unlink(link)
    os.symlink(os.path.join("versions", digest), link)
    return link


def is_intact(path: str, entry: Entry) -> bool:
    """Whether ``path`` is a regular file (no link) with these bytes."""
    try:
        status = os.lstat(path)
        return stat.S_ISREG(status.st_mode) and status.st_size == entry.bytes and sha256(path) == entry.sha256
    except OSError:
        return False


def find_damage(folder: str, digest: str) -> List[str]:
    """Files of a version that are missing or changed, the manifest itself first; empty when it is whole."""
    try:
        data = read_manifest(folder, digest)
    except AgentError:
        return [MANIFEST]
    entries = read_entries(data.get("files"))
    return [path for path, entry in sorted(entries.items()) if not is_intact(os.path.join(folder, path), entry)]


def read_manifest(folder: str, digest: Optional[str] = None) -> Dict[str, Any]:
    """``manifest.json`` of a folder; raises AgentError ``integrity`` when it is none or not the one of ``digest``."""
    path = os.path.join(folder, MANIFEST)
    try:
        with open(path, "rb") as stream:
            data = stream.read(MAX_MANIFEST_BYTES + 1)
        manifest = json.loads(data.decode())
    except (OSError, ValueError, RecursionError) as err:
        raise AgentError("integrity", "%s cannot be read: %s." % (path, err), "Deploy the artifact again.") from err
    found = hashlib.sha256(data).hexdigest()
    if not isinstance(manifest, dict) or len(data) > MAX_MANIFEST_BYTES or found != (digest or found):
        raise AgentError("integrity", "%s was changed after it was deployed." % path, "Deploy the artifact again.")
    return manifest


def sha256(path: str) -> str:
    """sha256 of a file, hexadecimal."""
    total = hashlib.sha256()
    with open(path, "rb", buffering=0) as stream:
        for chunk in iter(lambda: stream.read(CHUNK), b""):
            total.update(chunk)
    return total.hexdigest()


def model_name(manifest: Dict[str, Any]) -> str:
    """The file of an artifact that runs; raises AgentError ``integrity`` for a name that is none of its files."""
    name = manifest.get("model", MODEL)
    if "/" in str(name) or name not in read_entries(manifest.get("files")):
        raise _hostile("its model %r is none of its files" % (name,))
    return str(name)


def own_delegate(manifest: Dict[str, Any]) -> Tuple[str, Dict[str, str]]:
    """The delegate that a manifest names, and what it is loaded with."""
    return str(manifest.get("delegate", "xnnpack")), dict(manifest.get("delegate_options") or {})


def write_file(path: str, data: bytes) -> None:
    """Whole or not at all, on the disk when this returns."""
    part = path + ".new"
    if os.path.lexists(part):
        os.unlink(part)
    # in a folder of others it could be a link of theirs; with O_EXCL it is not followed
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644), "wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(part, path)
    fsync(os.path.dirname(path))


def make_folders(path: str) -> None:
    """``os.makedirs``, where it is not there; on the disk when this returns."""
    if not os.path.isdir(path):
        make_folders(os.path.dirname(path))
        os.makedirs(path, exist_ok=True)
        fsync(os.path.dirname(path))


def fsync(path: str) -> None:
    """The bytes of a file, or the names in a folder, are on the disk when this returns."""
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


@contextmanager
def explained(place: Place) -> Iterator[None]:
    """A full, read-only or forbidden disk becomes an AgentError with its cause and the next step."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as err:
        where = err.filename or place.folder
        cause, hint = CAUSES.get(err.errno or 0, (err.strerror or str(err), "Look at the disk of the device."))
        raise AgentError("device", "%s cannot be written on the device: %s." % (where, cause), hint) from err

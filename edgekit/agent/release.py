"""A release on this device's disk: what release.json says, and whether the tree is that and nothing else.

Whoever unpacked the tree checked its signature (SWUpdate, RAUC, Mender, apt); here every byte is compared with
release.json again, because the way from there to here went over a disk and perhaps a lost power supply.
"""

import hashlib
import json
import os
import re
import stat
from itertools import islice
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

from .events import AgentError
from .layout import MANIFEST, NAME, SHA256, Entry, is_intact, read_entries, read_manifest
from .state import Hooks, Named
from .versions import parse

RELEASE = "release.json"
SIGNATURE = "release.dsse.json"
"""Checked where the keys are, before the tree came here; it cannot be listed in what it signs."""
ARTIFACT = "artifact/"
SCHEMA_VERSION = 1
MAX_RELEASE_BYTES = 4 * 1024 * 1024
MAX_FILES = 2000
MAX_DIGITS = 18
HARDWARE_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,62}$(?!\n)"
PATH_PATTERN = r"^[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}(/[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}){0,5}$(?!\n)"
"""No absolute path, no ``..``, nothing hidden, six levels at most."""
ROOT_PATTERN = r"^(/[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}){1,8}$(?!\n)"
"""The host's documents have the same ones; ``versions.PATTERN`` says why they end like this."""
HARDWARE, PATH, ROOT = map(re.compile, (HARDWARE_PATTERN, PATH_PATTERN, ROOT_PATTERN))
DAMAGED = "Copy or unpack the bundle again; where that does not help, make a new one: `edgekit bundle create`."


class Release(NamedTuple):
    """What release.json says."""

    folder: str
    """Absolute path of the unpacked tree."""
    name: str
    """Of the model on the device."""
    named: Named
    target: str
    hardware: Tuple[str, ...]
    digest: str
    """Of the artifact: sha256 of artifact/manifest.json."""
    root: str
    """edgekit's folder on the device, where nothing else is given."""
    hooks: Hooks
    keep_versions: int
    files: Dict[str, Entry]
    """Every file of the tree but release.json and its signature."""

    @property
    def artifact(self) -> Dict[str, Entry]:
        """Files of the artifact, by their paths in it; the manifest included."""
        return {path[len(ARTIFACT) :]: entry for path, entry in self.files.items() if path.startswith(ARTIFACT)}

    def path(self, path: str) -> str:
        """Where a file of the tree is."""
        return os.path.join(self.folder, *path.split("/"))

    @property
    def title(self) -> str:
        """Such as ``camera 1.4.0``."""
        return "%s %s" % (self.name, self.named.version)


def read_release(folder: str) -> Release:
    """release.json of an unpacked tree; raises AgentError ``integrity`` for anything that is none."""
    folder = os.path.abspath(folder)
    path = os.path.join(folder, RELEASE)
    try:
        if not stat.S_ISREG(os.lstat(path).st_mode):
            raise refused("%s is no plain file" % path)
        with open(path, "rb") as stream:
            data = stream.read(MAX_RELEASE_BYTES + 1)
    except OSError as err:
        raise refused("%s cannot be read: %s" % (path, err.strerror)) from err
    if len(data) > MAX_RELEASE_BYTES:
        raise refused("%s has more than %d bytes" % (path, MAX_RELEASE_BYTES))
    try:
        return _parse(folder, json.loads(data.decode(), parse_int=_bounded), hashlib.sha256(data).hexdigest())
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as err:
        raise refused("%s cannot be understood: %s" % (path, _words(err))) from err


def _bounded(text: str) -> int:
    if len(text) > MAX_DIGITS:  # Python up to 3.10 would take minutes for a million digits
        raise ValueError("a number has %d digits" % len(text))
    return int(text)


def _words(err: Exception) -> str:
    return "it has no %s" % err if isinstance(err, KeyError) else str(err)[:200]


def _parse(folder: str, value: Any, sha256: str) -> Release:
    parse(_text(value, "version"))
    installation = value["installation"]
    timeout, keep = installation["health_timeout_s"], installation["keep_versions"]
    root, target = _text(installation, "root"), _text(value, "target")
    hardware = value["hardware"]
    for right, what in (
        (value["schema_version"] == SCHEMA_VERSION, "schema_version"),
        (NAME.match(_text(value, "name")), "name"),
        (target and target.isprintable(), "target"),
        (_is_hardware(hardware), "hardware"),
        (SHA256.match(_text(value, "artifact")), "artifact"),
        (ROOT.match(root), "installation.root"),
        (type(timeout) in (int, float) and 0 < timeout <= 3600, "installation.health_timeout_s"),  # noqa: PLR2004
        (type(keep) is int and 2 <= keep <= 100, "installation.keep_versions"),  # noqa: PLR2004
    ):
        if not right:
            raise ValueError("%s is none" % what)
    return Release(
        folder=folder,
        name=value["name"],
        named=Named(version=value["version"], sha256=sha256),
        target=target,
        hardware=tuple(hardware),
        digest=value["artifact"],
        root=root,
        hooks=Hooks(_command(installation, "on_activate"), _command(installation, "health_check"), float(timeout)),
        keep_versions=keep,
        files=read_entries(value["files"], PATH, MAX_FILES),
    )


def _text(value: Any, key: str) -> str:
    found = value[key]
    if not isinstance(found, str):
        raise TypeError("%s is no text" % key)
    return found


def _is_hardware(value: Any) -> bool:
    named = isinstance(value, list) and all(isinstance(name, str) and HARDWARE.match(name) for name in value)
    return named and len(value) > 0


def _command(value: Any, key: str) -> Optional[str]:
    text = None if value[key] is None else _text(value, key)
    if text is not None and b"\0" in text.encode():  # what cannot be encoded is a ValueError, too
        raise ValueError("installation.%s is no command" % key)
    return text or None


def verify(release: Release) -> None:
    """Compare the tree with release.json; raises AgentError ``integrity`` for a missing, changed or additional file."""
    found = set(_list_files(release.folder)) - {RELEASE, SIGNATURE}
    missing, more = sorted(set(release.files) - found), sorted(found - set(release.files))
    if missing or more:
        told = ["without %s" % path for path in missing] + ["with %s, which it does not list" % path for path in more]
        raise refused(
            "%s came %s" % (release.title, told[0] + (" (and %d more)" % (len(told) - 1) if told[1:] else ""))
        )
    for path, entry in sorted(release.files.items()):
        if not is_intact(release.path(path), entry):
            raise refused("%s was changed after %s was made" % (path, release.title))
    files = release.artifact
    if files.get(MANIFEST, Entry("", 0)).sha256 != release.digest:
        raise refused("its artifact is not the one that %s names" % RELEASE)
    listed = read_entries(read_manifest(release.path("artifact"), release.digest).get("files"))
    if listed != {path: entry for path, entry in files.items() if path != MANIFEST}:
        raise refused("its artifact's files are not the ones its manifest lists")


def _list_files(folder: str) -> List[str]:
    """Paths of all files; raises AgentError ``integrity`` for what is neither a plain file nor a folder."""
    found: List[str] = []
    waiting = [""]
    seen = 0
    while waiting:
        inner = waiting.pop()
        try:
            with os.scandir(os.path.join(folder, inner)) as scan:
                entries = list(islice(scan, 2 * MAX_FILES))
        except OSError as err:
            raise refused("%s cannot be read: %s" % (err.filename, err.strerror)) from err
        seen += len(entries)
        if seen >= 2 * MAX_FILES:
            raise refused("it holds more than %d files" % MAX_FILES)
        for entry in entries:
            path = inner + entry.name
            if entry.is_dir(follow_symlinks=False):
                waiting.append(path + "/")
            elif entry.is_file(follow_symlinks=False):
                found.append(path)
            else:
                raise refused("%s is neither a file nor a folder" % path)
    return found


def refused(reason: str) -> AgentError:
    """This is not the release that was made."""
    return AgentError("integrity", "This is no whole release: %s." % reason, DAMAGED)

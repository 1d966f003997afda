"""A content-addressed cache on disk: what was made from the same bytes by the same code is not made again.

An entry is a folder of files with an index of their sha256; it is checked when it is read, so a damaged entry is
made anew and never used. The cache may be deleted at any time. It never fails a build: what cannot be written is
said in the log and left out.
"""

import hashlib
import logging
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache as once
from pathlib import Path
from typing import Annotated, Any

import msgspec

LOG = logging.getLogger(__name__)
INDEX = "index.json"
DEFAULT_LIMIT_MIB = 2048
Name = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*$(?!\n)")]
"""Of a file in an entry: below it, wherever the cache came from."""


@dataclass(frozen=True, kw_only=True)
class Cache:
    """Where entries are kept."""

    folder: Path
    limit_bytes: int = DEFAULT_LIMIT_MIB * 1024 * 1024
    """Entries that were used longest ago go first when all of them are larger than this."""


def open_cache() -> Cache:
    """The user's cache.

    ``EDGEKIT_CACHE_DIR`` (default: ``edgekit`` below XDG_CACHE_HOME or ~/.cache), at most ``EDGEKIT_CACHE_MIB`` large.
    """
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(os.environ.get("EDGEKIT_CACHE_DIR") or Path(base) / "edgekit")
    limit = os.environ.get("EDGEKIT_CACHE_MIB", "")
    return Cache(folder=folder, limit_bytes=(int(limit) if limit.isdecimal() else DEFAULT_LIMIT_MIB) * 1024 * 1024)


def key_of(*parts: Any) -> str:
    """sha256 over the canonical JSON of ``parts`` and over edgekit's own code: another version makes other bytes."""
    document = msgspec.json.encode((parts, own_code()), order="sorted", enc_hook=str)
    return hashlib.sha256(document).hexdigest()


@once
def own_code() -> str:
    """sha256 over every module of edgekit and its converters, and the pins they bring."""
    total = hashlib.sha256()
    for folder in (Path(__file__).parent, _converters()):
        for file in sorted(item for item in folder.rglob("*") if item.suffix in {".py", ".txt"}):
            total.update(file.relative_to(folder).as_posix().encode() + b"\0" + file.read_bytes())
    return total.hexdigest()


def _converters() -> Path:
    import edgekit_converters

    return Path(str(edgekit_converters.__file__)).parent


def get(cache: Cache, key: str) -> dict[str, bytes] | None:
    """The files of an entry, or None where there is none that is whole."""
    entry = _entry(cache, key)
    try:
        index = msgspec.json.decode((entry / INDEX).read_bytes(), type=dict[Name, str])
        files = {name: (entry / name).read_bytes() for name in index}
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError, ValueError) as err:
        LOG.warning("A cache entry cannot be read and is made anew: %s", err)
        shutil.rmtree(entry, ignore_errors=True)
        return None
    if any(hashlib.sha256(data).hexdigest() != index[name] for name, data in files.items()):
        LOG.warning("A cache entry is damaged and is made anew: %s", entry)
        shutil.rmtree(entry, ignore_errors=True)
        return None
    try:
        os.utime(entry / INDEX)  # used now: the last to be pruned
    except OSError as err:
        LOG.debug("%s", err)
    return files


def put(cache: Cache, key: str, files: Mapping[str, bytes]) -> None:
    """Keep ``files`` (plain relative names) under ``key``, whole or not at all."""
    entry = _entry(cache, key)
    try:
        cache.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryDirectory(prefix=".new-", dir=cache.folder) as temporary:
            staging = Path(temporary) / "entry"
            for name, data in files.items():
                (staging / name).parent.mkdir(parents=True, exist_ok=True)
                (staging / name).write_bytes(data)
            index = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
            (staging / INDEX).write_bytes(msgspec.json.encode(index, order="sorted"))
            entry.parent.mkdir(exist_ok=True)
            shutil.rmtree(entry, ignore_errors=True)
            staging.rename(entry)
        _prune(cache)
    except OSError as err:
        LOG.warning("The cache in %s cannot be written (%s); nothing is kept.", cache.folder, err.strerror or err)


def _entry(cache: Cache, key: str) -> Path:
    return cache.folder / key[:2] / key


def _prune(cache: Cache) -> None:
    entries = []
    for index in cache.folder.glob(f"[0-9a-f][0-9a-f]/*/{INDEX}"):
        size = sum(file.stat().st_size for file in index.parent.rglob("*") if file.is_file())
        entries.append((index.stat().st_mtime, size, index.parent))
    total = sum(size for _, size, _ in entries)
    for _, size, folder in sorted(entries):
        if total <= cache.limit_bytes:
            return
        shutil.rmtree(folder, ignore_errors=True)
        total -= size

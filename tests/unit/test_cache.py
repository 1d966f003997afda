"""The cache on disk: whole entries or none, checked when read, bounded, and never the reason for a failure."""

import hashlib
import os
from pathlib import Path

import pytest

from edgekit.cache import INDEX, Cache, get, key_of, open_cache, put

pytestmark = pytest.mark.unit

FILES = {"model.tflite": b"TFL3", "golden/0-input.bin": bytes(range(256))}


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(folder=tmp_path / "cache")


def entry(cache: Cache, key: str) -> Path:
    return cache.folder / key[:2] / key


def test_what_is_put_is_got(cache: Cache) -> None:
    key = key_of("a", 1)
    assert get(cache, key) is None
    put(cache, key, FILES)
    assert get(cache, key) == FILES
    put(cache, key, {"other": b""})
    assert get(cache, key) == {"other": b""}
    assert not list(cache.folder.glob(".new-*"))


def test_keys_tell_every_part_apart() -> None:
    assert len({key_of("a", 1), key_of("a", 2), key_of("b", 1), key_of("a", None), key_of("a", [1]), key_of("a1")}) == 6
    assert key_of({"x": 1, "y": 2}) == key_of({"y": 2, "x": 1})


@pytest.mark.parametrize("damage", ["flip", "cut", "gone", "index", "link", "outside"])
def test_a_damaged_entry_is_never_used(cache: Cache, caplog: pytest.LogCaptureFixture, damage: str) -> None:
    key = key_of("damaged")
    put(cache, key, FILES)
    file = entry(cache, key) / "model.tflite"
    if damage == "flip":
        file.write_bytes(b"TFL4")
    elif damage == "cut":
        file.write_bytes(b"TFL")
    elif damage == "gone":
        file.unlink()
    elif damage == "index":
        (entry(cache, key) / INDEX).write_bytes(b"{")
    elif damage == "outside":
        (cache.folder / "secret").write_bytes(b"")
        (entry(cache, key) / INDEX).write_text(f'{{"../../secret": "{hashlib.sha256(b"").hexdigest()}"}}')
    else:
        file.unlink()
        file.symlink_to("/etc/hostname")
    assert get(cache, key) is None
    assert damage == "gone" or "made anew" in caplog.text
    put(cache, key, FILES)
    assert get(cache, key) == FILES


def test_a_cache_that_cannot_be_written_is_said_and_no_more(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    cache = Cache(folder=tmp_path / "file" / "cache")
    put(cache, key_of("x"), FILES)
    assert "cannot be written" in caplog.text
    assert get(cache, key_of("x")) is None


def test_the_entries_used_longest_ago_go_first(tmp_path: Path) -> None:
    cache = Cache(folder=tmp_path, limit_bytes=2500)
    keys = [key_of(number) for number in range(3)]
    for age, key in enumerate(keys[:2]):
        put(cache, key, {"data": bytes(1000)})
        os.utime(entry(cache, key) / INDEX, (age, age))
    assert get(cache, keys[0]) is not None  # used: now the youngest
    put(cache, keys[2], {"data": bytes(1000)})
    assert [get(cache, key) is not None for key in keys] == [True, False, True]


def test_where_the_cache_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EDGEKIT_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert open_cache().folder == tmp_path / "edgekit"
    monkeypatch.setenv("EDGEKIT_CACHE_DIR", str(tmp_path / "mine"))
    monkeypatch.setenv("EDGEKIT_CACHE_MIB", "3")
    assert open_cache() == Cache(folder=tmp_path / "mine", limit_bytes=3 * 2**20)

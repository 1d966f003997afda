"""An unpacked release is what release.json says and nothing else, whatever lies there and whatever it says."""

import copy
import hashlib
import json
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgekit.agent.events import AgentError
from edgekit.agent.release import MAX_RELEASE_BYTES, Release, read_release, verify
from edgekit.bundle.entries import Release as Document
from edgekit.documents import read_json
from edgekit.errors import BundleError
from tests.unit.releases import Shelf

pytestmark = pytest.mark.unit


@pytest.fixture
def tree(shelf: Shelf, tmp_path: Path) -> Path:
    return shelf.copy(shelf.release("1.2.0"), tmp_path / "tree")


def write(tree: Path, change: Callable[[Any], None]) -> None:
    value = json.loads((tree / "release.json").read_bytes())
    change(value)
    (tree / "release.json").write_text(json.dumps(value))


def refusal(tree: Path) -> str:
    with pytest.raises(AgentError) as caught:
        verify(read_release(str(tree)))
    assert caught.value.kind == "integrity"
    return caught.value.message


def test_what_the_host_wrote_is_what_the_device_reads(tree: Path) -> None:
    found, document = read_release(str(tree)), read_json(tree / "release.json", Document, BundleError)
    verify(found)
    assert (found.name, found.named.version, found.target) == (document.name, document.version, document.target)
    assert found.named.sha256 == hashlib.sha256((tree / "release.json").read_bytes()).hexdigest()
    assert (found.digest, found.root, found.hardware) == (
        document.artifact,
        document.installation.root,
        document.hardware,
    )
    assert {path: entry.sha256 for path, entry in found.files.items()} == {
        path: entry.sha256 for path, entry in document.files.items()
    }
    assert found.hooks._asdict() == {
        name: getattr(document.installation, name) for name in ("on_activate", "health_check", "health_timeout_s")
    }


def unlisted_file(tree: Path) -> None:
    (tree / "artifact" / "golden" / "more.bin").write_bytes(b"")


def link(tree: Path) -> None:
    data = tree / "sbom.cdx.json"
    data.rename(tree.parent / "elsewhere")
    data.symlink_to(tree.parent / "elsewhere")


def linked_folder(tree: Path) -> None:
    (tree / "artifact").rename(tree.parent / "elsewhere")
    (tree / "artifact").symlink_to(tree.parent / "elsewhere")


def pipe(tree: Path) -> None:
    os.mkfifo(tree / "pipe")


def unix_socket(tree: Path) -> None:
    with socket.socket(socket.AF_UNIX) as bound:
        place = os.open(tree, os.O_DIRECTORY)
        bound.bind(f"/proc/self/fd/{place}/s")
        os.close(place)


def hidden(tree: Path) -> None:
    (tree / ".hidden").write_bytes(b"")


def shorter(tree: Path) -> None:
    os.truncate(tree / "install.sh", 10)


def flipped(tree: Path) -> None:
    data = bytearray((tree / "artifact" / "model.tflite").read_bytes())
    data[100] ^= 1
    (tree / "artifact" / "model.tflite").write_bytes(data)


def gone(tree: Path) -> None:
    (tree / "artifact" / "golden" / "0-input-0.bin").unlink()
    (tree / "requirements.txt").unlink()


def folder_for_a_file(tree: Path) -> None:
    (tree / "install.sh").unlink()
    (tree / "install.sh").mkdir()


def crowd(tree: Path) -> None:
    for number in range(4100):
        (tree / f"{number}").write_bytes(b"")


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (unlisted_file, "demo 1.2.0 came with artifact/golden/more.bin, which it does not list"),
        (hidden, "demo 1.2.0 came with .hidden, which it does not list"),
        (link, "sbom.cdx.json is neither a file nor a folder"),
        (linked_folder, "artifact is neither a file nor a folder"),
        (pipe, "pipe is neither a file nor a folder"),
        (unix_socket, "s is neither a file nor a folder"),
        (shorter, "install.sh was changed after demo 1.2.0 was made"),
        (flipped, "artifact/model.tflite was changed after demo 1.2.0 was made"),
        (gone, "demo 1.2.0 came without artifact/golden/0-input-0.bin (and 1 more)"),
        (folder_for_a_file, "demo 1.2.0 came without install.sh"),
        (crowd, "it holds more than 2000 files"),
    ],
)
def test_a_tree_that_is_not_what_was_made_is_refused(tree: Path, damage: Callable[[Path], None], said: str) -> None:
    damage(tree)
    assert refusal(tree) == f"This is no whole release: {said}."


def test_the_signature_may_lie_beside_and_empty_folders_are_nothing(tree: Path) -> None:
    (tree / "release.dsse.json").unlink()
    (tree / "lost+found").mkdir()
    verify(read_release(str(tree)))


def relist(tree: Path, path: str, data: bytes) -> None:
    """Change a file and its entry: the tree fits release.json, and is no release all the same."""
    (tree / path).write_bytes(data)
    entry = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    write(tree, lambda value: value["files"].__setitem__(path, entry))


def test_another_manifest_than_the_one_it_names_is_refused(tree: Path) -> None:
    relist(tree, "artifact/manifest.json", (tree / "artifact/manifest.json").read_bytes() + b"\n")
    assert "its artifact is not the one that release.json names" in refusal(tree)


def test_more_files_in_the_artifact_than_its_manifest_lists_are_refused(tree: Path) -> None:
    relist(tree, "artifact/more.bin", b"")
    assert "its artifact's files are not the ones its manifest lists" in refusal(tree)


HOSTILE: list[tuple[Callable[[Any], Any], str]] = [
    (lambda v: v.update(schema_version=2), "schema_version is none"),
    (lambda v: v.update(version="1.0"), "'1.0' is no version such as 1.4.0"),
    (lambda v: v.update(version="1.0.0\n"), "is no version such as"),
    (lambda v: v.update(version=1), "version is no text"),
    (lambda v: v.pop("version"), "it has no 'version'"),
    (lambda v: v.update(name="../../etc"), "name is none"),
    (lambda v: v.update(name="demo\n"), "name is none"),
    (lambda v: v.update(target=""), "target is none"),
    (lambda v: v.update(target="rpi4\x1b[2J"), "target is none"),
    (lambda v: v.update(hardware="rpi4"), "hardware is none"),
    (lambda v: v.update(hardware=[]), "hardware is none"),
    (lambda v: v.update(hardware=["a b"]), "hardware is none"),
    (lambda v: v.update(artifact="0" * 63), "artifact is none"),
    (lambda v: v.update(installation=[]), "cannot be understood"),
    (lambda v: v["installation"].update(root="var/lib"), "installation.root is none"),
    (lambda v: v["installation"].update(root="/var/../etc"), "installation.root is none"),
    (lambda v: v["installation"].update(keep_versions=1), "installation.keep_versions is none"),
    (lambda v: v["installation"].update(keep_versions=True), "installation.keep_versions is none"),
    (lambda v: v["installation"].update(health_timeout_s=float("nan")), "installation.health_timeout_s is none"),
    (lambda v: v["installation"].update(health_timeout_s=1e9), "installation.health_timeout_s is none"),
    (lambda v: v["installation"].update(on_activate=["rm"]), "on_activate is no text"),
    (lambda v: v["installation"].update(on_activate="a\0b"), "installation.on_activate is no command"),
    (lambda v: v["installation"].update(health_check="\ud800"), "cannot be understood"),
    (lambda v: v.update(files={}), "it lists 0 files"),
    (lambda v: v.update(files=[]), "its list of files cannot be read"),
    (lambda v: v["files"].update({"../x": v["files"]["install.sh"]}), "it lists '../x'"),
    (lambda v: v["files"].update({"/x": v["files"]["install.sh"]}), "it lists '/x'"),
    (lambda v: v["files"].update({"a/b/c/d/e/f/g": v["files"]["install.sh"]}), "it lists 'a/b/c/d/e/f/g'"),
    (lambda v: v["files"].update({"a" * 101: v["files"]["install.sh"]}), "it lists 'aaaa"),
    (lambda v: v["files"].update({"x": {"sha256": "0" * 64, "bytes": -1}}), "it lists 'x'"),
    (lambda v: v["files"].update({"x": {"sha256": "0" * 64, "bytes": float("inf")}}), "list of files cannot be read"),
    (lambda v: v["files"].update({"x": {"sha256": "0" * 64, "bytes": "1_0" * 9}}), "came without x"),
    (lambda v: v["files"].update({f"x{n}": v["files"]["install.sh"] for n in range(2000)}), "it lists 2015 files"),
]


@pytest.mark.parametrize(("change", "said"), HOSTILE)
def test_a_hostile_release_json_is_refused_with_its_reason(tree: Path, change: Callable[[Any], Any], said: str) -> None:
    write(tree, change)
    assert said in refusal(tree)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "cannot be understood"),
        (b"\xff", "cannot be understood"),
        (b"[]", "cannot be understood"),
        (b"[" * 1_000_000, "cannot be understood"),
        (b'{"version": ' + b"1" * 1_000_000 + b"}", "a number has 1000000 digits"),
        (b" " * (MAX_RELEASE_BYTES + 1), f"has more than {MAX_RELEASE_BYTES} bytes"),
    ],
)
def test_bytes_that_are_no_release_json_are_refused(tree: Path, data: bytes, said: str) -> None:
    (tree / "release.json").write_bytes(data)
    assert said in refusal(tree)


def test_a_release_json_that_is_no_file_is_refused(tree: Path) -> None:
    (tree / "release.json").unlink()
    assert "release.json cannot be read: No such file or directory" in refusal(tree)
    os.mkfifo(tree / "release.json")
    assert "release.json is no plain file" in refusal(tree)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


def spots(value: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) of a document."""
    found = []
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        found += [(value, key), *spots(item)]
    return found


def read_or_refuse(tree: Path) -> Release | None:
    try:
        return read_release(str(tree))
    except AgentError as err:
        if err.kind != "integrity":
            raise
        return None


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_release_json_says_it_is_read_or_refused(tree: Path, shelf: Shelf, data: st.DataObject) -> None:
    value = copy.deepcopy(json.loads((shelf.release("1.2.0") / "release.json").read_bytes()))
    for _ in range(data.draw(st.integers(1, 3))):
        container, key = data.draw(st.sampled_from(spots(value)))
        if data.draw(st.booleans()):
            container[key] = data.draw(json_values)
        elif isinstance(container, dict):
            container[data.draw(st.text(max_size=20))] = container.pop(key)
    (tree / "release.json").write_text(json.dumps(value))
    release = read_or_refuse(tree)
    if release is not None:
        assert all(".." not in path.split("/") and not path.startswith("/") for path in release.files)
        assert release.root.startswith("/")

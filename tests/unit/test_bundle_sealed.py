"""What is signed by the right key and still no release: files that contradict each other, paths that lead elsewhere."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest

from edgekit.artifact import Artifact
from edgekit.bundle.archives.tar import write_tar
from edgekit.bundle.archives.types import Member
from edgekit.bundle.provenance import PAYLOAD_TYPE
from edgekit.bundle.sealed import read_sealed
from edgekit.bundle.tar import canonical_order, tar_of
from edgekit.bundle.types import INSTALL, RELEASE, SIGNATURE, Tree
from edgekit.bundle.verify import Policy, verify_payload
from edgekit.errors import IntegrityError
from edgekit.keys.dsse import sign_dsse, verify_dsse
from edgekit.keys.trust import read_trust
from tests.bundles import NOW, make_keys, make_tree, tiny_artifact

pytestmark = pytest.mark.unit


@dataclass(frozen=True)
class Made:
    """A sealed tree with what it was made from."""

    keys: Path
    artifact: Artifact
    tree: Tree

    @property
    def files(self) -> dict[str, bytes]:
        return dict(self.tree.files)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("sealed")
    keys, artifact = make_keys(folder / "keys"), tiny_artifact(folder / "artifact")
    return Made(keys, artifact, make_tree(artifact, keys))


def payload(files: Mapping[str, bytes], *, executable: str = INSTALL) -> bytes:
    return write_tar(
        [Member(name=name, data=files[name], executable=name == executable) for name in canonical_order(files)]
    )


def resealed(made: Made, changes: Mapping[str, bytes | None], *, release: Mapping[str, Any] | None = None) -> bytes:
    """The payload with files changed (None: left out), listed and signed as its maker would."""
    files: dict[str, bytes] = {name: data for name, data in {**made.files, **changes}.items() if data is not None}
    document = msgspec.json.decode(files[RELEASE])
    document["files"] = {
        name: {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
        for name, data in files.items()
        if name not in {RELEASE, SIGNATURE}
    }
    files[RELEASE] = msgspec.json.encode({**document, **(release or {})})
    return payload(signed(made, files))


def signed(made: Made, files: Mapping[str, bytes], **subjects: str) -> dict[str, bytes]:
    """With a statement about this release.json, and ``subjects`` (name -> sha256) instead of what it said."""
    statement = msgspec.json.decode(verify_dsse(made.files[SIGNATURE], PAYLOAD_TYPE, read_trust(made.keys), NOW))
    digests = {item["name"]: item["digest"]["sha256"] for item in statement["subject"]}
    digests |= {RELEASE: hashlib.sha256(files[RELEASE]).hexdigest(), **subjects}
    statement["subject"] = [{"name": name, "digest": {"sha256": sha256}} for name, sha256 in digests.items()]
    return {**files, SIGNATURE: sign_dsse(msgspec.json.encode(statement), PAYLOAD_TYPE, made.keys)}


def refusal(made: Made, data: bytes) -> str:
    with pytest.raises(IntegrityError) as caught:
        read_sealed(data, read_trust(made.keys), NOW)
    assert caught.value.hint
    assert "\n" not in caught.value.message
    return caught.value.message


def test_the_tree_comes_back_as_it_was(made: Made) -> None:
    assert verify_payload(tar_of(made.tree), read_trust(made.keys), Policy(now=NOW)) == made.tree
    assert read_sealed(resealed(made, {}), read_trust(made.keys), NOW).release == made.tree.release


def test_without_a_release_or_its_signature(made: Made) -> None:
    files = made.files
    del files[SIGNATURE]
    assert refusal(made, payload(files)) == f"It is not signed: it holds no {SIGNATURE}."
    del files[RELEASE]
    assert refusal(made, payload(files)) == f"It holds no {RELEASE}: it is no bundle of edgekit's."


def test_a_signature_that_is_for_another_release(made: Made, tmp_path: Path) -> None:
    other = make_tree(made.artifact, made.keys, version="2.0.0")
    files = {**made.files, SIGNATURE: other.files[SIGNATURE]}
    assert refusal(made, payload(files)) == f"{RELEASE} is not the one that was signed."


def test_a_file_that_was_added_changed_or_removed(made: Made) -> None:
    added = payload({**made.files, "extra": b""})
    assert refusal(made, added) == f"extra is in it and not in {RELEASE}: it was added."
    changed = payload({**made.files, "requirements.txt": b"evil\n"})
    assert "requirements.txt is not the file that was signed" in refusal(made, changed)
    removed = payload({name: data for name, data in made.files.items() if name != "sbom.cdx.json"})
    assert "sbom.cdx.json is missing" in refusal(made, removed)


def test_members_in_another_order(made: Made) -> None:
    members = [Member(name=name, data=data, executable=name == INSTALL) for name, data in made.files.items()]
    assert "another order" in refusal(made, write_tar(members[::-1]))


def test_another_mode(made: Made) -> None:
    assert "mode" in refusal(made, payload(made.files, executable="agent/edgekit.pyz"))


@pytest.mark.parametrize(
    "name",
    [
        "../evil",
        "/etc/passwd",
        "artifact/../../evil",
        ".hidden",
        "a//b",
        "a/",
        "artifact/.",
        "a\n",
        "a b",
        "C:x",
        "a\\b",
    ],
)
def test_a_path_that_leads_elsewhere(made: Made, name: str) -> None:
    assert refusal(made, resealed(made, {name: b""})) == f"{name!r} is no path that a release may have."


@pytest.mark.parametrize(
    "name", ["agent/edgekit.pyz", "install.sh", "requirements.txt", "sbom.cdx.json", "artifact/manifest.json"]
)
def test_a_release_without_a_part_of_it(made: Made, name: str) -> None:
    assert f"It holds no {name}, which every release has." == refusal(made, resealed(made, {name: None}))


def test_a_model_that_is_not_the_manifests(made: Made) -> None:
    model = f"artifact/{made.artifact.manifest.model}"
    assert refusal(made, resealed(made, {model: b"other"})) == f"{model} is not what artifact/manifest.json says of it."
    assert "artifact/more is not what" in refusal(made, resealed(made, {"artifact/more": b"other"}))
    golden = next(name for name in made.files if name.startswith("artifact/golden/0-input"))
    assert f"{golden} is not what" in refusal(made, resealed(made, {golden: None}))


def test_a_manifest_that_is_not_the_releases(made: Made) -> None:
    manifest = msgspec.json.decode(made.files["artifact/manifest.json"])

    def changed(**fields: Any) -> tuple[bytes, dict[str, Any]]:
        data = msgspec.json.encode({**manifest, **fields})
        return data, {"artifact": hashlib.sha256(data).hexdigest()}

    data, named = changed(target="rpi5")
    assert "names another artifact" in refusal(made, resealed(made, {"artifact/manifest.json": data}))
    message = refusal(made, resealed(made, {"artifact/manifest.json": data}, release=named))
    assert message == "release.json says it is for rpi4, and its model was built for rpi5."
    data, named = changed(more=1)
    message = refusal(made, resealed(made, {"artifact/manifest.json": data}, release=named))
    assert message.startswith("artifact/manifest.json: ")
    assert "unknown field" in message
    data, named = changed(model="other.tflite")
    message = refusal(made, resealed(made, {"artifact/manifest.json": data}, release=named))
    assert "does not list its own model" in message


def test_provenance_of_another_model(made: Made) -> None:
    files = signed(made, made.files, **{"artifact/model.tflite": "0" * 64})
    assert "provenance is about another model" in refusal(made, payload(files))


@pytest.mark.parametrize(
    "change",
    [{"version": "1"}, {"version": "1.0.0+b"}, {"name": "../x"}, {"hardware": []}, {"hardware": ["a b"]}, {"more": 1},
     {"schema_version": 2}, {"artifact": "0"}, {"installation": {"root": "/.."}},
     {"installation": {"root": "relative"}}],
    ids=str,
)  # fmt: skip
def test_a_release_that_is_none(made: Made, change: dict[str, Any]) -> None:
    assert refusal(made, resealed(made, {}, release=change)).startswith(f"{RELEASE}: ")


@pytest.mark.parametrize("data", [b"", b"[]", b"\xff", b"[" * 100_000, b'{"a":' * 100_000, b" " * 5_000_000], ids=len)
def test_a_release_that_is_no_document(made: Made, data: bytes) -> None:
    assert refusal(made, payload(signed(made, {**made.files, RELEASE: data}))).startswith(RELEASE)

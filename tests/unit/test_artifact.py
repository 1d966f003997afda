"""The artifact: written whole or not at all; whatever was changed afterwards is refused with exit code 8."""

import os
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgekit.agent.events import AgentError
from edgekit.agent.layout import model_name, read_manifest
from edgekit.artifact import GOLDEN, MANIFEST, MODEL, Artifact, read_artifact, write_artifact
from edgekit.digests import sha256_source
from edgekit.entries import AuditEntry, Manifest, Source
from edgekit.errors import ArtifactError, EdgekitError, IntegrityError
from edgekit_converters.types import Scheme

pytestmark = pytest.mark.unit
FILES = {MODEL: b"TFL3 not really", GOLDEN: b"{}", "golden/0-input-0.bin": bytes(range(16))}


def manifest(name: str = "demo") -> Manifest:
    return Manifest(
        schema_version=1,
        name=name,
        target="rpi4",
        precision="int8",
        io="int8",
        delegate="xnnpack",
        files={},
        source=Source(name="m.h5", format="keras-h5", sha256="0" * 64, route="frozen-concrete-function"),
        tools={"edgekit": "0"},
        inputs=(),
        outputs=(),
        scheme=Scheme(precision="int8", io="int8"),
        audit=AuditEntry(ops={}, custom_ops={}, tensor_dtypes={}, weights="none", macs=None, model_bytes=1),
    )


@pytest.fixture
def artifact(tmp_path: Path) -> Artifact:
    return write_artifact(tmp_path / "build" / "demo", FILES, manifest())


def test_what_was_written_is_read_back_and_the_same_inputs_give_the_same_digest(
    tmp_path: Path, artifact: Artifact
) -> None:
    assert read_artifact(artifact.path).digest == artifact.digest
    again = write_artifact(tmp_path / "elsewhere", FILES, manifest())
    assert again.digest == artifact.digest
    assert (again.path / MANIFEST).read_bytes() == (artifact.path / MANIFEST).read_bytes()
    assert set(artifact.files) == {*FILES, MANIFEST}
    assert [path.name for path in artifact.path.parent.iterdir()] == ["demo"], "nothing half-written stays"


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_any_flipped_byte_is_refused(artifact: Artifact, data: st.DataObject) -> None:
    path = artifact.path / data.draw(st.sampled_from(sorted(artifact.files)))
    original = path.read_bytes()
    position = data.draw(st.integers(0, len(original) - 1))
    changed = bytearray(original)
    changed[position] ^= data.draw(st.integers(1, 255))
    path.write_bytes(changed)
    try:
        try:
            found = read_artifact(artifact.path)
        except EdgekitError as err:
            assert err.exit_code in {1, 8}  # noqa: PT017 - the manifest itself may no longer be one
        else:
            assert found.digest != artifact.digest, "a changed manifest is another artifact"
            assert path.name == MANIFEST
    finally:
        path.write_bytes(original)


@pytest.mark.parametrize("change", ["add", "remove", "truncate", "link", "nested"])
def test_a_changed_folder_is_refused_with_exit_code_8(artifact: Artifact, change: str) -> None:
    model = artifact.path / MODEL
    if change == "add":
        (artifact.path / "extra").write_bytes(b"")
    elif change == "nested":
        (artifact.path / "golden" / "deep").mkdir()
        (artifact.path / "golden" / "deep" / "x").write_bytes(b"")
    elif change == "remove":
        model.unlink()
    elif change == "truncate":
        model.write_bytes(model.read_bytes()[:-1])
    else:
        shutil.copy(model, artifact.path.parent / "same")
        model.unlink()
        model.symlink_to(artifact.path.parent / "same")
    with pytest.raises(IntegrityError) as caught:
        read_artifact(artifact.path)
    assert caught.value.exit_code == 8
    assert caught.value.hint


@pytest.mark.parametrize("name", ["../evil", "/etc/passwd", "a/../../b", "a//b", "golden/.hidden/../x", "a\x00b"])
def test_a_manifest_that_points_outside_is_refused(artifact: Artifact, name: str) -> None:
    import json

    path = artifact.path / MANIFEST
    document = json.loads(path.read_text())
    document["files"][name] = document["files"][MODEL]
    path.write_text(json.dumps(document))
    with pytest.raises(IntegrityError):
        read_artifact(artifact.path)


@pytest.mark.parametrize("key", ["model", "reference"])
@pytest.mark.parametrize("name", ["../evil", "/etc/passwd", "golden/golden.json", "missing.tflite", ""])
def test_a_model_that_is_no_file_of_the_top_folder_is_refused(artifact: Artifact, key: str, name: str) -> None:
    import json

    path = artifact.path / MANIFEST
    path.write_text(json.dumps({**json.loads(path.read_text()), key: name}))
    with pytest.raises(IntegrityError):
        read_artifact(artifact.path)
    with pytest.raises(AgentError) as caught:
        model_name({**read_manifest(str(artifact.path)), "model": name})
    assert caught.value.kind == "integrity"


def test_a_folder_that_is_no_artifact_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "me.jpg").write_bytes(b"precious")
    with pytest.raises(ArtifactError, match="is no artifact; it is left as it is"):
        write_artifact(tmp_path / "photos", FILES, manifest())
    assert (tmp_path / "photos" / "me.jpg").read_bytes() == b"precious"


def test_an_artifact_is_replaced_whole(artifact: Artifact) -> None:
    newer = write_artifact(artifact.path, {MODEL: b"other", GOLDEN: b"{}"}, manifest())
    assert newer.digest != artifact.digest
    assert not (artifact.path / "golden" / "0-input-0.bin").exists()


def test_a_full_disk_leaves_the_old_artifact(artifact: Artifact, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_path: Path, _data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(ArtifactError, match="No space left on device"):
        write_artifact(artifact.path, FILES, manifest("other"))
    monkeypatch.undo()
    assert read_artifact(artifact.path).digest == artifact.digest
    assert [path.name for path in artifact.path.parent.iterdir()] == ["demo"]


@pytest.mark.parametrize("failure", [KeyboardInterrupt, OSError])
def test_an_end_between_the_two_renames_leaves_the_old_artifact(
    artifact: Artifact, monkeypatch: pytest.MonkeyPatch, failure: type[BaseException]
) -> None:
    rename = Path.rename

    def interrupted(source: Path, target: Path) -> Path:
        if target == artifact.path and source.name != "artifact":
            raise failure
        return rename(source, target)

    files = {name: (artifact.path / name).read_bytes() for name in artifact.manifest.files}
    monkeypatch.setattr(Path, "rename", interrupted)
    with pytest.raises((KeyboardInterrupt, ArtifactError)):
        write_artifact(artifact.path, files, artifact.manifest)
    assert read_artifact(artifact.path).digest == artifact.digest
    assert [item.name for item in artifact.path.parent.iterdir()] == [artifact.path.name]


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_an_unwritable_place_is_said(tmp_path: Path) -> None:
    (tmp_path / "ro").mkdir(mode=0o555)
    with pytest.raises(ArtifactError, match="cannot be written"):
        write_artifact(tmp_path / "ro" / "a", FILES, manifest())


def test_what_is_no_artifact_is_said(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="does not exist"):
        read_artifact(tmp_path / "nowhere")
    with pytest.raises(ArtifactError, match=r"holds no manifest\.json"):
        read_artifact(tmp_path)


def test_the_digest_of_a_source_folder_sees_names_and_contents(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x").write_bytes(b"1")
    first = sha256_source(tmp_path / "a")
    (tmp_path / "a" / "x").rename(tmp_path / "a" / "y")
    assert sha256_source(tmp_path / "a") != first

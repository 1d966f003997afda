"""From an artifact to a file: what is in the tree, what it says of itself, and what happens when it cannot be made."""

import hashlib
import importlib.util
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from edgekit.artifact import Artifact
from edgekit.bundle import tar
from edgekit.bundle.create import SETTINGS, create_bundle, hook_findings
from edgekit.bundle.provenance import PAYLOAD_TYPE, find_lock, tool_purl
from edgekit.bundle.requirements import requirements_file, runtime_requirements
from edgekit.bundle.types import RELEASE, SIGNATURE, CreateRequest, Tree
from edgekit.bundle.verify import Policy, verify_bundle
from edgekit.entries import CalibrationEntry
from edgekit.errors import BundleError, IntegrityError, KeysError
from edgekit.keys.dsse import verify_dsse
from edgekit.keys.trust import read_trust
from edgekit.lock import LOCK, Lock, LockedBuild
from edgekit.project import Deploy
from edgekit.target import load_target
from tests.bundles import NOW, make_bundle, make_keys, make_tree, tiny_artifact, wanted

pytestmark = pytest.mark.unit
CALIBRATION = CalibrationEntry(sha256="c" * 64, samples=100, calibrator=None)
TOOLS = {"edgekit": "0.1.0", "ai-edge-litert": "2.3.0", "numpy": "2.4.6", "torch": "2.9"}


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_keys(tmp_path_factory.mktemp("keys") / "keys")


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return tiny_artifact(tmp_path_factory.mktemp("artifact") / "demo-rpi4", tools=TOOLS, calibration=CALIBRATION)


@pytest.fixture(scope="module")
def tree(artifact: Artifact, keys: Path) -> Tree:
    return make_tree(artifact, keys, deploy=Deploy(name="camera", health_check="true", keep_versions=5))


def test_the_tree_holds_all_that_a_device_needs(tree: Tree, artifact: Artifact) -> None:
    assert {name for name in tree.files if not name.startswith("artifact/")} == {
        RELEASE, SIGNATURE, "agent/edgekit.pyz", "install.sh", "requirements.txt", "sbom.cdx.json",
    }  # fmt: skip
    for path in artifact.files:
        assert tree.files[f"artifact/{path}"] == (artifact.path / path).read_bytes()
    release = tree.release
    assert (release.name, release.version, release.target, release.hardware) == ("camera", "1.0.0", "rpi4", ("rpi4",))
    assert release.artifact == artifact.digest
    assert (release.installation.health_check, release.installation.keep_versions) == ("true", 5)
    assert json.loads(tree.files[RELEASE])["files"].keys() == set(tree.files) - {RELEASE, SIGNATURE}


def test_the_same_inputs_give_the_same_bytes(tree: Tree, artifact: Artifact, keys: Path, tmp_path: Path) -> None:
    again = make_tree(artifact, keys, deploy=Deploy(name="camera", health_check="true", keep_versions=5))
    assert tar.tar_of(again) == tar.tar_of(tree)
    (tmp_path / "a").mkdir()
    assert str(tmp_path).encode() not in tar.tar_of(make_tree(artifact, keys, directory=tmp_path / "a"))


def test_the_sbom_is_cyclonedx(tree: Tree, artifact: Artifact) -> None:
    document = json.loads(tree.files["sbom.cdx.json"])
    validation = pytest.importorskip("cyclonedx.validation.json")
    from cyclonedx.schema import SchemaVersion

    assert validation.JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(document)) is None
    model = document["metadata"]["component"]
    assert (model["type"], model["name"], model["version"]) == ("machine-learning-model", "camera", "1.0.0")
    assert model["hashes"] == [{"alg": "SHA-256", "content": artifact.manifest.files["model.tflite"].sha256}]
    assert model["licenses"] == [{"license": {"id": "Apache-2.0"}}]
    assert "timestamp" not in document["metadata"]
    parts = {part["bom-ref"]: part for part in document["components"]}
    assert parts["source"]["type"] == "machine-learning-model"
    assert (parts["calibration"]["type"], parts["calibration"]["hashes"][0]["content"]) == ("data", "c" * 64)
    assert parts["agent"]["hashes"][0]["content"] == hashlib.sha256(tree.files["agent/edgekit.pyz"]).hexdigest()
    assert {part["purl"] for part in parts.values() if part["type"] == "library"} == {
        "pkg:pypi/ai-edge-litert@2.3.0", "pkg:pypi/tflite-runtime", "pkg:pypi/numpy",
    }  # fmt: skip
    depends = {item["ref"]: item.get("dependsOn", []) for item in document["dependencies"]}
    assert set(depends["model"]) == set(parts)


@pytest.mark.parametrize(
    ("licenses", "said"),
    [
        ((), None),
        (("MIT", "Apache-2.0"), [{"license": {"id": "Apache-2.0"}}, {"license": {"id": "MIT"}}]),
        (("MIT OR Apache-2.0",), [{"expression": "MIT OR Apache-2.0"}]),
        (("MIT OR Apache-2.0", "CC-BY-4.0"), [{"expression": "(MIT OR Apache-2.0) AND (CC-BY-4.0)"}]),
    ],
)
def test_licences_of_the_model(artifact: Artifact, keys: Path, licenses: tuple[str, ...], said: Any) -> None:
    document = json.loads(make_tree(artifact, keys, licenses=licenses).files["sbom.cdx.json"])
    assert document["metadata"]["component"].get("licenses") == said


def test_the_serial_number_is_of_the_contents(artifact: Artifact, keys: Path) -> None:
    def serial(**changes: object) -> str:
        return str(json.loads(make_tree(artifact, keys, **changes).files["sbom.cdx.json"])["serialNumber"])

    assert serial().startswith("urn:uuid:")
    assert len({serial(), serial(version="2.0.0"), serial(licenses=("MIT",))}) == 3


def test_no_licence_and_no_lock_are_found(artifact: Artifact, keys: Path, tmp_path: Path) -> None:
    created = make_bundle(tmp_path, "tar", keys=keys, artifact=artifact, licenses=())
    assert [finding.name for finding in created.findings] == ["no-license", "no-lock"]
    assert all(finding.fix for finding in created.findings)


def test_hooks_that_no_device_runs_are_found(artifact: Artifact, keys: Path, tmp_path: Path) -> None:
    hooked = Deploy(on_activate="systemctl restart camera", health_check="true")
    (finding,) = hook_findings(wanted(artifact, "mcu", keys, tmp_path / "out", deploy=hooked))
    assert finding.name == "hooks-not-run"
    assert finding.message == "Devices of mcu do not run on_activate and health_check of edgekit.toml."
    assert hook_findings(wanted(artifact, "rauc", keys, tmp_path / "out", deploy=hooked)) == ()
    assert hook_findings(wanted(artifact, "mcu", keys, tmp_path / "out")) == ()


@pytest.mark.parametrize(("text", "hint"), [("apache-2.0", "'Apache-2.0'"), ("our own", "spdx.org")])
def test_a_licence_that_nobody_knows_is_refused(
    artifact: Artifact, keys: Path, tmp_path: Path, text: str, hint: str
) -> None:
    with pytest.raises(BundleError, match=f"'{text}' is no SPDX licence") as caught:
        make_bundle(tmp_path, "tar", keys=keys, artifact=artifact, licenses=(text,))
    assert hint in caught.value.hint


def statement_of(tree: Tree, keys: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(verify_dsse(tree.files[SIGNATURE], PAYLOAD_TYPE, read_trust(keys), NOW))
    return found


def test_the_provenance_is_slsas(tree: Tree, artifact: Artifact, keys: Path) -> None:
    statement = statement_of(tree, keys)
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    assert statement["predicateType"] == "https://slsa.dev/provenance/v1"
    assert {item["name"]: item["digest"]["sha256"] for item in statement["subject"]} == {
        RELEASE: hashlib.sha256(tree.files[RELEASE]).hexdigest(),
        "artifact/model.tflite": artifact.manifest.files["model.tflite"].sha256,
    }
    definition = statement["predicate"]["buildDefinition"]
    assert definition["externalParameters"]["target"] == "rpi4"
    found = {item["name"]: item for item in definition["resolvedDependencies"]}
    assert found["m.tflite"] == {
        "name": "m.tflite", "digest": {"sha256": "0" * 64}, "annotations": {"role": "source"},
    }  # fmt: skip
    assert found["calibration data"]["digest"] == {"sha256": "c" * 64}
    assert found["torch"]["uri"] == "pkg:pypi/torch@2.9"
    builder = statement["predicate"]["runDetails"]["builder"]
    assert builder == {"id": "https://github.com/edgekit/edgekit", "version": {"edgekit": "0.1.0"}}
    assert "metadata" not in statement["predicate"]["runDetails"]


def write_lock(folder: Path, name: str, **changes: Any) -> LockedBuild:
    import tomlkit

    fields: dict[str, Any] = {
        "source": {"m.keras": "a" * 64},
        "target": "b" * 64,
        "settings": {"target": "rpi4"},
        "tools": TOOLS,
    }
    build = LockedBuild(**{**fields, **changes})
    lock = msgspec.to_builtins(Lock(schema_version=1, builds={name: build}))
    lock["builds"][name] = {key: value for key, value in lock["builds"][name].items() if value is not None}
    (folder / LOCK).write_text(tomlkit.dumps(lock))
    return build


def test_the_projects_lock_is_in_the_provenance(artifact: Artifact, keys: Path, tmp_path: Path) -> None:
    build = write_lock(tmp_path, "demo-rpi4")
    locked, findings = find_lock(artifact, tmp_path)
    assert locked is not None
    assert (locked.build, findings) == (build, ())
    created = make_bundle(tmp_path, "tar", keys=keys, artifact=artifact, directory=tmp_path)
    assert created.findings == ()
    from edgekit.bundle.sealed import read_sealed

    tree = read_sealed(created.path.read_bytes(), read_trust(keys), NOW)
    definition = statement_of(tree, keys)["predicate"]["buildDefinition"]
    assert definition["internalParameters"]["lock"]["source"] == {"m.keras": "a" * 64}
    digests = {item["name"]: item.get("digest") for item in definition["resolvedDependencies"]}
    assert digests[LOCK] == {"sha256": hashlib.sha256((tmp_path / LOCK).read_bytes()).hexdigest()}


@pytest.mark.parametrize(
    ("name", "changes", "cause"),
    [("other", {}, "has no build demo-rpi4"), ("demo-rpi4", {"tools": {}}, "has another build of demo-rpi4")],
)
def test_a_lock_of_something_else_is_said(
    artifact: Artifact, tmp_path: Path, name: str, changes: Any, cause: str
) -> None:
    write_lock(tmp_path, name, **changes)
    locked, (finding,) = find_lock(artifact, tmp_path)
    assert locked is None
    assert cause in finding.message


def test_purls_of_tools() -> None:
    assert tool_purl("numpy", "2.4.6") == "pkg:pypi/numpy@2.4.6"
    assert tool_purl("python", "3.11.2") == "pkg:generic/python@3.11.2"


def test_requirements_are_the_tested_ones_and_pip_reads_them() -> None:
    from packaging.requirements import Requirement

    lines = runtime_requirements(load_target("rpi4"), TOOLS)
    environment = {"python_version": "3.11", "platform_machine": "aarch64"}
    fitting = [
        item for line in lines if (item := Requirement(line)).marker is None or item.marker.evaluate(environment)
    ]
    assert [f"{item.name}{item.specifier}" for item in fitting] == ["ai-edge-litert==2.3.0", "numpy>=1.23"]
    text = requirements_file("camera", "/opt/ek", load_target("rpi4"), TOOLS).decode()
    assert "/opt/ek/runtime/current" in text
    assert [line for line in text.splitlines() if not line.startswith("#")] == list(lines)


def test_a_microcontroller_needs_nothing() -> None:
    text = requirements_file("camera", "/opt", load_target("nucleo-h743zi"), {}).decode()
    assert text == "# Nothing: TFLite Micro is linked into the program of the microcontroller, with the model.\n"


@pytest.mark.parametrize(
    ("target", "hint"),
    [("nucleo-h743zi", "--format mcu"), ("rk3588", "model.tflite is the file"), ("android-arm64", "is the file")],
)
def test_what_cannot_install_itself_is_refused(keys: Path, tmp_path: Path, target: str, hint: str) -> None:
    artifact = tiny_artifact(tmp_path / "artifact", target=target)
    with pytest.raises(
        BundleError, match=f"A deb bundle installs and tests itself on the device, and {target}"
    ) as caught:
        make_bundle(tmp_path, "deb", keys=keys, artifact=artifact)
    assert hint in caught.value.hint


def test_settings_that_nobody_knows(artifact: Artifact, keys: Path, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="tar has no setting 'rooot'") as caught:
        make_bundle(tmp_path, "tar", keys=keys, artifact=artifact, settings={"rooot": "/x"})
    assert caught.value.hint == "Did you mean 'root'?"
    with pytest.raises(BundleError, match="no setting 'zzz'") as caught:
        make_bundle(tmp_path, "tar", keys=keys, artifact=artifact, settings={"zzz": ""})
    assert SETTINGS["root"] in caught.value.hint
    with pytest.raises(BundleError, match="root"):
        make_bundle(tmp_path, "tar", keys=keys, artifact=artifact, settings={"root": "/a/../b"})
    created = make_bundle(tmp_path, "tar", keys=keys, artifact=artifact, settings={"root": "/data/edgekit"})
    assert created.verified.release.installation.root == "/data/edgekit"


@pytest.mark.parametrize("version", ["1.0", "v1.0.0", "1.0.0+build", "", "1.0.0\n", "01.0.0"])
def test_a_version_that_is_none(artifact: Artifact, keys: Path, tmp_path: Path, version: str) -> None:
    with pytest.raises(BundleError, match="is no version of a release"):
        make_bundle(tmp_path, "tar", keys=keys, artifact=artifact, version=version)


def test_hardware_that_no_device_can_be_called(artifact: Artifact, keys: Path, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="hardware"):
        make_bundle(tmp_path, "tar", keys=keys, artifact=artifact, hardware=("a b",))


def test_the_output_is_replaced_whole_or_left(
    artifact: Artifact, keys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "new" / "bundle.tar"
    order = wanted(artifact, "tar", keys, output)
    create_bundle(order, now=NOW)
    output.write_bytes(b"old")

    def damaged(request: CreateRequest) -> Path:
        path = request.scratch / "bundle.tar"
        path.write_bytes(request.payload[:-1])
        return path

    with monkeypatch.context() as patch:
        patch.setattr(tar, "create", damaged)
        with pytest.raises(IntegrityError, match="truncated"):
            create_bundle(order, now=NOW)
    assert output.read_bytes() == b"old"
    create_bundle(order, now=NOW)
    assert output.read_bytes() != b"old"
    assert output.stat().st_mode & 0o777 == 0o644
    assert [path.name for path in output.parent.iterdir()] == ["bundle.tar"]


def test_an_envelope_with_another_release_is_not_written(
    artifact: Artifact, keys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tar.tar_of(make_tree(artifact, keys, version="9.0.0"))

    def wrong(request: CreateRequest) -> Path:
        path = request.scratch / "bundle.tar"
        path.write_bytes(other)
        return path

    monkeypatch.setattr(tar, "create", wrong)
    with pytest.raises(BundleError, match="does not hold the release that it was given"):
        create_bundle(wanted(artifact, "tar", keys, tmp_path / "b.tar"), now=NOW)
    assert not (tmp_path / "b.tar").exists()


def test_an_output_that_cannot_be(artifact: Artifact, keys: Path, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="is a folder"):
        create_bundle(wanted(artifact, "tar", keys, tmp_path), now=NOW)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(BundleError, match="cannot be written"):
        create_bundle(wanted(artifact, "tar", keys, tmp_path / "file" / "b.tar"), now=NOW)


def test_a_device_file_stays_and_a_link_stays_a_link(artifact: Artifact, keys: Path, tmp_path: Path) -> None:
    import os

    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(BundleError, match="is no regular file"):
        create_bundle(wanted(artifact, "tar", keys, tmp_path / "fifo"), now=NOW)
    (tmp_path / "link").symlink_to(tmp_path / "there" / "b.tar")
    create_bundle(wanted(artifact, "tar", keys, tmp_path / "link"), now=NOW)
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "there" / "b.tar").is_file()


@pytest.mark.parametrize("ended", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_what_is_interrupted_leaves_nothing(
    artifact: Artifact, keys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ended: BaseException
) -> None:
    def create(request: CreateRequest) -> Path:
        (request.scratch / "half").write_bytes(b"half")
        raise ended

    monkeypatch.setattr(tar, "create", create)
    with pytest.raises((KeyboardInterrupt, BundleError)):
        create_bundle(wanted(artifact, "tar", keys, tmp_path / "b.tar"), now=NOW)
    assert list(tmp_path.iterdir()) == []


def test_keys_that_cannot_sign(artifact: Artifact, keys: Path, tmp_path: Path) -> None:
    with pytest.raises(KeysError, match="signing needs the private release key"):
        create_bundle(wanted(artifact, "tar", keys / "public", tmp_path / "b.tar"), now=NOW)
    with pytest.raises(IntegrityError, match="There is no key"):
        create_bundle(wanted(artifact, "tar", tmp_path, tmp_path / "b.tar"), now=NOW)


def test_a_library_that_is_missing_is_named(
    artifact: Artifact, keys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    order = wanted(artifact, "tar", keys, tmp_path / "b.tar")
    made = create_bundle(order, now=NOW)
    with monkeypatch.context() as patch:
        patch.setattr("edgekit.bundle.libraries.find_spec", lambda name: None if name == "cyclonedx" else find(name))
        verify_bundle(made.path, read_trust(keys), Policy(now=NOW))
        with pytest.raises(BundleError, match="cyclonedx is not installed here"):
            create_bundle(order, now=NOW)
    monkeypatch.setattr("edgekit.bundle.libraries.find_spec", lambda name: None)
    with pytest.raises(BundleError, match="securesystemslib is not installed here") as caught:
        verify_bundle(made.path, read_trust(keys), Policy(now=NOW))
    assert "pip install 'edgekit[bundle]'" in caught.value.hint


def test_too_much_for_a_bundle(artifact: Artifact, keys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgekit.bundle.tree.MAX_BUNDLE_BYTES", 1000)
    with pytest.raises(BundleError, match="The release has 15 files of") as caught:
        make_tree(artifact, keys)
    assert "1,000 bytes" in caught.value.hint

"""``edgekit bundle`` as a user runs it."""

import json
from pathlib import Path

import pytest

from edgekit.artifact import read_artifact
from edgekit.bundle import mender, rauc, swupdate, tar
from edgekit.bundle.deb import envelope as deb
from edgekit.bundle.envelopes import ENVELOPES, detect, load_envelope
from edgekit.bundle.mcu import envelope as mcu
from edgekit.bundle.types import MAX_BUNDLE_BYTES, Envelope, ToolCheck
from edgekit.bundle.verify import Policy, verify_bundle
from edgekit.cli import cli
from edgekit.cli.bundle_create import FORMATS
from edgekit.cli.failures import guarded
from edgekit.errors import IntegrityError, ToolMissingError
from edgekit.keys.trust import read_trust
from tests.bundles import NOW, make_bundle, make_keys, tiny_artifact

pytestmark = pytest.mark.unit
Captured = pytest.CaptureFixture[str]
MODULES: tuple[Envelope, ...] = (deb, mcu, mender, rauc, swupdate, tar)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with an artifact, and keys that are valid now."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    tiny_artifact(tmp_path / "build" / "demo-rpi4")
    (tmp_path / "edgekit.toml").write_text('[deploy]\nname = "camera"\nhealth_check = "test -e /ready"\n')
    assert run("key", "new", "--output", "keys") == 0
    return tmp_path


def run(*arguments: str | Path) -> int:
    return guarded(cli, [str(argument) for argument in arguments])


def create(*more: str, version: str = "1.0.0", output: str = "camera.tar") -> int:
    return run("bundle", "create", "build/demo-rpi4", "--format", "tar", "--keys", "keys", "--version", version,
               "--output", output, *more)  # fmt: skip


def test_create_says_what_it_made_and_checked(project: Path, capsys: Captured) -> None:
    capsys.readouterr()
    assert create("--license", "MIT") == 0
    said = capsys.readouterr()
    assert "camera 1.0.0" in said.out
    assert "release signature, its certificate's chain, purpose and expiry" in said.out
    assert "Wrote camera.tar in" in said.err
    assert "and verified it" in said.err
    assert "no-lock" in said.err
    assert "no-license" not in said.err


def test_the_deploy_table_is_in_the_release(project: Path, capsys: Captured) -> None:
    capsys.readouterr()
    assert create("--setting", "root=/opt/edgekit", "--hardware", "cam:1", "--hardware", "cam:2", "--json") == 0
    created = json.loads(capsys.readouterr().out)
    assert created["schema_version"] == 1
    release = created["verified"]["release"]
    assert release["hardware"] == ["cam:1", "cam:2"]
    assert release["installation"]["health_check"] == "test -e /ready"
    assert release["installation"]["root"] == "/opt/edgekit"
    assert [finding["name"] for finding in created["findings"]] == ["no-license", "no-lock"]


def test_verify_says_what_it_checked_and_no_more(project: Path, capsys: Captured) -> None:
    create()
    capsys.readouterr()
    assert run("bundle", "verify", "camera.tar", "--keys", "keys") == 0
    said = capsys.readouterr()
    assert "Accepted." in said.err
    assert "newer than" not in said.out
    known = ("--device-version", "0.9.0", "--target", "rpi4", "--hardware", "rpi4")
    assert run("bundle", "verify", "camera.tar", "--keys", "keys/public", *known, "--json") == 0
    verified = json.loads(capsys.readouterr().out)
    assert {"newer than 0.9.0", "target rpi4", "hardware rpi4"} <= set(verified["checked"])
    assert verified["tool"] is None
    assert verified["signers"][0]["purpose"] == "release"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--device-version", "1.0.0"), "which the device has already: a replay."),
        (("--device-version", "2.0.0"), "older than the 2.0.0 on the device."),
        (("--target", "rpi5"), "It is for the target rpi4, and the device's is rpi5."),
        (("--hardware", "other"), "It is for rpi4, and the device is other."),
    ],
)
def test_a_refusal_is_exit_8_one_sentence_and_a_next_step(
    project: Path, capsys: Captured, options: tuple[str, ...], message: str
) -> None:
    create()
    capsys.readouterr()
    assert run("bundle", "verify", "camera.tar", "--keys", "keys", *options) == 8
    said = capsys.readouterr()
    assert said.out == ""
    error, following = said.err.strip().splitlines()
    assert error.startswith("error: ")
    assert error.endswith(message)
    assert following.startswith(" next: ")


def test_a_device_version_that_is_none(project: Path, capsys: Captured) -> None:
    create()
    assert run("bundle", "verify", "camera.tar", "--keys", "keys", "--device-version", "one") == 1
    assert "'one' is no version of a release." in capsys.readouterr().err


def test_files_that_are_no_bundle(project: Path, capsys: Captured) -> None:
    (project / "text").write_text("hello\n")
    assert run("bundle", "verify", "text", "--keys", "keys") == 8
    assert "This is no bundle" in capsys.readouterr().err
    assert run("bundle", "verify", "nowhere", "--keys", "keys") == 1
    assert "nowhere does not exist." in capsys.readouterr().err
    assert run("bundle", "verify", "build", "--keys", "keys") == 1
    assert "build is a folder." in capsys.readouterr().err
    with (project / "huge").open("wb") as stream:
        stream.truncate(MAX_BUNDLE_BYTES + 1)
    assert run("bundle", "verify", "huge", "--keys", "keys") == 8
    assert "2,147,483,649 bytes" in capsys.readouterr().err
    (project / "delta").write_bytes(b"\x28\xb5\x2f\xfd" + bytes(100))
    assert run("bundle", "verify", "delta", "--keys", "keys") == 8
    assert "edgekit bundle patch" in capsys.readouterr().err


def test_device_files_lists_what_it_wrote(project: Path, capsys: Captured) -> None:
    create()
    capsys.readouterr()
    assert run("bundle", "device-files", "camera.tar", "--keys", "keys", "--output", "device") == 0
    assert "edgekit-unpack BUNDLE FOLDER && sh FOLDER/install.sh" in capsys.readouterr().err
    (project / "device" / "own").write_text("mine")
    assert run("bundle", "device-files", "camera.tar", "--keys", "keys", "--output", "device") == 1
    assert "is not empty" in capsys.readouterr().err


def test_rollout_says_the_next_command(project: Path, capsys: Captured) -> None:
    create()
    capsys.readouterr()
    assert run("bundle", "rollout", "camera.tar", "--for", "balena", "--keys", "keys", "--output", "my rollout") == 0
    said = capsys.readouterr()
    assert "my rollout/Dockerfile" in said.out.splitlines()
    assert said.err == "camera 1.0.0 for balena. Next:\n  balena push FLEET --source 'my rollout'\n"


def test_settings_have_a_name_and_a_value(project: Path, capsys: Captured) -> None:
    for settings in (("--setting", "root"), ("--setting", "=x"), ("--setting", "a=1", "--setting", "a=2")):
        assert create(*settings) == 2
    assert "is no NAME=VALUE" in capsys.readouterr().err


def test_a_missing_tool_can_be_skipped_and_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = make_keys(tmp_path / "keys")
    made = make_bundle(tmp_path, "tar", keys=keys, artifact=tiny_artifact(tmp_path / "artifact"))

    def missing(*_: object) -> ToolCheck:
        raise ToolMissingError("tool is not on this machine.", hint="Install it.")

    monkeypatch.setattr(tar, "check", missing)
    with pytest.raises(ToolMissingError, match="not on this machine") as caught:
        verify_bundle(made.path, read_trust(keys), Policy(now=NOW))
    assert caught.value.hint.startswith("Install it. Or do without (verify --skip-tool)")
    assert verify_bundle(made.path, read_trust(keys), Policy(now=NOW), with_tool=False).tool is None
    again = make_bundle(tmp_path, "tar", keys=keys, artifact=read_artifact(tmp_path / "artifact"))
    assert again.findings[-1].name == "tool-not-asked"
    assert again.findings[-1].message == "The bundle was verified by edgekit alone: tool is not on this machine."


def test_the_formats_of_the_command_are_those_of_the_table() -> None:
    assert set(ENVELOPES) <= set(FORMATS)
    for name in ENVELOPES:
        module = load_envelope(name)
        assert module.SUFFIX.startswith(".")
        assert all(meaning for meaning in module.SETTINGS.values())
    with pytest.raises(IntegrityError, match="no bundle"):
        detect(b"")

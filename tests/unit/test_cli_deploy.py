"""``edgekit deploy`` and ``edgekit rollback`` as a user runs them."""

import json
import os
from pathlib import Path

import pytest

from edgekit.artifact import Artifact
from edgekit.cli import cli
from edgekit.cli.failures import guarded
from tests.artifacts import make_artifact, with_wrong_golden

pytestmark = pytest.mark.unit
Captured = pytest.CaptureFixture[str]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EDGEKIT_LOCAL_ROOT", str(tmp_path / "device"))
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    return tmp_path / "project"


@pytest.fixture
def artifacts(project: Path, cases: Path) -> list[Artifact]:
    model = (cases / "models" / "tflm" / "hello_world_int8.tflite").read_bytes()
    return [make_artifact(project / "build" / f"v{n}", model, tools={"edgekit": str(n)}) for n in range(2)]


def run(*arguments: str | Path) -> int:
    return guarded(cli, [str(argument) for argument in arguments])


def test_deploy_and_rollback_as_json(project: Path, artifacts: list[Artifact], capsys: Captured) -> None:
    for artifact in artifacts:
        assert run("deploy", artifact.path, "--device", "local", "--json") == 0
        out = json.loads(capsys.readouterr().out)
        assert out["schema_version"] == 1
        assert (out["digest"], out["active"]) == (artifact.digest, True)
        assert out["bytes_sent"] > 0
        assert out["self_test"]["passed"]
    assert run("rollback", "--device", "local", "--json") == 0
    out = json.loads(capsys.readouterr().out)
    assert (out["digest"], out["previous"]) == (artifacts[0].digest, artifacts[1].digest)


def test_a_person_reads_what_happened(project: Path, artifacts: list[Artifact], capsys: Captured) -> None:
    assert run("deploy", artifacts[0].path, "--device", "local", "--name", "porch", "--dry-run") == 0
    said = capsys.readouterr()
    assert "would send" in said.out
    assert "not active" in said.out
    assert run("deploy", artifacts[0].path, "--device", "local", "--name", "porch") == 0
    said = capsys.readouterr()
    assert f"{artifacts[0].digest[:12]} (active)" in said.out
    assert "porch on local" in said.out
    assert "passed: 4 random vectors, largest difference 0 steps (2 allowed); xnnpack" in said.out
    assert "other-target" in said.err
    assert "fix: Build for it: edgekit build --target NAME." in said.err, "this machine has no table of a device"
    assert run("deploy", artifacts[0].path, "--device", "local", "--name", "porch") == 0
    assert "(active, as before)" in capsys.readouterr().out


def test_the_only_artifact_is_found_and_said(project: Path, artifacts: list[Artifact], capsys: Captured) -> None:
    assert run("deploy", "--device", "local") == 1
    assert "There are 2 artifacts in build: build/v0, build/v1." in capsys.readouterr().err
    artifacts[1].path.rename(project / "elsewhere")
    assert run("deploy", "--device", "local", "--json") == 0
    said = capsys.readouterr()
    assert "Taking build/v0, the only artifact." in said.err
    assert json.loads(said.out)["digest"] == artifacts[0].digest
    artifacts[0].path.rename(project / "elsewhere2")
    assert run("deploy", "--device", "local") == 1
    assert "There is no artifact in build." in capsys.readouterr().err


def test_the_hooks_of_the_project_decide(project: Path, artifacts: list[Artifact], capsys: Captured) -> None:
    assert run("deploy", artifacts[0].path, "--device", "local") == 0
    capsys.readouterr()
    (project / "edgekit.toml").write_text('[deploy]\nhealth_check = "echo dark; false"\nhealth_timeout_s = 0.2\n')
    assert run("deploy", artifacts[1].path, "--device", "local", "--json") == 3
    said = capsys.readouterr()
    assert json.loads(said.out)["error"]["details"]["output"] == "dark\n"
    assert f"Version {artifacts[0].digest[:12]}, the one before, is active." in said.err


def test_expected_against_found_is_shown(project: Path, artifacts: list[Artifact], capsys: Captured) -> None:
    wrong = with_wrong_golden(artifacts[0], project / "wrong")
    assert run("deploy", wrong.path, "--device", "local") == 3
    said = capsys.readouterr().err
    assert "expected" in said
    assert "found" in said
    assert "steps (2 allowed)" in said


def test_a_changed_artifact_never_leaves_this_machine(
    project: Path, artifacts: list[Artifact], capsys: Captured
) -> None:
    artifacts[0].model.write_bytes(b"x")
    assert run("deploy", artifacts[0].path, "--device", "local") == 8
    assert "no longer matches the manifest" in capsys.readouterr().err
    assert not Path(os.environ["EDGEKIT_LOCAL_ROOT"]).exists()


def test_rollback_without_models_says_what_to_do(project: Path, capsys: Captured) -> None:
    assert run("rollback", "--device", "local") == 1
    said = capsys.readouterr().err
    assert "There is no model on local" in said
    assert "edgekit deploy" in said


def test_rollback_of_a_model_that_is_not_there(project: Path, artifacts: list[Artifact], capsys: Captured) -> None:
    assert run("deploy", artifacts[0].path, "--device", "local") == 0
    assert run("rollback", "--device", "local", "--name", "porhc") == 1
    assert "There is no model 'porhc' on the device" in capsys.readouterr().err


def test_a_target_edgekit_does_not_reach_is_refused_before_a_connection(
    project: Path, artifacts: list[Artifact], capsys: Captured
) -> None:
    (project / "device_configs").mkdir()
    (project / "device_configs" / "desk.toml").write_text(
        '[device.board]\nhost = "board.invalid"\ntarget = "nucleo-f446re"\n'
    )
    assert run("deploy", artifacts[0].path, "--device", "board") == 1, "not 4: nobody was called"
    said = capsys.readouterr().err
    assert "edgekit cannot deploy to nucleo-f446re, the target of board. edgekit does not flash" in said
    assert "v0/model.tflite is the file" in said

"""edgekit doctor: what is there, what is missing, and how to get it."""

import json
from pathlib import Path

import pytest

from edgekit import doctor
from edgekit.cli import cli
from edgekit.cli.doctor import INSTALLABLE
from edgekit.cli.failures import guarded
from edgekit.doctor import host
from edgekit.errors import ModelError
from edgekit.versions import version_of
from edgekit_converters import environments
from edgekit_converters.environments import TOOLS, inspect_environment
from edgekit_converters.errors import SourceError
from edgekit_converters.interpreters import Maker

pytestmark = pytest.mark.unit


@pytest.fixture(autouse=True)
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No environment yet, and a Python 3.12 to make one with."""
    monkeypatch.setenv("EDGEKIT_ENV_DIR", str(tmp_path / "envs"))
    monkeypatch.setattr(environments, "find_maker", lambda *_: Maker(version=(3, 12), command=("/nowhere/python",)))


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = guarded(cli, ["doctor", *arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_what_can_be_installed_is_what_there_are_tools_for() -> None:
    assert set(INSTALLABLE) == set(TOOLS)


def test_what_is_missing_is_named_with_what_installs_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host, "version_of", lambda name: None if name == "onnx" else version_of(name))
    code, out, _ = run(capsys)
    assert code == 0, "what is missing is optional"
    assert "not installed" in out
    assert 'fix: pip install "edgekit[onnx]"' in out
    assert "missing; Python 3.12 is there to make it with" in out
    assert "fix: edgekit doctor --install onnx" in out


def test_without_a_python_for_it_doctor_says_how_to_get_one(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(*_: object) -> Maker:
        raise SourceError("It needs Python 3.12.", hint="Get one: pip install uv.")

    monkeypatch.setattr(environments, "find_maker", none)
    code, out, _ = run(capsys)
    assert code == 0
    assert "It needs Python 3.12." in out
    assert "fix: Get one: pip install uv." in out
    with pytest.raises(ModelError, match=r"It needs Python 3\.12\."):
        doctor.install("onnx", lambda *_: None)


def test_a_package_outside_its_range_is_broken_and_named_with_the_range(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host, "version_of", lambda name: "1.13.0" if name == "torch" else version_of(name))
    code, out, _ = run(capsys)
    assert code == 1
    assert "1.13.0, and edgekit works with <2.15,>=2.4" in out
    assert 'fix: pip install "torch<2.15,>=2.4"' in out


def test_json_has_every_check(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "--json")
    document = json.loads(out)
    assert (code, document["schema_version"]) == (0, 1)
    checks = {check["name"]: check for check in document["checks"]}
    assert {"python", "architecture", "ai-edge-litert", "torch", "onnxruntime", "onnx2tf"} <= set(checks)
    assert {"machine", "package", "environment", "compiler", "bundle", "sensor", "permission"} <= {
        check["group"] for check in document["checks"]
    }
    assert all(check["fix"] for check in document["checks"] if check["state"] != "ok")


def test_a_broken_environment_fails(capsys: pytest.CaptureFixture[str]) -> None:
    folder = inspect_environment(TOOLS["onnx"]).folder
    folder.mkdir(parents=True)
    (folder / "ready.json").write_text('{"python": "3.12"}')
    code, out, _ = run(capsys)
    assert code == 1
    assert "broken" in out


def test_install_fails_with_the_cause_and_the_next_step(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "--install", "onnx")
    assert (code, out) == (1, "")
    assert "cannot be made in" in err
    assert "EDGEKIT_ENV_DIR" in err


def test_another_machine_is_said_to_be_untested(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    code, out, _ = run(capsys)
    assert code == 1
    assert "riscv64" in out
    assert "fix: Use Linux on x86_64 or aarch64" in out

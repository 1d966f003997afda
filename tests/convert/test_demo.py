"""edgekit init and edgekit demo, as a new user meets them."""

import json
import re
import tomllib
from pathlib import Path

import numpy as np
import pytest

from edgekit.cli import cli
from edgekit.cli.failures import guarded
from edgekit.project import load_project

pytestmark = [pytest.mark.convert, pytest.mark.xdist_group("demo")]


@pytest.mark.slow
def test_the_demo_goes_the_whole_way_and_its_folder_builds_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert guarded(cli, ["demo", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["deployment"]["active"]
    assert found["report"]["latency_ms"]["median"] > 0
    assert found["artifact"]["manifest"]["evaluation"]["model"] > 0.95
    monkeypatch.chdir(tmp_path / "edgekit-demo")
    sample = np.load("evaluation.npz")
    np.save("seven.npy", sample["x"][0])
    assert guarded(cli, ["run", "build/digits-rpi4-int8", "seven.npy"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split()[-1] == str(sample["y"][0]), "the best label stands first"
    assert guarded(cli, ["build", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["digest"] == found["artifact"]["digest"]


@pytest.mark.slow
def test_init_writes_a_project_that_loads(
    cases: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    model = cases / "models" / "keras_h5" / "ic_resnet8.h5"
    assert guarded(cli, ["init", str(model)]) == 0
    assert "input input_1: float32 [?, 32, 32, 3]" in capsys.readouterr().out
    project = load_project(tmp_path)
    assert project.name == "ic_resnet8"
    assert project.input["input_1"].shape == (1, 32, 32, 3)
    text = Path("edgekit.toml").read_text()
    # every commented key is a key: with the comment signs gone it is still a valid project
    lines = [line.removeprefix("# ") for line in text.splitlines()]
    uncommented = "\n".join(line for line in lines if re.match(r"\[[\w.]+\]|\w+ = ", line))
    assert {"model", "input", "build", "calibration", "evaluation", "deploy"} <= set(tomllib.loads(uncommented))
    assert guarded(cli, ["init", str(model)]) == 1
    assert "--force" in capsys.readouterr().err

"""docs/ci.md: the ``run:`` steps of its workflow, taken from the page and run for real on this machine."""

import os
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from edgekit.cli import COMMANDS
from edgekit.history import read_run

PAGE = Path(__file__).parent.parent.parent / "docs" / "ci.md"
PROJECT = 'name = "demo"\n[model]\npath = "model.tflite"\n[build]\nprecision = "float32"\n'
FAST, SLOW = "models/tflm/hello_world_float.tflite", "models/tflite_ref/vww_float.tflite"
"""A microsecond and a fraction of a millisecond: no noise of a shared machine is as large."""
ALWAYS = "${{ !cancelled()"
Job = dict[str, Any]


def workflows() -> list[dict[str, Any]]:
    return [
        yaml.safe_load(block)
        for block in re.findall(r"^```yaml\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    ]


def jobs() -> dict[str, Job]:
    found: dict[str, Job] = workflows()[0]["jobs"]
    return found


def environment(job: Job, matrix: dict[str, str], tmp_path: Path) -> dict[str, str]:
    """As the runner makes it; quick measurements; edgekit of this checkout."""
    given = {
        name: re.sub(r"\$\{\{ matrix\.(\w+) \}\}", lambda found: matrix[found.group(1)], value)
        for name, value in job["env"].items()
    }
    return {
        **os.environ,
        **given,
        "PATH": f"{Path(sys.executable).parent}:{tmp_path / 'bin'}:{os.environ['PATH']}",
        "EDGEKIT_MIN_SECS": "0.05",
        "EDGEKIT_NUM_RUNS": "20",
        "GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md"),
    }


def run(job: Job, folder: Path, variables: dict[str, str]) -> dict[str, subprocess.CompletedProcess[str]]:
    """Every step as GitHub's runner does: after a failure only those that ask for it. Nothing is installed."""
    done: dict[str, subprocess.CompletedProcess[str]] = {}
    for step in job["steps"]:
        failed = any(result.returncode for result in done.values())
        if "run" not in step or step["name"] == "Install" or (failed and not step.get("if", "").startswith(ALWAYS)):
            continue
        command = ["bash", "-e", "-c", step["run"]]
        done[step["name"]] = subprocess.run(
            command, cwd=folder, env=variables, capture_output=True, text=True, check=False, timeout=120
        )
    return done


@pytest.mark.unit
def test_the_workflow_names_commands_and_variables_that_exist() -> None:
    """Anything else in it is GitHub's."""
    matrix = jobs()["measure"]["strategy"]["matrix"]["include"]
    assert [entry["device"] for entry in matrix] == ["garage", "local"]
    commands = re.findall(
        r"^\s*edgekit (\w+)", "\n".join(step.get("run", "") for step in jobs()["measure"]["steps"]), re.MULTILINE
    )
    assert set(commands) <= set(COMMANDS)
    assert workflows()[1]["latency"]["script"]


@pytest.mark.slow
def test_the_steps_pass_a_model_and_refuse_a_slower_one(cases: Path, tmp_path: Path) -> None:
    local = next(entry for entry in jobs()["measure"]["strategy"]["matrix"]["include"] if entry["device"] == "local")
    variables = environment(jobs()["measure"], local, tmp_path)
    outcomes = {}
    for name, released, model in (("faster", SLOW, FAST), ("slower", FAST, SLOW)):
        folder = tmp_path / name
        (folder / "released").mkdir(parents=True)
        (folder / "edgekit.toml").write_text(PROJECT)
        shutil.copy(cases / model, folder / "model.tflite")
        shutil.copy(cases / released, folder / "released" / "x86-64.tflite")
        outcomes[name] = {step: done.returncode for step, done in run(jobs()["measure"], folder, variables).items()}
        assert {read_run(path).bench is None for path in (folder / "runs").glob("*.json")} >= {False}
        assert "| demo | local |" in (folder / "report.md").read_text()
    assert outcomes == {
        "faster": {"Build": 0, "Measure": 0, "Report": 0},
        "slower": {"Build": 0, "Measure": 3, "Report": 0},
    }
    assert (tmp_path / "summary.md").read_text().count("| demo | local |") == 2


@pytest.mark.slow
def test_the_lines_about_a_kept_run(cases: Path, tmp_path: Path) -> None:
    """The three commands below "A kept run", with ``local`` for the board and a slower model before the last."""
    block = re.search(r"^  ```\n(.*?)^  ```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    assert block is not None
    measure, export, gate = (line.strip().replace("garage ", "local ") for line in block.group(1).splitlines())
    variables = environment({"env": {}}, {}, tmp_path)
    (tmp_path / "edgekit.toml").write_text(PROJECT)

    def call(command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "-e", "-c", command], cwd=tmp_path, env=variables, capture_output=True, text=True, check=False
        )

    shutil.copy(cases / FAST, tmp_path / "model.tflite")
    for command in ("edgekit build --target x86-64", measure, export):
        assert call(command).returncode == 0
    shutil.copy(cases / SLOW, tmp_path / "model.tflite")
    assert call("edgekit build --target x86-64").returncode == 0
    slower = call(gate)
    assert slower.returncode == 3, slower.stderr
    assert "by more than 10 %" in slower.stderr
    assert call("edgekit runs list").stdout.count("demo") >= 2


@pytest.mark.unit
def test_the_comment(tmp_path: Path) -> None:
    """``gh`` is not here: in its place one that keeps what it is told."""
    program = tmp_path / "bin" / "gh"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\necho "$@" > arguments\ncp comment.md sent.md\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    for device in ("garage", "local"):
        (tmp_path / f"latency-{device}").mkdir()
        (tmp_path / f"latency-{device}" / "report.md").write_text(f"| {device} |\n")
    job = jobs()["comment"]
    variables = {**environment({"env": {}}, {}, tmp_path), "PULL_REQUEST": "7"}
    assert {step: done.returncode for step, done in run(job, tmp_path, variables).items()} == {"Comment": 0}
    assert (tmp_path / "sent.md").read_text() == "| garage |\n| local |\n"
    assert (tmp_path / "arguments").read_text().startswith("pr comment 7 --body-file comment.md --edit-last")

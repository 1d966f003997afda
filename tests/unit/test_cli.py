"""The command line as a user meets it: exit codes, messages, JSON."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import click
import pytest

from edgekit.cli import cli
from edgekit.cli.failures import guarded
from edgekit.cli.options import output
from edgekit.entries import FindingEntry
from edgekit.errors import InconclusiveError, IntegrityError, RegressionError

pytestmark = pytest.mark.unit
EDGEKIT = [sys.executable, "-m", "edgekit"]


def run(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    code = guarded(cli, arguments)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(["--help"], capsys)
    assert code == 0
    for name in ("build", "deploy", "bench", "rollback", "inspect", "device"):
        assert name in out


def test_a_misspelt_command_is_a_usage_error_with_the_closest(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(["biuld"], capsys)
    assert code == 2
    assert "Did you mean 'build'?" in err


@pytest.mark.parametrize(
    ("arguments", "code", "message", "hint"),
    [
        (["build", "nowhere.h5", "--target", "rpi4", "--precision", "float32"], 1, "nowhere.h5", ""),
        (["build", "--target", "rpi4"], 1, "There is no model", "edgekit init"),
        (["build", "m.h5"], 1, "No target was given", "target list"),
        (["build", "m.h5", "--target", "rpi44"], 1, "There is no target 'rpi44'", "rpi4"),
        (["build", "m.h5", "--target", "rpi4"], 1, "int8 needs calibration data", "--calibration"),
        (["build", "m.h5", "--target", "rpi4", "--precision", "int9"], 2, "'int9' is not one of", ""),
        (["inspect", "nowhere"], 1, "nowhere cannot be read: No such file", "Check the path"),
        (["target", "show", "rpi"], 1, "There is no target 'rpi'", "rpi"),
    ],
)
def test_mistakes_name_cause_and_next_step(
    arguments: list[str],
    code: int,
    message: str,
    hint: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    found, out, err = run(arguments, capsys)
    assert (found, out) == (code, "")
    assert message in err
    assert hint in err
    assert "Traceback" not in err
    assert not list(tmp_path.iterdir()), "a refused command leaves nothing behind"


def test_with_json_an_error_is_json_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(["target", "show", "nonsense", "--json"], capsys)
    document = json.loads(out)
    assert code == document["error"]["exit_code"] == 1
    assert document["schema_version"] == 1
    assert document["error"]["kind"] == "TargetError"
    assert "nonsense" in err


def test_an_unknown_failure_is_said_to_be_ours(capsys: pytest.CaptureFixture[str]) -> None:
    @click.command()
    def broken() -> None:
        raise ZeroDivisionError("oh")

    assert guarded(broken, []) == 1
    assert "Internal error: ZeroDivisionError: oh" in capsys.readouterr().err


def test_an_error_brings_its_own_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    @click.command()
    def refused() -> None:
        raise IntegrityError("changed", hint="build again")

    assert guarded(refused, []) == 8
    assert "build again" in capsys.readouterr().err


@pytest.mark.parametrize("kind", [RegressionError, InconclusiveError])
def test_an_answer_with_an_exit_code_keeps_its_document(
    kind: type[RegressionError], capsys: pytest.CaptureFixture[str]
) -> None:
    finding = FindingEntry(name="noise", severity="warning", message="Loud.", fix="Quiet.")

    @click.command()
    @click.option("--json", is_flag=True)
    def slower(json: bool) -> None:
        raise kind("Slower.", hint="See.", details={"gate": finding, "file": Path("a.json"), "median_ms": 1.5})

    code = guarded(slower, ["--json"])
    facts = json.loads(capsys.readouterr().out)
    assert facts["gate"] == {"name": "noise", "severity": "warning", "message": "Loud.", "fix": "Quiet."}
    assert (facts["file"], facts["median_ms"]) == ("a.json", 1.5)
    assert (facts["error"]["exit_code"], "details" in facts["error"]) == (code, False)


def test_target_list_and_show_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(["target", "list", "--json"], capsys)
    assert code == 0
    assert {"rpi4", "coral-usb"} <= {target["name"] for target in json.loads(out)["targets"]}
    code, out, _ = run(["target", "show", "rpi4", "--json"], capsys)
    assert json.loads(out)["target"]["cpu"]["cores"] == 4


def test_inspect_as_json(cases: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(["inspect", str(cases / "models/tflite_ref/kws_int8.tflite"), "--json"], capsys)
    document = json.loads(out)
    assert code == 0
    assert (document["precision"], document["macs"], document["bytes"]) == ("int8", 2_656_768, 53_936)


def test_the_environment_gives_defaults(tmp_path: Path) -> None:
    environment = {**os.environ, "EDGEKIT_TARGET": "rpi44"}
    result = subprocess.run(
        [*EDGEKIT, "build", "m.h5"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 1
    assert "There is no target 'rpi44'" in result.stderr


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_have_their_exit_codes(number: signal.Signals, code: int) -> None:
    script = (
        "import click, sys, time\nfrom edgekit.cli.failures import guarded\n"
        "@click.command()\ndef wait():\n    print('ready', flush=True)\n    time.sleep(30)\n"
        "sys.exit(guarded(wait, []))"
    )
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    time.sleep(0.05)
    process.send_signal(number)
    _, err = process.communicate(timeout=10)
    assert process.returncode == code
    assert b"cleaned up" in err
    assert b"Traceback" not in err


def test_what_goes_into_a_pipe_is_not_folded(capsys: pytest.CaptureFixture[str]) -> None:
    output().print("word " * 100)
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_a_closed_pipe_is_no_traceback() -> None:
    command = f"{sys.executable} -m edgekit target list | head -c 5"
    result = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
    assert "Traceback" not in result.stderr

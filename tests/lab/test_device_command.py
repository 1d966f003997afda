"""`edgekit device` against a real sshd: trust, rekey, status, exit codes, JSON."""

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from edgekit.cli import cli
from edgekit.cli.failures import guarded
from tests.lab.machine import run
from tests.lab.tier1 import Sshd

pytestmark = pytest.mark.lab


@pytest.fixture
def stranger(sshd: Sshd, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Sshd:
    """The device, added as ``board``, with no host key known of it."""
    config = tmp_path / "config"
    config.write_text(f"Host *\n  UserKnownHostsFile none\nInclude {sshd.ssh_config}\n")
    monkeypatch.setenv("EDGEKIT_SSH_CONFIG", str(config))
    arguments = [
        "--host",
        sshd.host,
        "--user",
        "root",
        "--root",
        str(sshd.storage / "empty"),
        "--python",
        sys.executable,
    ]
    assert guarded(cli, ["device", "add", "board", *arguments]) == 0
    return sshd


def edgekit(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, Any, str]:
    """Exit code, the JSON on stdout, stderr."""
    capsys.readouterr()
    code = guarded(cli, ["device", *arguments, "--json"])
    captured = capsys.readouterr()
    return code, json.loads(captured.out), captured.err


def fingerprint(sshd: Sshd) -> str:
    return run("ssh-keygen", "-l", "-f", sshd.folder / "hostkey.pub").split()[1]


def test_a_device_is_added_trusted_asked_and_removed(stranger: Sshd, capsys: pytest.CaptureFixture[str]) -> None:
    code, answer, _ = edgekit(capsys, "status", "board")
    assert (code, answer["error"]["kind"]) == (4, "HostKeyError")
    code, answer, err = edgekit(capsys, "trust", "board", "--yes")
    assert (code, answer["fingerprint"], answer["known_before"]) == (0, fingerprint(stranger), False)
    assert fingerprint(stranger) in err
    assert edgekit(capsys, "trust", "board")[1]["known_before"] is True
    code, answer, _ = edgekit(capsys, "status")
    device = answer["devices"][0]
    assert (code, device["name"], device["reachable"]) == (0, "board", True)
    assert device["info"]["python"].startswith("3.")
    assert device["status"]["models"] == []
    assert edgekit(capsys, "remove", "board")[0] == 0
    assert edgekit(capsys, "list")[1]["devices"] == []


def test_trust_asks_and_no_terminal_means_no(stranger: Sshd, capsys: pytest.CaptureFixture[str]) -> None:
    code, answer, _ = edgekit(capsys, "trust", "board")
    assert (code, answer["error"]["kind"]) == (4, "HostKeyError")
    assert "--fingerprint" in answer["error"]["hint"]
    assert not Path(".edgekit/known_hosts").exists()


@pytest.mark.parametrize("reply", ["y", "n"])
def test_trust_at_a_terminal(
    stranger: Sshd, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, reply: str
) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("click.termui.visible_prompt_func", lambda _prompt: reply)
    code = guarded(cli, ["device", "trust", "board"])
    assert code == (0 if reply == "y" else 130)
    assert fingerprint(stranger) in capsys.readouterr().err
    assert Path(".edgekit/known_hosts").exists() == (reply == "y")


def test_fingerprint_is_compared(stranger: Sshd, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = "SHA256:" + "A" * 43
    code, answer, _ = edgekit(capsys, "trust", "board", "--fingerprint", wrong)
    assert (code, answer["error"]["details"]) == (4, {"found": fingerprint(stranger), "expected": wrong})
    assert not Path(".edgekit/known_hosts").exists()
    assert edgekit(capsys, "trust", "board", "--fingerprint", fingerprint(stranger))[0] == 0
    assert guarded(cli, ["device", "trust", "board", "--fingerprint", "abc"]) == 2


def test_rekey_replaces_the_key_and_logs_both(stranger: Sshd, capsys: pytest.CaptureFixture[str]) -> None:
    code, answer, _ = edgekit(capsys, "rekey", "board", "--yes")
    assert (code, answer["error"]["hint"]) == (4, "Run `edgekit device trust board`.")
    assert edgekit(capsys, "trust", "board", "--yes")[0] == 0
    assert edgekit(capsys, "rekey", "board")[1]["changed"] is False
    old = fingerprint(stranger)
    with stranger.new_host_key():
        new = fingerprint(stranger)
        code, answer, _ = edgekit(capsys, "trust", "board", "--yes")
        assert code == 4
        assert old in answer["error"]["message"]
        assert new in answer["error"]["message"]
        assert "edgekit device rekey board" in answer["error"]["hint"]
        code, answer, _ = edgekit(capsys, "rekey", "board", "--yes")
        assert (code, answer["changed"], answer["old"], answer["fingerprint"]) == (0, True, [old], new)
        assert edgekit(capsys, "status", "board")[0] == 0
    assert re.search(rf"board {re.escape(stranger.host)} old={re.escape(old)} new={re.escape(new)}\n",
                     Path(".edgekit/rekey.log").read_text())  # fmt: skip
    assert edgekit(capsys, "status", "board")[0] == 4


def test_status_of_several_devices_goes_on_past_those_that_fail(
    stranger: Sshd, capsys: pytest.CaptureFixture[str]
) -> None:
    assert edgekit(capsys, "trust", "board", "--yes")[0] == 0
    assert edgekit(capsys, "add", "gone", "--host", "no-such-board.invalid")[0] == 0
    code, answer, _ = edgekit(capsys, "status")
    assert code == 5
    by_name = {device["name"]: device for device in answer["devices"]}
    assert by_name["board"]["reachable"] is True
    assert by_name["gone"]["error"]["kind"] == "TransportError"
    assert guarded(cli, ["device", "status"]) == 5
    captured = capsys.readouterr()
    assert "board" in captured.out
    assert "cannot be resolved" in captured.err
    assert edgekit(capsys, "status", "gone")[0] == 4


def test_doctor_looks_at_a_device(stranger: Sshd, capsys: pytest.CaptureFixture[str]) -> None:
    edgekit(capsys, "trust", "board", "--yes")
    code = guarded(cli, ["doctor", "--device", "board", "--json"])
    checks = {
        check["name"]: check for check in json.loads(capsys.readouterr().out)["checks"] if check["where"] == "board"
    }
    assert code == 0, [check for check in checks.values() if check["state"] == "broken"]
    assert checks["ai-edge-litert"]["state"] == "ok"
    assert checks["edgekit's folder"]["found"] == str(stranger.storage / "empty")
    assert not (stranger.storage / "empty" / "models").exists()

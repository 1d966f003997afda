"""``edgekit key``: what it prints and what it never does."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from edgekit.cli import cli
from edgekit.cli.failures import guarded
from edgekit.keys.new import new_keys
from edgekit.keys.types import ALGORITHMS
from tests.unit.certificates import replace_leaf

pytestmark = pytest.mark.unit
Capture = pytest.CaptureFixture[str]


def secrets(folder: Path) -> list[str]:
    """Lines of base64 of every private key."""
    files = sorted((folder / "private").iterdir())
    assert files
    return [line for path in files for line in path.read_text().splitlines() if not line.startswith("-----")]


def test_new_says_what_was_made_and_what_to_do_and_shows_no_key(tmp_path: Path, capsys: Capture) -> None:
    folder = tmp_path / "keys"
    assert guarded(cli, ["key", "new", "-v", "--output", str(folder), "--algorithm", "release=p256"]) == 0
    out, err = capsys.readouterr()
    lines = [line.split() for line in out.splitlines()]
    assert [line[0] for line in lines] == ["key", "ca", *ALGORITHMS]
    expires = (datetime.now(UTC) + timedelta(days=730)).date().isoformat()
    assert lines[2][:4] == ["release", "p256", expires, "here"]
    assert f"move {folder}/private/ca.key to a medium that is offline" in err
    assert "The private keys are not encrypted" in err
    assert not [secret for secret in secrets(folder) if secret in out + err]
    assert guarded(cli, ["key", "new", "--output", str(folder)]) == 1
    assert "exists already, and keys are never overwritten." in capsys.readouterr().err


def test_renewed_keys_as_json(tmp_path: Path, capsys: Capture) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    assert guarded(cli, ["key", "new", "--output", str(old), "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert guarded(cli, ["key", "new", "--output", str(new), "--ca", str(old), "--days", "20", "--json"]) == 0
    out, err = capsys.readouterr()
    renewed = json.loads(out)
    assert renewed["keys"][0] == {**made["keys"][0], "private": False}
    assert renewed["keys"][1]["fingerprint"] != made["keys"][1]["fingerprint"]
    assert [finding["name"] for finding in renewed["findings"]] == [f"{purpose}-expires" for purpose in ALGORITHMS]
    assert not [secret for secret in secrets(old) + secrets(new) if secret in out + err]


@pytest.mark.parametrize("text", ["cms=ed25519", "cms", "boot=p256", "=p256"])
def test_an_algorithm_that_is_none_is_a_usage_error(tmp_path: Path, capsys: Capture, text: str) -> None:
    assert guarded(cli, ["key", "new", "--output", str(tmp_path / "keys"), "--algorithm", text]) == 2
    assert f"{text!r} is none of release=ed25519|p256|rsa, cms=p256|rsa" in capsys.readouterr().err
    assert not (tmp_path / "keys").exists()


def test_show_warns_before_a_key_expires_and_fails_when_one_may_not_sign(tmp_path: Path, capsys: Capture) -> None:
    now = datetime.now(UTC)
    new_keys(tmp_path / "keys", algorithms={}, days=30, organization=None, ca=None, now=now - timedelta(days=10))
    assert guarded(cli, ["key", "show", str(tmp_path / "keys/public")]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[1].split()[3:5] == ["not", "here"]
    assert "warning cms-expires: The cms key expires in 19 days.\n" in err
    assert "edgekit key new --ca" in err
    replace_leaf(tmp_path / "keys", "cms", usages=None, starts=now - timedelta(days=1))
    assert guarded(cli, ["key", "show", str(tmp_path / "keys")]) == 8
    assert "error cms-refused: " in capsys.readouterr().err
    assert guarded(cli, ["key", "show", str(tmp_path)]) == 8
    assert "There is no key to check against" in capsys.readouterr().err

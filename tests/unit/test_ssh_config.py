"""ssh config and device table -> hops."""

import getpass
from pathlib import Path

import pytest

from edgekit.device import Device, DeviceTable
from edgekit.errors import DeviceConfigError, TransportError
from edgekit.transport import find_device
from edgekit.transport.ssh_config import Hop, host_names, route

pytestmark = pytest.mark.unit

CONFIG = """\
Include {folder}/extra/*.conf
Host board
  HostName 10.0.0.4
  User pi
  Port 2222
  IdentityFile ~/.ssh/board
  IdentitiesOnly yes
  ProxyJump guest@gate:2200,inner
  UserKnownHostsFile {folder}/a {folder}/b
  GlobalKnownHostsFile none
  HostKeyAlias fleet
  ConnectTimeout 7
  IdentityAgent none
Host gate
  HostName gate.example
Host direct
  ProxyJump none
Host *.lan !secret.lan
  User lan
"""


@pytest.fixture(autouse=True)
def _config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "extra").mkdir()
    (tmp_path / "extra" / "1.conf").write_text("Host included\n  HostName 10.9.9.9\n")
    (tmp_path / "config").write_text(CONFIG.format(folder=tmp_path))
    monkeypatch.setenv("EDGEKIT_SSH_CONFIG", str(tmp_path / "config"))
    monkeypatch.setenv("SSH_AUTH_SOCK", "/run/agent")


def hops(name: str, **table: object) -> tuple[Hop, ...]:
    return route(Device(name=name, transport="ssh", table=DeviceTable(**table)))  # type: ignore[arg-type]


def test_everything_a_host_says(tmp_path: Path) -> None:
    *jumps, board = hops("board")
    assert (board.host, board.port, board.user) == ("10.0.0.4", 2222, "pi")
    assert board.identity_files == (str(Path.home() / ".ssh/board"),)
    assert board.identities_only
    assert board.agent_socket is None
    assert board.known_hosts_files == (tmp_path / "a", tmp_path / "b")
    assert (board.host_key_name, board.connect_timeout_s) == ("fleet", 7)
    assert [(hop.user, hop.host, hop.port) for hop in jumps] == [
        ("guest", "gate.example", 2200), (getpass.getuser(), "inner", 22),
    ]  # fmt: skip


def test_the_devices_table_comes_before_the_config() -> None:
    (board,) = hops("x", host="board", user="me", port=22, identity_file="/key", jump="none")
    assert (board.host, board.user, board.port, board.identity_files) == ("10.0.0.4", "me", 22, ("/key",))
    gate, _ = hops("board", jump="gate")
    assert (gate.host, gate.agent_socket) == ("gate.example", "/run/agent")


def test_included_files_and_patterns() -> None:
    assert hops("included")[0].host == "10.9.9.9"
    assert hops("a.lan")[0].user == "lan"
    assert hops("secret.lan")[0].user == getpass.getuser()
    assert hops("direct")[0].host == "direct"
    assert host_names() == {"board", "gate", "direct", "included"}


def test_a_host_of_the_config_is_a_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_device("included").host == "included"
    with pytest.raises(DeviceConfigError, match="no device 'nobody'"):
        find_device("nobody")


@pytest.mark.parametrize("jump", ["-oProxyCommand=evil", "a b", "host:port", "", "a,,b"])
def test_what_is_no_jump_host_is_refused(jump: str) -> None:
    if jump == "":
        assert len(hops("gate", jump="")) == 1
        return
    with pytest.raises(DeviceConfigError, match="no jump host") as caught:
        hops("gate", jump=jump)
    assert "[user@]host[:port]" in caught.value.hint


def test_a_config_that_includes_itself(tmp_path: Path) -> None:
    (tmp_path / "config").write_text(f"Include {tmp_path}/config\n")
    with pytest.raises(TransportError, match="includes itself"):
        hops("board")


def test_a_config_that_is_not_one(tmp_path: Path) -> None:
    (tmp_path / "config").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(TransportError, match="cannot be read as ssh config"):
        hops("board")
    (tmp_path / "config").write_text("Host board\n  nonsense\n")
    with pytest.raises(TransportError, match="cannot be read as ssh config"):
        hops("board")

"""The known_hosts format and the verdict on a key, without a network."""

import base64
import hashlib
import hmac
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.errors import HostKeyError
from edgekit.transport.host_keys import HostKey, known_entries, parse_line, remember, verify
from edgekit.transport.ssh_config import Hop

pytestmark = pytest.mark.unit

KEY = HostKey("ssh-ed25519", b"\0\0\0\x0bssh-ed25519" + bytes(36))
OTHER = HostKey("ssh-ed25519", b"\0\0\0\x0bssh-ed25519" + bytes(35) + b"\1")


def hop(folder: Path, *, port: int = 22, alias: str | None = None) -> Hop:
    return Hop(
        name="board", host="board.lan", port=port, user="pi", identity_files=(), identities_only=False,
        agent_socket=None, known_hosts_files=(folder / "known",), host_key_alias=alias, proxy_command=None,
        connect_timeout_s=None,
    )  # fmt: skip


def line(names: str, key: HostKey = KEY) -> str:
    return f"{names} {key.kind} {base64.b64encode(key.blob).decode()} a comment"


def hashed(name: str) -> str:
    salt = bytes(range(20))
    digest = hmac.new(salt, name.encode(), hashlib.sha1).digest()
    return f"|1|{base64.b64encode(salt).decode()}|{base64.b64encode(digest).decode()}"


@pytest.mark.parametrize(
    ("names", "name", "expected"),
    [
        ("board.lan", "board.lan", True),
        ("Board.LAN", "board.lan", True),
        ("other,board.lan", "board.lan", True),
        ("board.lan", "[board.lan]:2222", False),
        ("[board.lan]:2222", "[board.lan]:2222", True),
        ("[board.lan]:2222", "board.lan", False),
        ("*.lan", "board.lan", True),
        ("boar?.lan", "board.lan", True),
        ("*.lan,!board.lan", "board.lan", False),
        ("[*.lan]:22??", "[board.lan]:2222", True),
        ("[a-z]oard.lan", "board.lan", False),
        (hashed("board.lan"), "board.lan", True),
        (hashed("[board.lan]:2222"), "[board.lan]:2222", True),
        (hashed("board.lan"), "other.lan", False),
        ("|1|damaged", "board.lan", False),
        ("|1|a|b", "board.lan", False),
    ],
)
def test_names(names: str, name: str, expected: bool) -> None:
    entry = parse_line(line(names))
    assert entry is not None
    assert entry.matches(name) is expected


@pytest.mark.parametrize("text", ["", "# a comment", "@cert-authority *.lan ssh-rsa AAAA", "board.lan", "a ssh-rsa !!"])
def test_lines_that_say_nothing(text: str) -> None:
    assert parse_line(text) is None


@given(st.text())
def test_any_line_can_be_read(text: str) -> None:
    entry = parse_line(text)
    assert entry is None or entry.matches("board.lan") in {True, False}


def test_fingerprint_is_the_one_of_ssh_keygen() -> None:
    blob = base64.b64decode("AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl")  # github.com's
    assert HostKey("ssh-ed25519", blob).fingerprint == "SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU"


def test_verdicts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    board, known = hop(tmp_path), tmp_path / "known"
    with pytest.raises(HostKeyError, match="is not known: ssh-ed25519 SHA256:") as caught:
        verify(board, KEY)
    assert "edgekit device trust board" in caught.value.hint
    known.write_text(line("board.lan") + "\n")
    verify(board, KEY)
    with pytest.raises(HostKeyError, match="has changed") as caught:
        verify(board, OTHER)
    assert caught.value.details == {"known": [KEY.fingerprint], "found": OTHER.fingerprint}
    with pytest.raises(HostKeyError, match="has changed"):
        verify(board, HostKey("ssh-rsa", b"another kind"))
    known.write_text(f"{line('board.lan')}\n@revoked {line('*')}\n")
    with pytest.raises(HostKeyError, match="revoked"):
        verify(board, KEY)


def test_the_projects_file_replaces_what_it_had_and_counts_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    board, elsewhere = hop(tmp_path, port=2222), hop(tmp_path)
    (tmp_path / "known").write_text(line("[board.lan]:2222") + "\n")
    remember(elsewhere, KEY)
    remember(board, OTHER)
    verify(board, OTHER)
    with pytest.raises(HostKeyError):
        verify(board, KEY)
    remember(board, KEY)
    assert [entry.key for entry in known_entries(board)] == [KEY]
    assert [entry.key for entry in known_entries(elsewhere)] == [KEY]
    assert len((tmp_path / ".edgekit" / "known_hosts").read_text().splitlines()) == 2
    assert [path.name for path in (tmp_path / ".edgekit").iterdir()] == ["known_hosts"]


def test_host_key_alias_is_the_name(tmp_path: Path) -> None:
    assert hop(tmp_path, port=2222, alias="fleet").host_key_name == "fleet"

"""ssh against a real sshd: that it works, and what each fault says and how fast."""

import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from edgekit.device import Device
from edgekit.errors import AuthenticationError, DeviceConfigError, EdgekitError, HostKeyError, TransportError
from edgekit.transport import Connection, connect, host_keys, ssh
from tests.lab.machine import find, make_key, run
from tests.lab.tier1 import INNER_PORT, Sshd, wait_until

pytestmark = pytest.mark.lab

NO_HANG_S = 15.0
CRAWL = "import sys, time\nwhile sys.stdin.buffer.read(65536): time.sleep(0.02)"
"""Python on the device that reads 3 MB/s, so that a transfer is there to be broken."""


@contextmanager
def fails(kind: type[EdgekitError], *parts: str, hint: str = "") -> Iterator[None]:
    """The block raises ``kind`` within 15 s; message and hint hold the parts."""
    started = time.monotonic()
    with pytest.raises(kind) as caught:
        yield
    assert time.monotonic() - started < NO_HANG_S
    assert type(caught.value) is kind
    for part in parts:
        assert part in caught.value.message
    assert hint in caught.value.hint


def answers(device: Device) -> bool:
    with connect(device) as connection:
        return connection.run(["echo", "here"]).stdout == b"here\n"


def test_runs_a_command_with_its_arguments_quoted(sshd: Sshd) -> None:
    with connect(sshd.device()) as connection:
        done = connection.run(["printf", "%s|", "a b", "$HOME", "'", "é"], stdin=b"")
        assert (done.exit_code, done.stdout.decode()) == (0, "a b|$HOME|'|é|")


def test_streams_are_kept_apart_and_large_ones_do_not_deadlock(sshd: Sshd) -> None:
    noisy = "cat; head -c 5000000 /dev/zero | tr '\\0' e >&2; echo sad >&2; exit 3"
    with connect(sshd.device()) as connection:
        done = connection.run(["sh", "-c", noisy], stdin=b"x" * 5_000_000)
        assert (done.exit_code, len(done.stdout)) == (3, 5_000_000)
        assert done.stderr.endswith(b"esad\n")
        assert connection.run(["no-such-program"]).exit_code == 127
        assert connection.run(["sh", "-c", "kill -SEGV $$"]).exit_code in {255, 139}


def test_several_commands_share_one_connection_at_the_same_time(sshd: Sshd) -> None:
    with connect(sshd.device()) as connection, connection.start(["cat"]) as first, connection.start(["cat"]) as second:
        first.write(b"one\n")
        second.write(b"two\n")
        assert (next(first.lines(timeout_s=5)), next(second.lines(timeout_s=5))) == (b"one", b"two")


def test_a_command_that_is_left_early_ends_on_the_device(sshd: Sshd) -> None:
    with connect(sshd.device()) as connection:
        with connection.start(["sh", "-c", "echo $$; exec cat"]) as process:
            running = Path("/proc") / next(process.lines(timeout_s=5)).decode()
            assert running.exists()
        wait_until(lambda: not running.exists(), timeout_s=3)


def test_a_command_that_hangs_is_given_up(sshd: Sshd) -> None:
    with connect(sshd.device()) as connection, fails(TransportError, "sleep did not end within 0.3 s"):
        connection.run(["sleep", "60"], timeout_s=0.3)


# --- host keys


def test_unknown_host_key_is_refused_with_its_fingerprint(sshd: Sshd, monkeypatch: pytest.MonkeyPatch) -> None:
    _without_known_hosts(sshd, monkeypatch)
    shown = run("ssh-keygen", "-l", "-f", sshd.folder / "hostkey.pub").split()[1]
    with fails(HostKeyError, "is not known", shown, hint="edgekit device trust lab"):
        connect(sshd.device())
    assert not Path(".edgekit").exists()


def test_a_key_that_was_scanned_and_remembered_is_accepted(sshd: Sshd, monkeypatch: pytest.MonkeyPatch) -> None:
    _without_known_hosts(sshd, monkeypatch)
    hop, key = ssh.scan(sshd.device())
    assert key.kind == "ssh-ed25519"
    host_keys.remember(hop, key)
    assert answers(sshd.device())


def test_changed_host_key_is_refused_with_both_fingerprints(sshd: Sshd) -> None:
    def fingerprint() -> str:
        return run("ssh-keygen", "-l", "-f", sshd.folder / "hostkey.pub").split()[1]

    old = fingerprint()
    with sshd.new_host_key(), fails(HostKeyError, "has changed", old, fingerprint(), hint="edgekit device rekey lab"):
        connect(sshd.device())
    assert answers(sshd.device())


def test_the_projects_own_file_decides_where_it_knows_the_host(sshd: Sshd) -> None:
    hop, real = ssh.scan(sshd.device())
    host_keys.remember(hop, host_keys.HostKey(real.kind, real.blob[:-1] + bytes([real.blob[-1] ^ 1])))
    with fails(HostKeyError, "has changed"):
        connect(sshd.device())


def test_hashed_known_hosts(sshd: Sshd, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    hashed = tmp_path / "hashed"
    shutil.copy(sshd.known_hosts, hashed)
    run("ssh-keygen", "-q", "-H", "-f", hashed)
    assert sshd.host not in hashed.read_text()
    _with_config(sshd, monkeypatch, tmp_path, f"UserKnownHostsFile {hashed}")
    assert answers(sshd.device())


def test_the_kind_of_key_that_is_known_is_asked_for(
    sshd: Sshd, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    key = " ".join((sshd.folder / "hostkey_ecdsa.pub").read_text().split()[:2])
    (tmp_path / "known").write_text(f"{sshd.host} {key}\n")
    _with_config(sshd, monkeypatch, tmp_path, f"UserKnownHostsFile {tmp_path / 'known'}")
    assert answers(sshd.device())


def test_revoked_key_is_refused_even_where_it_is_known(
    sshd: Sshd, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    known = sshd.known_hosts.read_text()
    (tmp_path / "known").write_text(f"{known}@revoked {known.splitlines()[0]}\n")
    _with_config(sshd, monkeypatch, tmp_path, f"UserKnownHostsFile {tmp_path / 'known'}")
    with fails(HostKeyError, "revoked"):
        connect(sshd.device())


# --- login


def test_wrong_user(sshd: Sshd) -> None:
    with fails(AuthenticationError, f"stranger@{sshd.host}", "Offered:", str(sshd.key), hint="ssh-copy-id"):
        connect(sshd.device(user="stranger"))


def test_wrong_key(sshd: Sshd, tmp_path: Path) -> None:
    other = make_key(tmp_path / "other")
    with fails(AuthenticationError, f"root@{sshd.host}", str(other)):
        connect(sshd.device(identity_file=str(other)))


def test_missing_and_damaged_keys_are_named(sshd: Sshd, tmp_path: Path) -> None:
    with fails(AuthenticationError, "no key to offer", "absent (does not exist)"):
        connect(sshd.device(identity_file=str(tmp_path / "absent")))
    (tmp_path / "damaged").write_text("no key at all\n")
    with fails(AuthenticationError, "damaged (not a private key"):
        connect(sshd.device(identity_file=str(tmp_path / "damaged")))


def test_encrypted_key_needs_an_agent_and_works_with_one(
    sshd: Sshd, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    locked = make_key(tmp_path / "locked", passphrase="secret")
    device = sshd.device(identity_file=str(locked))
    with fails(AuthenticationError, "encrypted", hint="ssh-add"):
        connect(device)
    unlocked = tmp_path / "unlocked"
    shutil.copy(locked, unlocked)
    run("ssh-keygen", "-q", "-p", "-P", "secret", "-N", "", "-f", unlocked)
    allowed = sshd.folder / "authorized_keys"
    before = allowed.read_text()
    allowed.write_text(before + (tmp_path / "locked.pub").read_text())
    agent_socket = tmp_path / "agent"
    agent = subprocess.Popen([str(find("ssh-agent")), "-D", "-a", str(agent_socket)], stdout=subprocess.DEVNULL)
    try:
        wait_until(agent_socket.exists)
        monkeypatch.setenv("SSH_AUTH_SOCK", str(agent_socket))
        run("ssh-add", "-q", unlocked)
        assert answers(device)
    finally:
        agent.terminate()
        agent.wait()
        allowed.write_text(before)


# --- the way there


def test_host_alias_of_the_ssh_config(sshd: Sshd) -> None:
    assert answers(Device(name="lab", transport="ssh"))


def test_connection_refused(sshd: Sshd) -> None:
    with sshd.stopped(), fails(TransportError, f"{sshd.host} port 22 refuses connections", hint="ssh server"):
        connect(sshd.device())


def test_host_that_does_not_answer(sshd: Sshd) -> None:
    with sshd.dropped(), fails(TransportError, "did not answer within 2 s", hint="switched on"):
        connect(sshd.device(), timeout_s=2)


def test_no_route_and_no_such_name(sshd: Sshd) -> None:
    gateway = sshd.host.rpartition(".")
    nobody = f"{gateway[0]}.{int(gateway[2]) + 1}"  # the network's broadcast address: nobody can have it
    with fails(TransportError, nobody):
        connect(sshd.device(host=nobody), timeout_s=5)
    with fails(TransportError, "'no-such-board.invalid' cannot be resolved", hint="spelling"):
        connect(sshd.device(host="no-such-board.invalid"))


@pytest.mark.parametrize("greeting", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"", None], ids=["http", "closes", "silent"])
def test_something_else_than_an_ssh_server(sshd: Sshd, greeting: bytes | None) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                if greeting is None:
                    time.sleep(4)
                else:
                    connection.sendall(greeting)

        thread = threading.Thread(target=serve)
        thread.start()
        with fails(TransportError, "127.0.0.1 port"):
            connect(sshd.device(host="127.0.0.1", port=server.getsockname()[1]), timeout_s=2)
        thread.join()


def test_through_a_jump_host(sshd: Sshd, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    inner = {"host": "127.0.0.1", "port": INNER_PORT}
    with fails(TransportError, "refuses connections"):
        connect(sshd.device(**inner))
    assert answers(sshd.device(**inner, jump="lab"))
    assert answers(sshd.device(**inner, jump=f"root@lab:22,root@127.0.0.1:{INNER_PORT}"))
    _with_config(sshd, monkeypatch, tmp_path, f"Host inner\n HostName 127.0.0.1\n Port {INNER_PORT}\n ProxyJump lab")
    assert answers(Device(name="inner", transport="ssh"))


def test_jump_host_that_cannot_reach_the_device(sshd: Sshd) -> None:
    with fails(TransportError, "lab cannot open a connection to 127.0.0.1 port 9", hint="AllowTcpForwarding"):
        connect(sshd.device(host="127.0.0.1", port=9, jump="lab"))


def test_jump_hosts_in_a_circle(sshd: Sshd, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _with_config(sshd, monkeypatch, tmp_path, "Host a\n ProxyJump b\nHost b\n ProxyJump a")
    with fails(DeviceConfigError, "circle"):
        connect(Device(name="a", transport="ssh"))


def test_proxy_command(sshd: Sshd, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    forward = f"ssh -F {sshd.ssh_config} -W %h:%p lab"
    config = f"Host inner\n HostName 127.0.0.1\n Port {INNER_PORT}\n ProxyCommand {forward}"
    _with_config(sshd, monkeypatch, tmp_path, config)
    assert answers(Device(name="inner", transport="ssh"))
    _with_config(sshd, monkeypatch, tmp_path, "Host inner\n ProxyCommand false")
    with fails(TransportError, "ProxyCommand"):
        connect(Device(name="inner", transport="ssh"))


# --- lost connections


@contextmanager
def transfer(connection: Connection) -> Iterator[threading.Thread]:
    """50 MB on their way; the block breaks something, then the loss must be told within 15 s."""
    errors: list[EdgekitError] = []

    def send() -> None:
        try:
            connection.run(["python3", "-c", CRAWL], stdin=bytes(50 << 20), timeout_s=120)
        except EdgekitError as err:
            errors.append(err)

    thread = threading.Thread(target=send, daemon=True)
    thread.start()
    time.sleep(1.0)
    assert thread.is_alive()
    yield thread
    thread.join(NO_HANG_S)
    assert not thread.is_alive(), "the transfer hangs"
    assert type(errors[0]) is TransportError
    assert "was lost" in errors[0].message
    assert "Check power and network" in errors[0].hint


def test_connection_dropped_in_mid_transfer(sshd: Sshd) -> None:
    connection = connect(sshd.device())
    try:
        with transfer(connection):
            sshd.net.drop()
        started = time.monotonic()
        connection.close()
        assert time.monotonic() - started < 3
    finally:
        sshd.net.restore()
    assert answers(sshd.device())


def test_dropped_while_waiting_for_an_answer(sshd: Sshd) -> None:
    with connect(sshd.device()) as connection, connection.start(["sleep", "600"]) as process:
        time.sleep(0.5)
        with sshd.dropped(), fails(TransportError, "was lost"):
            next(process.lines(timeout_s=60))


def test_dropped_behind_a_jump_host(sshd: Sshd) -> None:
    """The jump host stays, the device behind it goes silent: only a heartbeat of our own notices."""
    device = sshd.device(host="127.0.0.1", port=INNER_PORT, jump="lab")
    cut = "add table inet far; add chain inet far in { type filter hook input priority 0; }; "
    rule = f"add rule inet far in tcp dport {INNER_PORT} drop; add rule inet far in tcp sport {INNER_PORT} drop"
    with connect(device) as connection, connection.start(["sleep", "600"]) as process:
        time.sleep(0.5)
        run(*sshd.net.command("nft", cut + rule))
        try:
            with fails(TransportError, "was lost (no answer)"):
                next(process.lines(timeout_s=60))
        finally:
            run(*sshd.net.command("nft", "delete table inet far"))


def test_sshd_killed_in_mid_transfer(sshd: Sshd) -> None:
    with connect(sshd.device()) as connection, transfer(connection):
        sshd.kill_sessions()
    assert answers(sshd.device())


def test_ctrl_c_leaves_at_once_and_nothing_runs_on(sshd: Sshd, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    script = f"echo $$ > {pid}; exec python3 -c '{CRAWL}'"
    timer = threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt), connect(sshd.device()) as connection:
        connection.run(["sh", "-c", script], stdin=bytes(50 << 20), timeout_s=60)
    assert time.monotonic() - started < 3
    wait_until(lambda: not (Path("/proc") / pid.read_text().strip()).exists(), timeout_s=3)


def _with_config(sshd: Sshd, monkeypatch: pytest.MonkeyPatch, folder: Path, text: str) -> None:
    """Put ``text`` in front of the lab's ssh config."""
    path = folder / "ssh_config"
    path.write_text(f"{text}\nHost *\nInclude {sshd.ssh_config}\n")
    monkeypatch.setenv("EDGEKIT_SSH_CONFIG", str(path))


def _without_known_hosts(sshd: Sshd, monkeypatch: pytest.MonkeyPatch) -> None:
    _with_config(sshd, monkeypatch, Path.cwd(), "Host *\n  UserKnownHostsFile none")

"""Calling an agent: what it may print, and what becomes of it here. Real processes through the local transport."""

import json
import shutil
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest

from edgekit.agent.events import emitter
from edgekit.device import resolve_device
from edgekit.errors import (
    DeviceFaultError,
    EdgekitError,
    GateError,
    IntegrityError,
    MeasurementInvalidError,
    SelfTestError,
    TransportError,
)
from edgekit.transport import Connection, connect, streams
from edgekit.transport.agent import RemoteAgent, call, prepare_agent, result
from edgekit.transport.agent_file import build_agent

pytestmark = pytest.mark.unit

READ_REQUEST = "import json, sys\nrequest = json.loads(sys.stdin.buffer.readline())\n"
DONE = "print(json.dumps({'event': 'done'}), flush=True)\n"


@pytest.fixture
def connection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Connection]:
    monkeypatch.setenv("EDGEKIT_LOCAL_ROOT", str(tmp_path / "root"))
    with connect(resolve_device("local")) as opened:
        yield opened


def scripted(connection: Connection, folder: Path, body: str) -> RemoteAgent:
    """An agent that is ``body``, after it has read its request."""
    path = folder / "agent.py"
    path.write_text(READ_REQUEST + body)
    return RemoteAgent(connection=connection, python=sys.executable, path=str(path), root=str(folder))


# --- the agent as a file


def test_the_agent_is_packed_the_same_way_twice() -> None:
    first = build_agent()
    build_agent.cache_clear()
    assert build_agent() == first
    names = zipfile.ZipFile(BytesIO(first.data)).namelist()
    assert names == sorted(names)
    assert {"__main__.py", "edgekit/__init__.py", "edgekit/agent/__main__.py"} <= set(names)
    assert all(
        name.startswith("edgekit/agent/") for name in names if name not in {"__main__.py", "edgekit/__init__.py"}
    )


def test_the_agent_is_sent_once_and_old_ones_go(connection: Connection) -> None:
    agent = prepare_agent(connection)
    folder = Path(agent.path).parent
    assert (Path(agent.path) / "edgekit.pyz").read_bytes() == build_agent().data
    assert list(Path(agent.path).glob("edgekit/agent/__pycache__/store.*.pyc"))
    sent = Path(agent.path).stat().st_mtime_ns
    assert prepare_agent(connection) == agent
    assert Path(agent.path).stat().st_mtime_ns == sent
    for number in range(6):
        (folder / f"{number}").mkdir()
    shutil.rmtree(agent.path)
    prepare_agent(connection)
    assert Path(agent.path).exists()
    assert len(list(folder.iterdir())) == 4


def test_a_root_that_cannot_be_written_is_said(connection: Connection, tmp_path: Path) -> None:
    (tmp_path / "root").write_text("a file where a folder should be")
    with pytest.raises(DeviceFaultError, match=r"agent could not be written: .*root/agent") as caught:
        prepare_agent(connection)
    assert "Free some space" in caught.value.hint


@pytest.mark.parametrize(
    ("program", "message"),
    [(None, "no Python that runs"), ("echo 3.6.9", "is Python 3.6.9"), ("echo hello", "no Python that runs")],
)
def test_a_python_that_will_not_do_is_named(
    connection: Connection, tmp_path: Path, program: str | None, message: str
) -> None:
    python = tmp_path / "python"
    if program is not None:
        python.write_text(f"#!/bin/sh\n{program}\n")
        python.chmod(0o755)
    with pytest.raises(DeviceFaultError, match=message) as caught:
        prepare_agent(connection, python=str(python))
    assert "Python" in caught.value.hint


# --- events


def test_events_come_as_they_are_printed(connection: Connection, tmp_path: Path) -> None:
    body = "print(json.dumps({'event': 'sample', 'got': request['x']}), flush=True)\nsys.stdin.read()\n" + DONE
    events = call(scripted(connection, tmp_path, body), "any", {"x": [1, "é"]}, stdin=iter([b"a", b"b"]))
    assert list(events) == [{"event": "sample", "got": [1, "é"]}, {"event": "done"}]


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("device", DeviceFaultError), ("integrity", IntegrityError), ("self-test", SelfTestError),
        ("measurement", MeasurementInvalidError), ("gate", GateError), ("news", DeviceFaultError),
    ],
)  # fmt: skip
def test_an_error_event_becomes_its_class(
    connection: Connection, tmp_path: Path, kind: str, expected: type[EdgekitError]
) -> None:
    event = {"event": "error", "kind": kind, "message": "the disk is full", "hint": "free it", "details": {"bytes": 1}}
    agent = scripted(connection, tmp_path, f"print('{json.dumps(event)}'); sys.exit(1)")
    with pytest.raises(expected) as caught:
        result(call(agent, "any", {}))
    assert type(caught.value) is expected
    assert (caught.value.message, caught.value.hint) == ("local: the disk is full", "free it")
    assert caught.value.details == {"bytes": 1}


def test_no_done_event_is_an_error_with_the_end_of_stderr(connection: Connection, tmp_path: Path) -> None:
    agent = scripted(connection, tmp_path, "print('Killed by the kernel', file=sys.stderr); sys.exit(9)")
    with pytest.raises(TransportError, match=r"ended without a result \(status 9\): Killed by the kernel"):
        result(call(agent, "bench", {}))


@pytest.mark.parametrize("value", ["NaN", "-Infinity", "1e999", r'"\ud800"', "[" * 100_000])
def test_numbers_and_text_that_are_none_are_no_events(connection: Connection, tmp_path: Path, value: str) -> None:
    odd = f'print(\'{{"event": "odd", "value": \' + {value!r} + \'}}\', flush=True)\n'
    with connection:
        events = list(call(scripted(connection, tmp_path, odd + DONE), "info", {}))
    assert [event["event"] for event in events] == ["done"]


def test_names_that_are_no_text_arrive_with_a_mark() -> None:
    stream = BytesIO()
    emitter(stream)("odd", name="caf\udce9 é \x1b")
    assert json.loads(stream.getvalue()) == {"event": "odd", "name": "caf? é \x1b"}


def test_chatter_of_login_scripts_is_passed_over(connection: Connection, tmp_path: Path) -> None:
    body = (
        "sys.stdout.buffer.write(b'Welcome!\\n\\xff\\x00\\x80\\n{\"no\": 1}\\n[[[\\n42\\n'); sys.stdout.flush()\n"
        + DONE
    )
    assert result(call(scripted(connection, tmp_path, body), "any", {})) == {"event": "done"}


@pytest.mark.slow
@pytest.mark.parametrize("line", ["b'x' * 100 + b'\\n'", "b'[' * 100000 + b'\\n'", "bytes(range(256))"])
def test_endless_garbage_is_given_up(connection: Connection, tmp_path: Path, line: str) -> None:
    agent = scripted(connection, tmp_path, f"while True: sys.stdout.buffer.write({line})")
    with pytest.raises(TransportError, match="prints something else than the agent's events") as caught:
        result(call(agent, "any", {}))
    assert "login scripts" in caught.value.hint


def test_a_line_without_end_is_given_up(connection: Connection, tmp_path: Path) -> None:
    agent = scripted(connection, tmp_path, "while True: sys.stdout.write('x' * 65536)")
    with pytest.raises(TransportError, match=f"a line of more than {streams.MAX_LINE_BYTES} bytes"):
        result(call(agent, "any", {}))


def test_a_large_event_arrives_whole(connection: Connection, tmp_path: Path) -> None:
    body = "print(json.dumps({'event': 'done', 'text': 'x' * 5_000_000}))"
    assert len(result(call(scripted(connection, tmp_path, body), "any", {}))["text"]) == 5_000_000


def test_silence_is_given_up_and_the_agent_ends(connection: Connection, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    body = f"import os, pathlib, time\npathlib.Path({str(pid)!r}).write_text(str(os.getpid()))\ntime.sleep(600)"
    started = time.monotonic()
    with pytest.raises(TransportError, match=r"said nothing for 1 s"):
        result(call(scripted(connection, tmp_path, body), "any", {}, timeout_s=1))
    assert time.monotonic() - started < 5
    assert not Path(f"/proc/{pid.read_text()}").exists()


# --- payload


def test_the_agent_may_print_while_the_payload_is_sent(connection: Connection, tmp_path: Path) -> None:
    body = (
        "for _ in range(3000): print(json.dumps({'event': 'x', 'pad': 'y' * 1000}))\n"
        "size = 0\nwhile chunk := sys.stdin.buffer.read(65536): size += len(chunk)\n"
        "print(json.dumps({'event': 'done', 'size': size}))"
    )
    payload = (bytes(1 << 20) for _ in range(20))
    assert result(call(scripted(connection, tmp_path, body), "any", {}, stdin=payload))["size"] == 20 << 20


def test_an_error_while_we_send_stops_the_sending(connection: Connection, tmp_path: Path) -> None:
    produced = 0

    def payload() -> Iterator[bytes]:
        nonlocal produced
        while True:
            produced += 1
            yield bytes(1 << 20)

    body = "sys.stdin.buffer.read(3 << 20)\nprint(json.dumps({'event': 'error', 'kind': 'integrity', 'message': 'no'}))"
    with pytest.raises(IntegrityError, match="no"):
        result(call(scripted(connection, tmp_path, body), "any", {}, stdin=payload()))
    until = produced
    time.sleep(0.3)
    assert produced == until < 20


def test_a_payload_that_cannot_be_produced_is_its_own_error(connection: Connection, tmp_path: Path) -> None:
    def payload() -> Iterator[bytes]:
        yield b"x"
        raise FileNotFoundError("model.tflite")

    with pytest.raises(FileNotFoundError, match=r"model\.tflite"):
        result(call(scripted(connection, tmp_path, "sys.stdin.read(100)"), "any", {}, stdin=payload()))


def test_nothing_of_a_call_is_left_behind(connection: Connection, tmp_path: Path) -> None:
    before = threading.active_count()
    for _ in range(3):
        result(call(scripted(connection, tmp_path, DONE), "any", {}))
    time.sleep(0.3)
    assert threading.active_count() <= before


# --- local commands


def test_local_commands_behave_as_over_ssh(connection: Connection) -> None:
    assert connection.run(["cat"], stdin=b"x" * 3_000_000).stdout == b"x" * 3_000_000
    assert connection.run(["no-such-program"]).exit_code == 127
    assert connection.run(["sh", "-c", "kill -9 $$"]).exit_code == 128 + 9
    assert connection.run(["printf", "%s", "$HOME 'a'"]).stdout == b"$HOME 'a'"
    done = connection.run(["sh", "-c", "head -c 1000000 /dev/zero | tr '\\0' e >&2; echo sad >&2"])
    assert (len(done.stderr), done.stderr[-4:]) == (streams.STDERR_TAIL_BYTES, b"sad\n")


def test_a_daemon_that_keeps_stdout_open_does_not_hold_us_up(connection: Connection) -> None:
    started = time.monotonic()
    done = connection.run(["sh", "-c", "sleep 20 & echo $!"], timeout_s=10)
    assert time.monotonic() - started < 5
    subprocess.run(["kill", done.stdout.decode().strip()], check=True)


def test_a_local_command_is_ended_even_if_it_will_not(connection: Connection) -> None:
    with connection.start(["sh", "-c", "trap '' TERM; echo $$; while true; do sleep 0.1; done"]) as process:
        pid = next(process.lines(timeout_s=5)).decode()
    assert not Path(f"/proc/{pid}").exists()


def test_too_much_output_is_refused(connection: Connection) -> None:
    with pytest.raises(TransportError, match="printed more than"):
        connection.run(["cat", "/dev/zero"])

"""edgekit's agent on a device: packed here, cached there by digest, called with JSON lines."""

import itertools
import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any

import msgspec

from edgekit.errors import (
    CoverageError,
    DeviceFaultError,
    EdgekitError,
    GateError,
    IntegrityError,
    MeasurementInvalidError,
    SelfTestError,
    TransportError,
)
from edgekit.transport import Completed, Connection, Process
from edgekit.transport.agent_file import AgentFile, build_agent
from edgekit.transport.cooling import say_cooling
from edgekit.transport.streams import Feed, feeding

log = logging.getLogger(__name__)

OLDEST_PYTHON = (3, 7)
KEPT_AGENTS = 3
"""Agents of other versions of edgekit that stay on the device, so that two hosts do not resend in turns."""
MAX_NOISE_BYTES = 1024 * 1024
"""What login scripts may print before the agent speaks."""
END_S = 5.0
"""From the ``done`` event to the end of the agent."""

ERRORS: Mapping[str, type[EdgekitError]] = {
    "device": DeviceFaultError,
    "integrity": IntegrityError,
    "self-test": SelfTestError,
    "measurement": MeasurementInvalidError,
    "gate": GateError,
    "coverage": CoverageError,
}
"""``kind`` of the agent's error event -> what is raised here."""

PROBE = r"""
root=$1 digest=$2 python=$3
case $root in '~') root=$HOME ;; '~/'*) root=$HOME/${root#'~/'} ;; /*) ;; *) root=$HOME/$root ;; esac
if [ -z "$python" ]; then
  python=python3
  if [ -x "$root/runtime/current/bin/python" ]; then python=$root/runtime/current/bin/python; fi
fi
agent=no
if [ -d "$root/agent/$digest" ]; then agent=yes; fi
version=$("$python" -S -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])')
echo
echo "edgekit:root=$root"
echo "edgekit:python=$python"
echo "edgekit:version=$version"
echo "edgekit:agent=$agent"
"""
"""sh: where edgekit lives on the device, the interpreter and its version, whether the agent is there."""

INSTALL = r"""
import compileall, hashlib, io, os, shutil, sys, zipfile
folder, digest, kept = sys.argv[1], sys.argv[2], int(sys.argv[3])
path = os.path.join(folder, digest)
part = "%s.%d.part" % (path, os.getpid())
try:
    os.makedirs(folder, mode=0o700, exist_ok=True)
    data = sys.stdin.buffer.read()
    if hashlib.sha256(data).hexdigest() != digest:
        sys.exit("arrived damaged")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            archive.extractall(part)
        with open(os.path.join(part, "edgekit.pyz"), "wb") as stream:
            stream.write(data)
        compileall.compile_dir(part, quiet=2)
        os.sync()
        if not os.path.isdir(path):
            os.rename(part, path)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    os.utime(path)
    old = sorted((os.path.join(folder, name) for name in os.listdir(folder)), key=os.path.getmtime)
    for item in old[:-kept - 1]:
        shutil.rmtree(item, ignore_errors=True)
except OSError as err:
    sys.exit("%s: %s" % (err.filename or folder, err.strerror))
"""
"""Python >= 3.7: take the agent from stdin, compare it, unpack it, rename it into place, remove the oldest ones.

Unpacked, because Python keeps no bytecode of a zipapp: compiling it anew at every start costs 0.1 s on a PC and over a
second on the smallest boards.
"""


@dataclass(frozen=True, kw_only=True)
class RemoteAgent:
    """The agent, ready on a device."""

    connection: Connection
    python: str
    """The interpreter that runs it."""
    path: str
    """Absolute path of its folder there, which Python runs."""
    root: str
    """Absolute path of edgekit's folder there."""


def prepare_agent(connection: Connection, *, python: str | None = None) -> RemoteAgent:
    """Find an interpreter on the device and have the agent there; one round trip when it is there already.

    ``python``: this interpreter; default: the device table's, else that of ``device setup``, else python3.

    Raises:
        DeviceFaultError: no Python, one that is too old, or the agent cannot be written.
        TransportError: the connection was lost, or the device does not answer.
    """
    agent, table = build_agent(), connection.device.table
    done = connection.run(["sh", "-c", PROBE, "sh", table.root, agent.digest, python or table.python or ""])
    facts = _facts(done)
    name = connection.device.name
    if not {"root", "python", "version", "agent"} <= facts.keys():
        raise DeviceFaultError(
            f"{name} has no POSIX shell that edgekit can use (status {done.exit_code}){_said(done.stderr)}",
            hint="Log in with ssh and try `sh -c 'echo $HOME'`: the login shell must run commands.",
        )
    _check_python(name, facts["python"], facts["version"], done.stderr)
    root = facts["root"]
    if facts["agent"] != "yes":
        _install(connection, facts["python"], root, agent)
    return RemoteAgent(connection=connection, python=facts["python"], path=f"{root}/agent/{agent.digest}", root=root)


def call(
    agent: RemoteAgent,
    command: str,
    request: Mapping[str, Any],
    *,
    stdin: Iterable[bytes] = (),
    answer: Callable[[dict[str, Any]], Iterable[bytes]] | None = None,
    keep_open: bool = False,
    timeout_s: float = 60.0,
) -> Iterator[dict[str, Any]]:
    """Run one command of the agent; yields its events, the ``done`` event last.

    ``stdin`` follows the request and is sent while events are read; it is not read further once the agent
    ended. ``answer`` gives what is sent after an event, in the same way; with it, or with ``keep_open``, stdin
    stays open to the end, so that the agent notices when this side goes away. ``timeout_s`` is the longest
    time in which nothing moves in either direction. Ctrl-C closes stdin and gives the agent ``END_S`` to
    undo what it began.

    Raises:
        EdgekitError: what an ``error`` event says, as the class of ``ERRORS``.
        TransportError: the connection was lost, or the agent ended without ``done``.
    """
    line = json.dumps(request).encode() + b"\n"
    process = agent.connection.start([agent.python, "-B", agent.path, command])
    name = agent.connection.device.name
    answers: SimpleQueue[Iterable[bytes] | None] = SimpleQueue()
    chunks = itertools.chain((line,), stdin, itertools.chain.from_iterable(iter(answers.get, None)))
    if answer is None:
        answers.put(None)
    with feeding(process, chunks, keep_open=keep_open) as feed, process, _ending(process, answers):
        for event in _events(process, name, timeout_s):
            if event["event"] == "error":
                raise _error(event, name)
            if event["event"] == "done":
                process.close_stdin()
                with suppress(TransportError):  # it said all it had to say; leaving the block ends it
                    process.wait(timeout_s=END_S)
                yield event
                return
            if event["event"] == "cooling":
                say_cooling(event, name)
            if answer is not None:
                answers.put(answer(event))
            yield event
        raise _unfinished(process, feed, command, name)


@contextmanager
def _ending(process: Process, answers: "SimpleQueue[Iterable[bytes] | None]") -> Iterator[None]:
    """However the call ends, nothing waits for answers any more; interrupted, the agent may clean up first."""
    try:
        yield
    except Exception:
        raise
    except BaseException:
        with suppress(TransportError):
            process.close_stdin()
            process.wait(timeout_s=END_S)
        raise
    finally:
        answers.put(None)


def result(events: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """The ``done`` event of a call whose other events do not matter."""
    *_, done = events
    return done


def _facts(done: Completed) -> dict[str, str]:
    lines = done.stdout.decode(errors="replace").splitlines()
    pairs = (line.removeprefix("edgekit:").partition("=") for line in lines if line.startswith("edgekit:"))
    return {key: value for key, _, value in pairs}


def _check_python(name: str, python: str, version: str, stderr: bytes) -> None:
    oldest = ".".join(str(part) for part in OLDEST_PYTHON)
    try:
        found = tuple(int(part) for part in version.split("."))
    except ValueError:
        raise DeviceFaultError(
            f"{name} has no Python that runs: {python} did not answer{_said(stderr)}",
            hint=f"Install Python >= {oldest} there, or name it as `python` in the device's table.",
        ) from None
    if found < OLDEST_PYTHON:
        raise DeviceFaultError(
            f"{name}: {python} is Python {version}; edgekit's agent needs {oldest} or newer.",
            hint="Install a newer Python there and name it as `python` in the device's table.",
        )


def _install(connection: Connection, python: str, root: str, agent: AgentFile) -> None:
    name = connection.device.name
    log.info("%s: sending the agent, %d bytes", name, len(agent.data))
    command = [python, "-S", "-c", INSTALL, f"{root}/agent", agent.digest, str(KEPT_AGENTS)]
    done = connection.run(command, stdin=agent.data, timeout_s=60.0)
    if done.exit_code != 0:
        raise DeviceFaultError(
            f"{name}: edgekit's agent could not be written{_said(done.stderr)}",
            hint="Free some space there, make the file system writable, or set `root` in the device's table.",
        )


def _events(process: Process, name: str, timeout_s: float) -> Iterator[dict[str, Any]]:
    noise = 0
    for line in process.lines(timeout_s=timeout_s):
        event = _parse(line)
        if event is not None:
            yield event
            continue
        noise += len(line) + 1
        log.warning("%s printed something that is no event: %.200r", name, line)
        if noise > MAX_NOISE_BYTES:
            raise TransportError(
                f"{name} prints something else than the agent's events, such as {line[:60]!r}.",
                hint="Its login scripts (.bashrc, .profile) must print nothing without a terminal.",
            )


def _parse(line: bytes) -> dict[str, Any] | None:
    """An event; None for anything else, such as numbers that are none (NaN) and text that is no Unicode."""
    try:
        value = msgspec.json.decode(line)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) and isinstance(value.get("event"), str) else None


def _error(event: Mapping[str, Any], name: str) -> EdgekitError:
    details = event.get("details")
    return ERRORS.get(str(event.get("kind")), DeviceFaultError)(
        f"{name}: {event.get('message') or 'the agent failed without a message'}",
        hint=str(event.get("hint") or "Run it again with -v."),
        details=details if isinstance(details, dict) else {},
    )


def _unfinished(process: Process, feed: Feed, command: str, name: str) -> Exception:
    if feed.error is not None and feed.source_failed:
        return feed.error
    done = process.wait(timeout_s=END_S)
    return TransportError(
        f"{name}: the agent's {command} ended without a result (status {done.exit_code}){_said(done.stderr)}",
        hint="Look at the device (`edgekit device status`, its memory, its log); then run it again with -v.",
        details={"exit_code": done.exit_code},
    )


def _said(stderr: bytes) -> str:
    """`` : last line of stderr`` or a full stop."""
    lines = [line for line in stderr.decode(errors="replace").splitlines() if line.strip()]
    return f": {' / '.join(lines[-3:])[-600:]}" if lines else "."

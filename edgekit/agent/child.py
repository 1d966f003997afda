"""A fresh process of the agent itself: the unit of a measurement, and where delegates may crash."""

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections import deque
from typing import Any, BinaryIO, Callable, Dict, Iterator, Optional, Sequence

from . import parent
from .events import AgentError, Emit, Request, Result

HEARTBEAT_S = 5.0
MAX_LINE_BYTES = 16 * 1024 * 1024
"""Of an event; many times what any has."""
ENDLESS_HINT = "A delegate's library that writes where it should not does that; try xnnpack or none."
ERROR_FIELDS = {"kind", "message", "hint", "details"}
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
"""What holds the package ``edgekit``: the zipapp itself, or a folder."""
START = "import sys; sys.path[:] = filter(None, sys.path); from edgekit.agent.__main__ import main; sys.exit(main())"
"""Instead of ``-m``, which looks for modules in the working directory first: it may be anybody's, such as /tmp."""


class Child:
    """A command that was started; it sees the end of its stdin only in ``finish``, or when we die.

    A command that has much to import can do so at once and read stdin to its end before it begins. ``descriptors``
    are open files that it gets under the same numbers.
    """

    def __init__(self, command: str, request: Request, descriptors: Sequence[int] = ()) -> None:
        arguments = [sys.executable, "-B", "-c", START, command]
        paths = [ROOT] + [path for path in [os.environ.get("PYTHONPATH")] if path]
        environment = dict(os.environ, PYTHONPATH=os.pathsep.join(paths), **{parent.VARIABLE: str(os.getpid())})
        self._command = command
        self._process = subprocess.Popen(
            arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, pass_fds=descriptors
        )
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")  # type: ignore[union-attr]
            self._process.stdin.flush()  # type: ignore[union-attr]
        except BrokenPipeError:
            pass  # it died before it read anything: its exit status tells more

    def begin(self) -> None:
        """End its stdin."""
        self._close_stdin()

    def finish(self, stdin: Optional[BinaryIO] = None, on_wait: Callable[[], None] = lambda: None) -> Result:
        """The fields of its ``done`` event; see ``run_child``."""
        self._close_stdin()
        last = deque(_lines(self._process, stdin, on_wait), 1)
        return _result(last[0] if last else b"", _ended(self._process, on_wait), self._command)

    def relay(
        self,
        emit: Emit,
        on_wait: Callable[[], None] = lambda: None,
        stdin: Optional[BinaryIO] = None,
        every_s: float = HEARTBEAT_S,
    ) -> Result:
        """Pass its events on as they come; the fields of its ``done`` event, ``stdin`` and errors as in ``run_child``.

        ``on_wait`` is called every ``every_s``, whether the process says something or not.
        """
        self._close_stdin()
        last = b""
        for last in _lines(self._process, stdin, on_wait, every_s):
            event = _event(last)
            if event and event["event"] not in ("done", "error"):
                emit(**event)
        return _result(last, _ended(self._process, on_wait), self._command)

    def hear(self, stdin: Optional[BinaryIO] = None, on_wait: Callable[[], None] = lambda: None) -> Dict[str, Any]:
        """Its next event, for a command that speaks only when it is asked; ``stdin`` and errors as in ``run_child``."""
        last = b""
        for last in _lines(self._process, stdin, on_wait):
            event = _event(last)
            if event and event["event"] not in ("done", "error"):
                return event
        return dict(_result(last, _ended(self._process, on_wait), self._command), event="done")

    def ask(
        self,
        question: Dict[str, Any],
        stdin: Optional[BinaryIO] = None,
        on_wait: Callable[[], None] = lambda: None,
    ) -> Dict[str, Any]:
        """Write it a line of JSON; the event that it answers with."""
        try:
            self._process.stdin.write(json.dumps(question).encode() + b"\n")  # type: ignore[union-attr]
            self._process.stdin.flush()  # type: ignore[union-attr]
        except BrokenPipeError:
            pass  # it died: what ``hear`` finds tells more
        return self.hear(stdin, on_wait)

    def kill(self) -> None:
        """End it if it still runs; can be called again."""
        self._process.kill()
        self._close_stdin()
        self._process.wait()
        self._process.stdout.close()  # type: ignore[union-attr]

    def _close_stdin(self) -> None:
        try:
            self._process.stdin.close()  # type: ignore[union-attr]
        except BrokenPipeError:
            pass


def run_child(
    command: str,
    request: Request,
    stdin: Optional[BinaryIO] = None,
    on_wait: Callable[[], None] = lambda: None,
) -> Result:
    """Run a command of the agent in a process of its own; returns the fields of its ``done`` event.

    ``stdin`` is the host's line to us: when it ends the host is gone, the child is killed and BrokenPipeError
    is raised. ``on_wait`` is called every ``HEARTBEAT_S``. AgentError: what the child answered, or the signal
    that killed it.
    """
    child = Child(command, request)
    try:
        return child.finish(stdin, on_wait)
    finally:
        child.kill()


def _lines(
    process: Any,
    stdin: Optional[BinaryIO],
    on_wait: Callable[[], None],
    every_s: float = HEARTBEAT_S,
) -> Iterator[bytes]:
    """Until it closes its output, or has ended: what a delegate forked may hold the pipe open for ever."""
    pipe = process.stdout
    rest = b""
    watched = [pipe] if stdin is None else [pipe, stdin]
    due = time.monotonic() + every_s
    while True:
        ready = select.select(watched, [], [], max(0.0, due - time.monotonic()))[0]
        if time.monotonic() >= due:
            on_wait()
            due = time.monotonic() + every_s
            if pipe not in ready and process.poll() is not None and not select.select([pipe], [], [], 0)[0]:
                break
        if stdin in ready and not os.read(stdin.fileno(), 65536):  # type: ignore[union-attr]
            raise BrokenPipeError("the host is gone")
        if pipe in ready:
            chunk = os.read(pipe.fileno(), 65536)
            if not chunk:
                break
            pieces = (rest + chunk).split(b"\n")
            rest = pieces.pop()
            if len(rest) > MAX_LINE_BYTES:
                raise AgentError("device", "The process that ran the model writes a line without an end.", ENDLESS_HINT)
            for piece in pieces:
                yield piece
    if rest:
        yield rest


def _ended(process: Any, on_wait: Callable[[], None]) -> int:
    """Its exit status; a delegate may hang where it cleans up, when the output is closed already."""
    while True:
        try:
            return int(process.wait(HEARTBEAT_S))
        except subprocess.TimeoutExpired:
            on_wait()


def _event(line: bytes) -> Dict[str, Any]:
    """An event; empty for what is none: cut off, or written by a library that writes where it should not."""
    try:
        found = json.loads(line.decode())
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) and isinstance(found.get("event"), str) else {}


def _result(line: bytes, status: int, command: str) -> Result:
    answer = _event(line)
    event = answer.pop("event", None)
    if event == "error" and ERROR_FIELDS <= set(answer):
        # Also from a process that crashed when it ended, as a refused delegate may.
        raise AgentError(answer["kind"], answer["message"], answer["hint"], answer["details"])
    if event == "done" and status == 0:
        return answer
    how = "was killed by %s" % signal.Signals(-status).name if status < 0 else "ended with status %d" % status
    hint = "The device ran out of memory." if status == -signal.SIGKILL else "Its last words are on stderr (-v)."
    raise AgentError(
        "device",
        "The process that ran the model (%s) %s." % (command, how),
        hint + " A delegate that does not fit the runtime crashes like this; try xnnpack or none.",
        {"status": status},
    )

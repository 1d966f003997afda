"""The agent's side of the wire: one JSON line in, JSON lines out, and what a command may fail with.

Every line of stdout is an object with ``event``; the last is ``done`` or ``error``. Runtimes and delegates
print to stdout as they like, so the real one is put aside for events and file descriptor 1 becomes stderr.
"""

import io
import json
import os
import sys
from typing import Any, BinaryIO, Callable, Dict, Optional

MAX_REQUEST_BYTES = 1024 * 1024
"""A request names files and options; a longer line is none."""

Emit = Callable[..., None]
"""``emit(event, **fields)``: fields are JSON values."""
Request = Dict[str, Any]
Result = Dict[str, Any]


class AgentError(Exception):
    """A failure the user can act on; ``kind`` chooses the error class on the host.

    ``kind``: ``device`` (exit 1), ``integrity`` (8), ``self-test``, ``gate``, ``coverage`` (3) or ``measurement`` (6).
    """

    def __init__(self, kind: str, message: str, hint: str, details: Optional[Dict[str, Any]] = None) -> None:
        Exception.__init__(self, message)
        self.kind = kind
        self.message = message
        """What happened and why."""
        self.hint = hint
        """What to do next."""
        self.details = details or {}
        """JSON values."""


def take_stdout() -> BinaryIO:
    """The real stdout as a stream of our own; from now on everything else that is printed goes to stderr."""
    sys.stdout.flush()
    stream = io.open(os.dup(1), "wb")
    os.dup2(2, 1)
    return stream


def emitter(stream: BinaryIO) -> Emit:
    """``emit`` for this stream; each event is one line, flushed. BrokenPipeError: the host is gone."""

    def emit(event: str, **fields: Any) -> None:
        line = json.dumps(dict(fields, event=event), allow_nan=False, separators=(",", ":"), ensure_ascii=False)
        stream.write(line.encode("utf-8", "replace") + b"\n")  # names of files may be bytes that are no text
        stream.flush()

    return emit


def read_request(stdin: BinaryIO) -> Request:
    """The request: one JSON object on one line; raises AgentError when there is none."""
    line = stdin.readline(MAX_REQUEST_BYTES + 1)
    cause = "there is nothing on stdin" if not line else "the line does not end"
    if line.endswith(b"\n"):
        try:
            request = json.loads(line.decode())
        except (ValueError, RecursionError) as err:
            cause = str(err)
        else:
            if isinstance(request, dict):
                return request
            cause = "it is not an object"
    raise AgentError(
        "device",
        "The agent's request is not one line of JSON: %s." % cause,
        "The connection mangled it, or the agent was started by hand; edgekit writes the request itself.",
    )

"""The host at the other end of stdin and stdout: its bytes, its silence, its end."""

import contextlib
import fcntl
import select
import time
from typing import Any, BinaryIO, List, Optional

from .events import AgentError, Emit

SILENCE_S = 15.0
"""A host that owes us bytes and sends none for so long is gone."""
SET_PIPE_SIZE = 1031
"""F_SETPIPE_SZ of Linux (fcntl(2)), which Python names since 3.10."""
PIPE_BYTES = 1024 * 1024
"""The default of 64 KiB makes sshd and us take turns, a switch of processes for every packet."""
HEARTBEAT_S = 5.0
"""Longest time in which the host hears nothing while it waits for us."""


class HostGone(BrokenPipeError):
    """End of stdin: the host was interrupted, died, or lost the connection."""


class Host:
    """What a command knows of the host. The host sends payload only after an event that asked for it.

    ``stdin`` None: nobody is at the other end, as where an update client of the device started us. Then nothing ends
    early, and the events are for a log.
    """

    def __init__(self, stdin: Optional[BinaryIO], emit: Emit) -> None:
        self.stdin = stdin
        self._emit = emit
        self._said = time.monotonic()
        if stdin is None:
            return
        with contextlib.suppress(OSError, ValueError):  # no pipe, or the system's limit: then it stays as it is
            fcntl.fcntl(stdin.fileno(), SET_PIPE_SIZE, PIPE_BYTES)

    def emit(self, event: str, **fields: Any) -> None:
        """Tell the host; raises BrokenPipeError when it is gone."""
        self._emit(event, **fields)
        self._said = time.monotonic()

    def read(self, size: int) -> bytes:
        """Some bytes of payload, at most ``size``.

        Raises HostGone, or AgentError after ``SILENCE_S`` without any.
        """
        if not self._hears(SILENCE_S):
            raise AgentError(
                "device",
                "The host sent nothing for %g s in the middle of a file." % SILENCE_S,
                "The connection is stuck; do it again.",
            )
        data: bytes = self.stdin.read1(size)  # type: ignore[union-attr]
        if not data:
            raise HostGone("the host is gone")
        return data

    def pause(self, seconds: float) -> None:
        """Sleep, unless the host goes away meanwhile (HostGone); keeps it informed that we live."""
        if self._hears(seconds) and not self.stdin.read1(65536):  # type: ignore[union-attr]
            raise HostGone("the host is gone")
        self.alive()

    def _hears(self, seconds: float) -> bool:
        watched: List[BinaryIO] = [] if self.stdin is None else [self.stdin]
        return bool(select.select(watched, [], [], seconds)[0])

    def alive(self) -> None:
        """Say ``alive`` when nothing was said for ``HEARTBEAT_S``."""
        if time.monotonic() - self._said > HEARTBEAT_S:
            self.emit("alive")

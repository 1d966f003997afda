"""``clock``: what the device's monotonic clock says, asked again and again over one connection."""

import time
from typing import BinaryIO

from .events import Emit, Request, Result

MAX_PINGS = 1000


def clock(request: Request, stdin: BinaryIO, emit: Emit) -> Result:
    """The ``clock`` command: after ``ready``, every line of stdin is answered at once by a ``pong``.

    request: ``pings``: how many lines will come, at most ``MAX_PINGS``.
    """
    emit("ready")
    for _ in range(min(int(request["pings"]), MAX_PINGS)):
        if not stdin.readline(64):
            raise BrokenPipeError("the host is gone")
        emit("pong", monotonic_ns=time.monotonic_ns())
    return {}

"""This machine as a device: the same commands, through /bin/sh subprocesses."""

import os
import select
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import msgspec

from edgekit.device import Device, DeviceTable
from edgekit.errors import TransportError
from edgekit.transport import Completed
from edgekit.transport.streams import POLL_S, StreamProcess, Tail, complete

CHUNK_BYTES = 256 * 1024
GRACE_S = 2.0
"""From SIGTERM to SIGKILL."""
ROOT_VARIABLE = "EDGEKIT_LOCAL_ROOT"
"""Environment variable: edgekit's folder on this machine when it is the device; default ``~/.edgekit``."""


class LocalChannel:
    """One subprocess in a process group of its own, so that Ctrl-C reaches us and we end it."""

    def __init__(self, command: Sequence[str]) -> None:
        # exec through sh: a missing program is exit code 127 here as it is over ssh
        self._process = subprocess.Popen(
            ["/bin/sh", "-c", 'exec "$@"', "sh", *command],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            cwd=Path.home(), start_new_session=True, bufsize=0,
        )  # fmt: skip
        assert self._process.stdin is not None  # noqa: S101 - PIPE was asked for
        assert self._process.stdout is not None  # noqa: S101
        assert self._process.stderr is not None  # noqa: S101
        self._stdin, self._stdout = self._process.stdin, self._process.stdout
        os.set_blocking(self._stdin.fileno(), False)
        self._closed = False
        self._lock = threading.Lock()
        self._tail = Tail()
        self._drain = threading.Thread(target=_drain, args=(self._process.stderr, self._tail), daemon=True)
        self._drain.start()

    def send(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            with self._lock:
                if self._closed or self._stdin.closed:
                    raise TransportError("The command took no more input.", hint="It was ended; run it again.")
                try:
                    view = view[os.write(self._stdin.fileno(), view[:CHUNK_BYTES]) :]
                    continue
                except BlockingIOError:
                    pass
                except OSError as err:
                    raise TransportError(
                        "The command ended before it took all of its input.",
                        hint="See what it said; run it with -v.",
                    ) from err
            with suppress(OSError, ValueError):  # closed meanwhile: the next round says so
                select.select([], [self._stdin], [], POLL_S)

    def send_eof(self) -> None:
        with self._lock:
            self._stdin.close()

    def receive(self) -> bytes | None:
        if self._closed:
            return b""
        if not select.select([self._stdout], [], [], POLL_S)[0]:
            return None
        return os.read(self._stdout.fileno(), CHUNK_BYTES)

    def exit_code(self, timeout_s: float) -> int | None:
        try:
            code = self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None
        self._drain.join(POLL_S)
        return code if code >= 0 else 128 - code

    def stderr(self) -> bytes:
        return bytes(self._tail)

    def close(self) -> None:
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._stdin.close()
        if self._process.poll() is None:
            self._end()
        self._stdout.close()
        self._drain.join(POLL_S)

    def _end(self) -> None:
        for number in (signal.SIGTERM, signal.SIGKILL):
            os.killpg(self._process.pid, number)
            until = time.monotonic() + GRACE_S
            while self._process.poll() is None and time.monotonic() < until:
                time.sleep(0.01)
            if self._process.poll() is not None:
                return


def _drain(stream: IO[bytes], tail: Tail) -> None:
    with stream:
        while chunk := os.read(stream.fileno(), CHUNK_BYTES):
            tail.add(chunk)


class LocalConnection:
    """``transport.Connection`` to this machine."""

    def __init__(self, device: Device) -> None:
        self.device = device

    def run(self, command: Sequence[str], *, stdin: bytes = b"", timeout_s: float = 15.0) -> Completed:
        return complete(self.start(command), stdin=stdin, timeout_s=timeout_s)

    def start(self, command: Sequence[str]) -> StreamProcess:
        return StreamProcess(LocalChannel(command), device=self.device.name, command=shlex.quote(command[0]))

    def close(self) -> None:
        """Nothing is held."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def connect(device: Device, *, timeout_s: float = 10.0) -> LocalConnection:  # noqa: ARG001 - the transports' signature
    """This machine: EDGEKIT_LOCAL_ROOT replaces the default root, python is the one that runs edgekit."""
    chosen = device.table.root != DeviceTable().root
    table: DeviceTable = msgspec.structs.replace(
        device.table,
        root=device.table.root if chosen else os.environ.get(ROOT_VARIABLE) or device.table.root,
        python=device.table.python or sys.executable,
    )
    return LocalConnection(msgspec.structs.replace(device, table=table))

"""A running command on a byte channel: lines, deadlines, a feeder for stdin; shared by ssh and local."""

import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

from edgekit.errors import TransportError
from edgekit.transport import Completed, Process

MAX_LINE_BYTES = 16 * 1024 * 1024
MAX_OUTPUT_BYTES = 64 * 1024 * 1024
STDERR_TAIL_BYTES = 64 * 1024
POLL_S = 0.1
JOIN_S = 1.0
LOGIN_SCRIPTS = "Something else than what was called writes there; look at the login scripts of the device."
HANGS = "The device hangs or is overloaded; look at it with `edgekit device status`, or restart it."


class Channel(Protocol):
    """The byte level of one running command."""

    def send(self, data: bytes) -> None:
        """Send all of it to stdin; blocks; raises TransportError when the other side is gone."""

    def send_eof(self) -> None:
        """End of stdin; harmless when repeated."""

    def receive(self) -> bytes | None:
        """Some bytes of stdout, ``b""`` at its end, None when none came for ``POLL_S``; raises TransportError."""

    def exit_code(self, timeout_s: float) -> int | None:
        """Exit status once the command ended (128 + n for signal n), None while it runs."""

    def stderr(self) -> bytes:
        """The last ``STDERR_TAIL_BYTES`` of stderr so far."""

    def close(self) -> None:
        """Let go of the channel; ends the command if it still runs; wakes a blocked ``send``."""


class Tail:
    """The last bytes of a stream that another thread reads to its end."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._lock = threading.Lock()

    def add(self, chunk: bytes) -> None:
        with self._lock:
            self._data += chunk
            del self._data[:-STDERR_TAIL_BYTES]

    def __bytes__(self) -> bytes:
        with self._lock:
            return bytes(self._data)


class StreamProcess:
    """``transport.Process`` on a ``Channel``. One thread may write while another reads."""

    def __init__(self, channel: Channel, *, device: str, command: str) -> None:
        self._channel = channel
        self._buffer = bytearray()
        self._moved = time.monotonic()
        self._device = device
        self._command = command

    def write(self, data: bytes) -> None:
        self._channel.send(data)
        self._moved = time.monotonic()

    def close_stdin(self) -> None:
        self._channel.send_eof()

    def lines(self, *, timeout_s: float | None = None) -> Iterator[bytes]:
        """Lines of stdout; ``timeout_s`` counts from the last byte that moved in either direction."""
        scanned = 0
        while True:
            end = self._buffer.find(b"\n", scanned)
            if end >= 0:
                line = bytes(self._buffer[:end])
                del self._buffer[: end + 1]
                scanned = 0
                yield line
                continue
            scanned = len(self._buffer)
            if scanned > MAX_LINE_BYTES:
                raise TransportError(
                    f"{self._device}: {self._command} printed a line of more than {MAX_LINE_BYTES} bytes.",
                    hint=LOGIN_SCRIPTS,
                )
            chunk = self._receive(timeout_s)
            if not chunk:
                break
            self._buffer += chunk
        if self._buffer:
            line = bytes(self._buffer)
            self._buffer.clear()
            yield line

    def wait(self, *, timeout_s: float | None = None) -> Completed:
        """The end of the command; raises TransportError when it has not come within ``timeout_s``."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        output = bytearray(self._buffer)
        self._buffer.clear()
        ended = False
        while True:
            if not ended:
                chunk = self._channel.receive()
                ended = chunk == b""
                output += chunk or b""
                if chunk:
                    self._check_size(len(output))
            # a daemon left behind may hold stdout open: the exit status decides, not end of file
            if ended or not chunk:
                code = self._channel.exit_code(POLL_S if ended else 0)
                if code is not None:
                    # what it wrote last may have come after we looked, and before its exit status or even behind it
                    while not ended and (chunk := self._channel.receive()):
                        output += chunk
                        self._check_size(len(output))
                    return Completed(exit_code=code, stdout=bytes(output), stderr=self._channel.stderr())
            if deadline is not None and time.monotonic() > deadline:
                raise TransportError(
                    f"{self._device}: {self._command} did not end within {timeout_s:g} s.",
                    hint=HANGS,
                )

    def stderr(self) -> bytes:
        """The last of what the command wrote to stderr so far."""
        return self._channel.stderr()

    def close(self) -> None:
        """End the command if it still runs."""
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _receive(self, timeout_s: float | None) -> bytes:
        started = time.monotonic()
        while True:
            chunk = self._channel.receive()
            if chunk is not None:
                self._moved = time.monotonic()
                return chunk
            if timeout_s is not None and time.monotonic() - max(started, self._moved) > timeout_s:
                raise TransportError(
                    f"{self._device}: {self._command} said nothing for {timeout_s:g} s.",
                    hint=HANGS,
                )

    def _check_size(self, size: int) -> None:
        if size > MAX_OUTPUT_BYTES:
            raise TransportError(
                f"{self._device}: {self._command} printed more than {MAX_OUTPUT_BYTES} bytes.",
                hint=LOGIN_SCRIPTS,
            )


@dataclass
class Feed:
    """What became of the bytes for stdin."""

    error: Exception | None = None
    """Why feeding stopped early: the device took no more (TransportError) or the source failed."""

    @property
    def source_failed(self) -> bool:
        """The bytes could not be produced here: not the device's fault."""
        return self.error is not None and not isinstance(self.error, TransportError)


@contextmanager
def feeding(process: Process, chunks: Iterable[bytes], *, keep_open: bool = False) -> Iterator[Feed]:
    """Write ``chunks`` to stdin from a thread while the block reads stdout, so that neither waits.

    Enter it *before* the process (``with feeding(p, ...) as feed, p:``): leaving ends the process first,
    which releases a blocked write.
    """
    feed = Feed()

    def run() -> None:
        try:
            for chunk in chunks:
                process.write(chunk)
            if not keep_open:
                process.close_stdin()
        except TransportError as err:
            # the device may have ended on purpose: what it said on stdout tells, the reader raises
            feed.error = err
        except Exception as err:  # noqa: BLE001 - handed to the reading thread, which raises it
            feed.error = err
            process.close()

    thread = threading.Thread(target=run, name="edgekit-stdin", daemon=True)
    thread.start()
    try:
        yield feed
    finally:
        thread.join(JOIN_S)


def complete(process: StreamProcess, *, stdin: bytes, timeout_s: float) -> Completed:
    """Run to the end with ``stdin``; raises TransportError when it is not done within ``timeout_s``."""
    if not stdin:
        with process:
            process.close_stdin()
            return process.wait(timeout_s=timeout_s)
    with feeding(process, (stdin,)), process:
        return process.wait(timeout_s=timeout_s)

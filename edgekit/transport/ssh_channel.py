"""One command on an ssh connection, and when that connection counts as lost."""

import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgekit.errors import TransportError
from edgekit.transport.ssh_config import Hop
from edgekit.transport.streams import POLL_S, Tail
from edgekit.transport.tcp import DEAD_AFTER_S, Watched

if TYPE_CHECKING:
    import paramiko

CHUNK_BYTES = 256 * 1024
CLOSE_S = 1.0
"""How long a farewell may take; a dead connection must not hold up Ctrl-C."""
SIGNALLED = 255
"""Exit status of a command that a signal ended, as ssh reports it."""


@dataclass(frozen=True, kw_only=True)
class Link:
    """An authenticated transport and the stream below it."""

    hop: Hop
    transport: "paramiko.Transport"
    watched: Watched | None
    """Set behind a jump host."""

    def check(self) -> None:
        """Raise TransportError when the connection is lost."""
        if not self.transport.is_active():
            raise self.lost()
        if self.watched is not None and self.watched.silent_s > DEAD_AFTER_S:
            self.watched.close()
            raise self.lost()

    def lost(self) -> TransportError:
        """The error of a connection that was there and is gone."""
        cause = self.transport.get_exception() if not self.transport.is_active() else None
        why = cause.strerror if isinstance(cause, OSError) and cause.strerror else "closed by the other side"
        if self.watched is not None and self.watched.silent_s > DEAD_AFTER_S:
            why = "no answer"
        error = TransportError(
            f"The connection to {self.hop.name} was lost ({why}).",
            hint="Check power and network of the device, then run it again: nothing half-done is left active.",
        )
        error.__cause__ = cause
        return error


class SshChannel:
    """``streams.Channel`` of one exec request."""

    def __init__(self, link: Link, command: str) -> None:
        import paramiko

        self._link = link
        self._tail = Tail()
        try:
            self._channel = link.transport.open_session(timeout=DEAD_AFTER_S + 2)
            self._channel.settimeout(POLL_S)
            # not exec_command: it waits for the answer, a round trip in which stdin could travel already
            _request(self._channel, "exec", command, want_reply=True)
        except (paramiko.SSHException, EOFError, OSError) as err:
            link.check()
            raise TransportError(
                f"{link.hop.name} opens no session: {err}.", hint="Look at MaxSessions and the ssh server's log there."
            ) from err

    def send(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            try:
                sent = self._channel.send(view[:CHUNK_BYTES])  # type: ignore[arg-type]  # any buffer will do
            except TimeoutError:
                self._link.check()
                continue
            except (OSError, EOFError) as err:
                self._link.check()
                raise _no_more(self._link) from err
            if sent == 0:
                self._link.check()
                raise _no_more(self._link)
            view = view[sent:]

    def send_eof(self) -> None:
        with suppress(OSError, EOFError):  # a connection that is gone is told by the reader
            self._channel.shutdown_write()

    def receive(self) -> bytes | None:
        try:
            chunk = self._channel.recv(CHUNK_BYTES)
        except TimeoutError:
            self._link.check()
            return None
        finally:
            self._drain()
        if not chunk and self._channel.exit_status == -1:
            self._link.check()
        return chunk

    def exit_code(self, timeout_s: float) -> int | None:
        if not self._channel.status_event.wait(timeout_s) and not self._channel.closed:
            self._link.check()
            return None
        self._drain()
        if self._channel.exit_status == -1:
            self._link.check()
            return SIGNALLED
        return self._channel.exit_status

    def stderr(self) -> bytes:
        self._drain()
        return bytes(self._tail)

    def close(self) -> None:
        """A command that still runs gets end of file and SIGTERM: sshd itself would let it run on.

        OpenSSH delivers no signals to a root login; the agent ends at the end of its stdin too.
        """

        def farewell() -> None:
            with suppress(Exception):
                if not self._channel.exit_status_ready():
                    _request(self._channel, "signal", "TERM")
                self._channel.close()

        if self._link.transport.is_active():
            bounded(farewell)

    def _drain(self) -> None:
        """Stderr shares the channel's window with stdout: unread it would stop both."""
        while self._channel.recv_stderr_ready():
            self._tail.add(self._channel.recv_stderr(CHUNK_BYTES))


def _request(channel: "paramiko.Channel", kind: str, text: str, *, want_reply: bool = False) -> None:
    """A channel request (RFC 4254, 5.4) that waits for no answer; paramiko has no public one."""
    import paramiko

    message = paramiko.Message()
    message.add_byte(paramiko.common.cMSG_CHANNEL_REQUEST)
    message.add_int(channel.remote_chanid)
    message.add_string(kind)
    message.add_boolean(want_reply)
    message.add_string(text)
    transport: Any = channel.get_transport()
    transport._send_user_message(message)  # noqa: SLF001 - tests/unit/test_ssh.py is the canary


def _no_more(link: Link) -> TransportError:
    return TransportError(
        f"{link.hop.name}: the command ended before it took all of its input.", hint="See what it said; run it with -v."
    )


def bounded(action: Callable[[], None]) -> None:
    """Do something that a dead connection may hold up, but wait for it no longer than ``CLOSE_S``."""
    thread = threading.Thread(target=action, name="edgekit-close", daemon=True)
    thread.start()
    thread.join(CLOSE_S)

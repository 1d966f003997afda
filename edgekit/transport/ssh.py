"""Devices over ssh: paramiko on a stream of our own, strict host keys; its exceptions end here."""

import logging
import shlex
import socket
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from edgekit.device import Device
from edgekit.errors import TransportError
from edgekit.transport import Completed, host_keys
from edgekit.transport.host_keys import HostKey
from edgekit.transport.ssh_config import Hop, route
from edgekit.transport.ssh_keys import authenticate
from edgekit.transport.streams import POLL_S, StreamProcess, Tail, complete
from edgekit.transport.tcp import DEAD_AFTER_S, Stream, Watched, open_socket, run_proxy

if TYPE_CHECKING:
    import paramiko

log = logging.getLogger(__name__)

CHUNK_BYTES = 256 * 1024
CLOSE_S = 1.0
"""How long a farewell may take; a dead connection must not hold up Ctrl-C."""
PING_EVERY_S = 4.0
SIGNALLED = 255
"""Exit status of a command that a signal ended, as ssh reports it."""
CIPHERS = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com")
"""Put first: hardware AES does them at twice the speed of the CTR modes with a MAC beside them."""


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


class SshConnection:
    """``transport.Connection`` over ssh."""

    def __init__(self, device: Device, link: Link, resources: ExitStack) -> None:
        self.device = device
        self._link = link
        self._resources = resources

    def run(self, command: Sequence[str], *, stdin: bytes = b"", timeout_s: float = 15.0) -> Completed:
        return complete(self.start(command), stdin=stdin, timeout_s=timeout_s)

    def start(self, command: Sequence[str]) -> StreamProcess:
        self._link.check()
        channel = SshChannel(self._link, shlex.join(command))
        return StreamProcess(channel, device=self.device.name, command=shlex.quote(command[0]))

    def close(self) -> None:
        self._resources.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def connect(device: Device, *, timeout_s: float = 10.0) -> SshConnection:
    """Open a connection through every hop; raises TransportError, HostKeyError or AuthenticationError."""
    with ExitStack() as resources:
        *jumps, target = route(device)
        link: Link | None = None
        for hop in jumps:
            link = _link(hop, link, resources, timeout_s)
        link = _link(target, link, resources, timeout_s)
        return SshConnection(device, link, resources.pop_all())


def scan(device: Device, *, timeout_s: float = 10.0) -> tuple[Hop, HostKey]:
    """The key the device shows now, not compared with anything; jump hosts on the way are checked strictly."""
    with ExitStack() as resources:
        *jumps, target = route(device)
        link: Link | None = None
        for hop in jumps:
            link = _link(hop, link, resources, timeout_s)
        return target, _shown_key(
            _handshake(target, _stream(target, link, resources, timeout_s), (), resources, timeout_s)
        )


def _link(hop: Hop, through: Link | None, resources: ExitStack, timeout_s: float) -> Link:
    stream = _stream(hop, through, resources, timeout_s)
    kinds = tuple(entry.key.kind for entry in host_keys.known_entries(hop) if not entry.revoked)
    transport = _handshake(hop, stream, kinds, resources, timeout_s)
    host_keys.verify(hop, _shown_key(transport))
    transport.auth_timeout = timeout_s
    authenticate(transport, hop)
    if not isinstance(stream, Watched):
        return Link(hop=hop, transport=transport, watched=None)
    threading.Thread(target=_ping, args=(transport,), name="edgekit-ping", daemon=True).start()
    return Link(hop=hop, transport=transport, watched=stream)


def _stream(hop: Hop, through: Link | None, resources: ExitStack, timeout_s: float) -> Stream:
    import paramiko

    if through is not None:
        try:
            channel = through.transport.open_channel(
                "direct-tcpip", (hop.host, hop.port), ("127.0.0.1", 0), timeout=timeout_s
            )
        except (paramiko.SSHException, EOFError, OSError) as err:
            through.check()
            raise TransportError(
                f"{through.hop.name} cannot open a connection to {hop.address}: {err}.",
                hint="Check that address from the jump host; its sshd needs AllowTcpForwarding.",
            ) from err
        return Watched(channel)
    if hop.proxy_command is not None:
        proxy, end = run_proxy(hop, hop.proxy_command)
        resources.callback(end)
        resources.callback(proxy.close)
        return Watched(proxy)
    connection = open_socket(hop, timeout_s=min(timeout_s, hop.connect_timeout_s or timeout_s))
    resources.callback(connection.close)
    return connection


def _handshake(
    hop: Hop, stream: Stream, kinds: Sequence[str], resources: ExitStack, timeout_s: float
) -> "paramiko.Transport":
    """Agree on keys; asks for a host key of the ``kinds`` that are known, so that a known one is compared."""
    import paramiko

    transport = paramiko.Transport(stream)  # type: ignore[arg-type]  # a socket or anything with its four methods
    resources.callback(_close, transport, stream)
    transport.banner_timeout = transport.handshake_timeout = timeout_s
    options = transport.get_security_options()
    options.ciphers = (*CIPHERS, *(name for name in options.ciphers if name not in CIPHERS))
    known = {name for kind in kinds for name in (("rsa-sha2-512", "rsa-sha2-256") if kind == "ssh-rsa" else (kind,))}
    options.key_types = tuple(sorted(options.key_types, key=lambda name: name not in known))
    started = time.monotonic()
    try:
        transport.start_client(timeout=timeout_s)
    except (paramiko.SSHException, EOFError, OSError) as err:
        raise _no_handshake(hop, err) from err
    if not transport.initial_kex_done:
        raise TransportError(
            f"{hop.name}: {hop.address} did not finish the ssh handshake within {time.monotonic() - started:.0f} s.",
            hint="The device is overloaded or the network drops packets; try again.",
        )
    return transport


def _no_handshake(hop: Hop, err: Exception) -> TransportError:
    text = str(err)
    if "banner" in text:
        return TransportError(
            f"{hop.name}: {hop.address} answers, but not as an ssh server ({text.splitlines()[0]}).",
            hint="Is the port right? An ssh server that is overloaded or blocks this address also hangs up here.",
        )
    if "no acceptable" in text.lower() or type(err).__name__ == "IncompatiblePeer":
        return TransportError(
            f"{hop.name}: {hop.address} shares no algorithm with edgekit: {text}.",
            hint="Update the ssh server on the device: what it offers is no longer considered safe.",
        )
    return TransportError(
        f"{hop.name}: {hop.address} closed the connection during the ssh handshake: {text or type(err).__name__}.",
        hint="Try again; look at the ssh server's log there (MaxStartups, AllowUsers, fail2ban).",
    )


def _shown_key(transport: "paramiko.Transport") -> HostKey:
    key = transport.get_remote_server_key()
    return HostKey(key.get_name(), key.asbytes())


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


def _ping(transport: "paramiko.Transport") -> None:
    """Make a far end behind a jump host speak, so that its silence means something."""
    while transport.is_active():
        with suppress(Exception):
            transport.global_request("keepalive@openssh.com", wait=True)
        time.sleep(PING_EVERY_S)


def _close(transport: "paramiko.Transport", stream: Stream) -> None:
    if isinstance(stream, socket.socket):
        with suppress(OSError):
            stream.shutdown(socket.SHUT_RDWR)  # releases whoever waits in it
    bounded(transport.close)


def _no_more(link: Link) -> TransportError:
    return TransportError(
        f"{link.hop.name}: the command ended before it took all of its input.", hint="See what it said; run it with -v."
    )


def bounded(action: Callable[[], None]) -> None:
    """Do something that a dead connection may hold up, but wait for it no longer than ``CLOSE_S``."""
    thread = threading.Thread(target=action, name="edgekit-close", daemon=True)
    thread.start()
    thread.join(CLOSE_S)

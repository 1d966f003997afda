"""The byte stream below ssh: a socket that notices a dead peer within seconds, a proxy command, a jump."""

import errno
import os
import shlex
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from typing import Protocol

from edgekit.errors import TransportError
from edgekit.transport.ssh_config import Hop

DEAD_AFTER_S = 10
"""Unacknowledged data or unanswered probes for this long: the peer is gone. A plain socket waits 15 minutes."""
PROBE_IDLE_S, PROBE_EVERY_S, PROBES = 4, 2, 3
"""Probes of an idle connection: ends it after 4 + 3 * 2 s, so a wait for an answer ends as a send does."""


class Stream(Protocol):
    """What paramiko needs of a socket."""

    def send(self, data: bytes, /) -> int: ...
    def recv(self, size: int, /) -> bytes: ...
    def settimeout(self, timeout_s: float | None, /) -> None: ...
    def close(self) -> None: ...


def open_socket(hop: Hop, *, timeout_s: float) -> socket.socket:
    """Connect to the first address that answers; raises TransportError with cause and next step."""
    deadline = time.monotonic() + timeout_s
    try:
        addresses = socket.getaddrinfo(hop.host, hop.port, type=socket.SOCK_STREAM)
    except OSError as err:
        raise TransportError(
            f"{hop.name}: the name {hop.host!r} cannot be resolved: {err.strerror}.",
            hint="Check the spelling and the network, or give its address with `edgekit device add --host`.",
        ) from err
    failure: OSError = TimeoutError()
    for family, kind, protocol, _, address in addresses:
        remaining = deadline - time.monotonic()
        if remaining <= 0:
            break
        connection = socket.socket(family, kind, protocol)
        try:
            _set_options(connection)
            connection.settimeout(remaining)
            connection.connect(address)
        except OSError as err:
            connection.close()
            failure = err
        except BaseException:
            connection.close()
            raise
        else:
            return connection
    raise _unreachable(hop, failure, timeout_s) from failure


def run_proxy(hop: Hop, command: str) -> tuple[socket.socket, Callable[[], None]]:
    """Start a ProxyCommand with a socket as its stdin and stdout; the function ends it."""
    ours, theirs = socket.socketpair()
    with theirs:
        process = subprocess.Popen(
            ["/bin/sh", "-c", f"exec {command}"],
            stdin=theirs.fileno(),
            stdout=theirs.fileno(),
            start_new_session=True,
        )

    def end() -> None:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
        process.wait()

    try:
        process.wait(0.05)
    except subprocess.TimeoutExpired:
        return ours, end
    ours.close()
    raise TransportError(
        f"{hop.name}: the ProxyCommand {shlex.split(command)[0]} ended at once with {process.returncode}.",
        hint="Run `ssh` with the same host to see why, or use ProxyJump.",
    )


class Watched:
    """A stream through a jump host, of which nobody but us would notice that its far end is gone."""

    def __init__(self, inner: Stream) -> None:
        self._inner = inner
        self._heard = time.monotonic()
        self._closed = False  # paramiko looks at it, as at a socket's

    @property
    def silent_s(self) -> float:
        """Seconds since the far end was heard."""
        return time.monotonic() - self._heard

    def send(self, data: bytes, /) -> int:
        return self._inner.send(data)

    def recv(self, size: int, /) -> bytes:
        data = self._inner.recv(size)
        if data:
            self._heard = time.monotonic()
        return data

    def settimeout(self, timeout_s: float | None, /) -> None:
        self._inner.settimeout(timeout_s)

    def close(self) -> None:
        self._closed = True
        self._inner.close()


def _set_options(connection: socket.socket) -> None:
    """Without NODELAY every small packet waits for the peer's delayed acknowledgement."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    # getattr: macOS names and has only some of them
    for name, value in (
        ("TCP_USER_TIMEOUT", DEAD_AFTER_S * 1000),
        ("TCP_KEEPIDLE", PROBE_IDLE_S),
        ("TCP_KEEPALIVE", PROBE_IDLE_S),
        ("TCP_KEEPINTVL", PROBE_EVERY_S),
        ("TCP_KEEPCNT", PROBES),
    ):
        option = getattr(socket, name, None)
        if option is not None:
            connection.setsockopt(socket.IPPROTO_TCP, option, value)


def _unreachable(hop: Hop, err: OSError, timeout_s: float) -> TransportError:
    if isinstance(err, ConnectionRefusedError):
        return TransportError(
            f"{hop.name}: {hop.address} refuses connections.",
            hint="Is the ssh server running there (`sudo systemctl start ssh`), and is the port right?",
        )
    if isinstance(err, TimeoutError):
        return TransportError(
            f"{hop.name}: {hop.address} did not answer within {timeout_s:g} s.",
            hint="Is it switched on and on this network? A firewall that drops packets looks the same.",
        )
    if err.errno in {errno.EHOSTUNREACH, errno.ENETUNREACH}:
        return TransportError(
            f"{hop.name}: there is no route to {hop.address}.",
            hint="Is it switched on and on this network? Check the address; a jump host may be needed (`jump`).",
        )
    return TransportError(
        f"{hop.name}: {hop.address} cannot be reached: {err.strerror or err}.", hint="Check address, port and network."
    )

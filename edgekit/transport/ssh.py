"""Devices over ssh: paramiko on a stream of our own, strict host keys; its exceptions end here."""

import shlex
import socket
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from types import TracebackType
from typing import TYPE_CHECKING, Self

from edgekit.device import Device
from edgekit.errors import TransportError
from edgekit.transport import Completed, host_keys
from edgekit.transport.host_keys import HostKey
from edgekit.transport.ssh_channel import Link, SshChannel, bounded
from edgekit.transport.ssh_config import Hop, route
from edgekit.transport.ssh_keys import authenticate
from edgekit.transport.streams import StreamProcess, complete
from edgekit.transport.tcp import Stream, Watched, open_socket, run_proxy

if TYPE_CHECKING:
    import paramiko

PING_EVERY_S = 4.0
CIPHERS = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com")
"""Put first: hardware AES does them at twice the speed of the CTR modes with a MAC beside them."""


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

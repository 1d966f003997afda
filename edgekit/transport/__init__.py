"""Run a command, move bytes: what a device must offer, and which module offers it.

A transport is a module with ``connect``; a new one is a new file and a line in ``TRANSPORTS``.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self, cast

from edgekit.device import Device, resolve_device
from edgekit.errors import DeviceConfigError


@dataclass(frozen=True, kw_only=True)
class Completed:
    """A command that ended."""

    exit_code: int
    stdout: bytes
    stderr: bytes


class Process(Protocol):
    """A command that runs on the device, with its three streams.

    Used as a context manager; leaving it early closes stdin and ends the command there.
    """

    def write(self, data: bytes) -> None:
        """Send bytes to stdin; blocks when the device is slow; raises TransportError when it takes no more."""

    def close_stdin(self) -> None:
        """Say end of file."""

    def lines(self, *, timeout_s: float | None = None) -> Iterator[bytes]:
        """Lines of stdout as they come, without the newline; a line is at most 16 MiB.

        Raises TransportError when the connection is lost or nothing moved in either direction for ``timeout_s``.
        """

    def wait(self, *, timeout_s: float | None = None) -> Completed:
        """Wait for the end; stdout holds what ``lines`` did not take, stderr its last 64 KiB.

        Raises TransportError when the connection is lost or the end has not come within ``timeout_s``.
        """

    def close(self) -> None:
        """End the command if it still runs; releases a ``write`` or ``lines`` that waits in another thread."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Connection(Protocol):
    """An open way to one device."""

    device: Device

    def run(self, command: Sequence[str], *, stdin: bytes = b"", timeout_s: float = 15.0) -> Completed:
        """Run a command to its end. Arguments are quoted here, never by the caller.

        Raises:
            TransportError: connection lost, or not done within ``timeout_s``.
        """

    def start(self, command: Sequence[str]) -> Process:
        """Start a command and talk to it."""

    def close(self) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class TransportModule(Protocol):
    """What a module of this package provides."""

    def connect(self, device: Device, *, timeout_s: float = 10.0) -> Connection:
        """Open a connection; raises TransportError (exit code 4) with cause and next step."""


def find_device(name: str, directory: Path = Path()) -> Device:
    """What a user calls a device: a configured name, local, user@host[:port], or a ``Host`` of the ssh config.

    Raises:
        DeviceConfigError: none of these, with the closest names.
    """
    try:
        return resolve_device(name, directory)
    except DeviceConfigError:
        from edgekit.transport.ssh_config import host_names

        return resolve_device(name, directory, ssh_hosts=host_names())


TRANSPORTS = {"ssh": "edgekit.transport.ssh", "local": "edgekit.transport.local"}
"""Device.transport -> module, imported when it is needed (paramiko takes half a second)."""


def connect(device: Device, *, timeout_s: float = 10.0) -> Connection:
    """Open a connection to ``device`` by its transport."""
    module = cast(TransportModule, import_module(TRANSPORTS[device.transport]))
    return module.connect(device, timeout_s=timeout_s)

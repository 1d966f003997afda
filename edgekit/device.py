"""``device_configs/*.toml`` -> ``Device``: the boards a user keeps, and what stands in for a name."""

import difflib
import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Annotated

import msgspec

from edgekit.documents import Document, read_toml
from edgekit.errors import DeviceConfigError

Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]
DEVICE_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")
LOCAL = "local"
PLAIN_DELEGATES = ("xnnpack", "none")
"""Delegates every TFLite runtime has: an artifact for them needs nothing of its board."""


class DeviceTable(Document, frozen=True, kw_only=True):
    """One ``[device.NAME]`` table."""

    target: str | None = None
    """Name of the target profile; None: an artifact of any target is checked against the machine itself."""
    host: str | None = None
    """Host name, address, or a ``Host`` of ~/.ssh/config. Default: the device's name."""
    port: Port | None = None
    user: str | None = None
    identity_file: str | None = None
    jump: str | None = None
    """``[user@]host[:port]`` to go through, as ssh -J."""
    groups: tuple[str, ...] = ()
    root: str = "~/.edgekit"
    """Folder on the device where edgekit keeps its files; ``~`` is the login user's home."""
    python: str | None = None
    """Interpreter on the device; default: the one ``edgekit device setup`` made, else ``python3``."""
    delegate: str | None = None
    """Delegate instead of the profile's, such as a path to ``libedgetpu.so.1``."""
    delegate_options: dict[str, str] = msgspec.field(default_factory=dict)
    """Handed to the delegate library when it is loaded, over the profile's; for the library that is used here."""


class Device(Document, frozen=True, kw_only=True):
    """A device, resolved: what a transport needs to reach it."""

    name: str
    transport: str
    """``ssh`` or ``local``."""
    table: DeviceTable = DeviceTable()
    origin: str = "argument"
    """The file the device was read from, or ``argument``."""

    @property
    def host(self) -> str:
        """What to connect to (still subject to ~/.ssh/config)."""
        return self.table.host or self.name


class Inventory(Document, frozen=True, kw_only=True):
    """One file of ``device_configs/``."""

    device: dict[str, DeviceTable]


def choose_delegate(
    table: DeviceTable,
    *,
    own: str,
    own_options: Mapping[str, str],
    asked: str | None = None,
    asked_options: Mapping[str, str] = MappingProxyType({}),
) -> tuple[str, dict[str, str]]:
    """The delegate to use, and the options it is loaded with.

    asked: the command line's, which comes before the device's, which comes before the model's ``own``. Options go with
    the library they are for, by its file name: another library gets none of them.

    Raises:
        DeviceConfigError: ``asked_options`` for xnnpack or none, which take no options.
    """
    delegate = asked or table.delegate or own
    if delegate in PLAIN_DELEGATES and asked_options:
        raise DeviceConfigError(
            f"The delegate {delegate} takes no options; {', '.join(sorted(asked_options))} was given.",
            hint="Name the library that they are for with --delegate, or leave --delegate-option away.",
        )
    if delegate in PLAIN_DELEGATES:
        return delegate, {}
    given = ((own, own_options), (table.delegate or own, table.delegate_options), (delegate, asked_options))
    fitting = (options for name, options in given if PurePosixPath(name).name == PurePosixPath(delegate).name)
    return delegate, {key: value for options in fitting for key, value in options.items()}


def inventory_files(directory: Path) -> tuple[Path, ...]:
    """The inventory files below ``directory``, by name."""
    return tuple(sorted((directory / "device_configs").glob("*.toml")))


def list_devices(directory: Path = Path()) -> tuple[Device, ...]:
    """Every configured device; raises DeviceConfigError for an invalid file or a name given twice."""
    devices: dict[str, Device] = {}
    for path in inventory_files(directory):
        for name, table in read_toml(path, Inventory, DeviceConfigError).device.items():
            if not DEVICE_NAME.match(name) or name == LOCAL:
                raise DeviceConfigError(
                    f"{path}: {name!r} cannot be the name of a device.",
                    hint="Use letters, digits, '.', '_' and '-'; 'local' is this machine.",
                )
            if name in devices:
                raise DeviceConfigError(
                    f"Device {name!r} is in {devices[name].origin} and in {path}.",
                    hint="Remove one of the two.",
                )
            devices[name] = Device(name=name, transport="ssh", table=table, origin=str(path))
    return tuple(devices.values())


def resolve_device(
    name: str, directory: Path = Path(), *, ssh_hosts: Mapping[str, object] | frozenset[str] = frozenset()
) -> Device:
    """A configured name, ``local``, a ``Host`` of ssh config (``ssh_hosts``) or ``user@host[:port]``.

    Raises:
        DeviceConfigError: none of these, with the closest names.
    """
    if name == LOCAL:
        return Device(name=LOCAL, transport=LOCAL)
    devices = {device.name: device for device in list_devices(directory)}
    if name in devices:
        return devices[name]
    match = re.fullmatch(
        r"(?P<user>[A-Za-z0-9._-]+)@(?P<host>\[[0-9A-Fa-f:]+\]|[A-Za-z0-9._-]+)(:(?P<port>\d+))?", name
    )
    if match is not None and not match["host"].startswith("-"):
        port = int(match["port"]) if match["port"] else None
        if port is None or 1 <= port <= 65535:  # noqa: PLR2004
            table = DeviceTable(host=match["host"].strip("[]"), user=match["user"], port=port)
            return Device(name=name, transport="ssh", table=table)
    if name in ssh_hosts:
        return Device(name=name, transport="ssh", table=DeviceTable(host=name), origin="~/.ssh/config")
    close = difflib.get_close_matches(name, [*devices, LOCAL], n=3)
    raise DeviceConfigError(
        f"There is no device {name!r}.",
        hint=(f"Did you mean {' or '.join(close)}? " if close else "")
        + "Add it with `edgekit device add`, or write user@host[:port], a Host of ~/.ssh/config, or local.",
    )

"""Tables of ``device_configs/*.toml`` added and removed, with the rest of the file, comments too, left as it is."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from edgekit.device import DEVICE_NAME, LOCAL, Device, DeviceTable, Inventory, list_devices, resolve_device
from edgekit.documents import convert, read_toml
from edgekit.errors import DeviceConfigError
from edgekit.files import replace_file

if TYPE_CHECKING:
    import tomlkit


def add_device(name: str, table: DeviceTable, path: Path, directory: Path = Path()) -> Device:
    """Write a new table into ``path``; raises DeviceConfigError for a name that is taken or cannot be one."""
    import tomlkit

    if not DEVICE_NAME.match(name) or name == LOCAL:
        raise DeviceConfigError(
            f"{name!r} cannot be the name of a device.",
            hint="Use letters, digits, '.', '_' and '-'; 'local' is this machine.",
        )
    taken = _find(name, directory)
    if taken is not None:
        raise DeviceConfigError(
            f"There is a device {name!r} already, in {taken.origin}.",
            hint=f"Choose another name, edit the file, or run `edgekit device remove {name}` first.",
        )
    document = _read(path) if path.exists() else tomlkit.document()
    entry = tomlkit.table()
    for field in msgspec.structs.fields(DeviceTable):
        value = getattr(table, field.name)
        if value != getattr(DeviceTable(), field.name):
            entry[field.name] = list(value) if isinstance(value, tuple) else value
    devices: Any = document.setdefault("device", tomlkit.table(is_super_table=True))
    devices[name] = entry
    text = tomlkit.dumps(document)
    convert(tomlkit.parse(text).unwrap(), Inventory, DeviceConfigError, where=str(path))
    _write(path, text)
    return Device(name=name, transport="ssh", table=table, origin=str(path))


def remove_device(name: str, directory: Path = Path()) -> Device:
    """Take the table of ``name`` out of its file; a file in which nothing is left goes too."""
    import tomlkit

    device = _find(name, directory)
    if device is None:
        resolve_device(name, directory)  # raises with the closest names, unless it is one that needs no table
        raise DeviceConfigError(
            f"{name!r} is in no file of device_configs/, so there is nothing to remove.",
            hint="`edgekit device list` shows what is configured.",
        )
    path = Path(device.origin)
    document = _read(path)
    devices: Any = document["device"]
    del devices[name]
    if not devices:
        del document["device"]
    text = tomlkit.dumps(document)
    if not text.strip():
        path.unlink()
    else:
        _write(path, text if devices else f"{text.rstrip()}\n\n[device]\n")
    return device


def _find(name: str, directory: Path) -> Device | None:
    return next((device for device in list_devices(directory) if device.name == name), None)


def _read(path: Path) -> "tomlkit.TOMLDocument":
    import tomlkit

    read_toml(path, Inventory, DeviceConfigError)
    return tomlkit.parse(path.read_text())


def _write(path: Path, text: str) -> None:
    """The whole file or nothing of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, text.encode())

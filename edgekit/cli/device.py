"""``edgekit device list|add|remove|trust|rekey|setup|status``."""

import re
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgekit.cli.options import common, console, emit, option, output, progress

if TYPE_CHECKING:
    from edgekit.device import Device
    from edgekit.transport.host_keys import HostKey
    from edgekit.transport.ssh_config import Hop

AT_ONCE = 8
"""Devices asked at the same time."""


@click.group()
def command() -> None:
    """The boards on your desk and in the field: device_configs/*.toml, and what is on them."""


@command.command("list")
@common
def list_command(*, as_json: bool, verbose: bool) -> None:  # noqa: ARG001 - verbose acts in its callback
    """Show every configured device."""
    from edgekit.device import list_devices

    devices = list_devices()
    if as_json:
        emit({"devices": devices})
        return
    from rich.table import Table

    table = Table("device", "target", "address", "groups", "file", box=None, pad_edge=False)
    for device in devices:
        table.add_row(
            device.name, device.table.target or "-", _address(device), " ".join(device.table.groups), device.origin
        )
    table.add_row("local", "-", "this machine", "", "")
    output().print(table)


@command.command("add")
@click.argument("name")
@option("--host", help="Host name, address, or a Host of ~/.ssh/config.  [default: NAME]")
@option("--user", help="Login there.")
@option("--port", type=click.IntRange(1, 65535), help="Port of its ssh server.")
@option("--target", help="Target profile, such as rpi4.")
@option("--identity-file", help="Private key that may log in.")
@option("--jump", help="[user@]host[:port] to go through.")
@option("--group", "groups", multiple=True, help="A group it belongs to; may be repeated.")
@option("--root", help="edgekit's folder on the device.  [default: ~/.edgekit]")
@option("--python", help="Interpreter there.  [default: the one of `device setup`, else python3]")
@option("--delegate", help="Delegate instead of the profile's, such as a path to libedgetpu.so.1.")
@option(
    "--file",
    "path",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("device_configs") / "devices.toml",
    show_default=True,
    help="Where to write it.",
)
@common
def add_command(
    name: str,
    *,
    path: Path,
    groups: tuple[str, ...],
    as_json: bool,
    verbose: bool,  # noqa: ARG001 - acts in its callback
    **settings: Any,
) -> None:
    """Add a device, keeping what else is in the file."""
    from edgekit.device import DeviceTable
    from edgekit.inventory import add_device
    from edgekit.target import load_target

    if settings["target"] is not None:
        load_target(settings["target"])
    if path.resolve().parent != Path("device_configs").resolve() or path.suffix != ".toml":
        raise click.UsageError("--file must be a .toml file in device_configs/, where devices are looked for.")
    given = {key: value for key, value in settings.items() if value is not None}
    device = add_device(name, DeviceTable(**given, groups=groups), path)
    if as_json:
        emit({"device": device})
        return
    console().print(f"Added {name} ({_address(device)}) to {path}.")
    console().print(f"Next: edgekit device trust {name}, then edgekit device setup {name}.")


@command.command("remove")
@click.argument("name")
@common
def remove_command(name: str, *, as_json: bool, verbose: bool) -> None:  # noqa: ARG001
    """Take a device out of its file. Nothing on the device itself changes."""
    from edgekit.inventory import remove_device

    device = remove_device(name)
    if as_json:
        emit({"removed": device})
    else:
        console().print(f"Removed {name} from {device.origin}.")


def _address(device: "Device") -> str:
    table = device.table
    user, port = f"{table.user}@" if table.user else "", f":{table.port}" if table.port else ""
    return f"{user}{device.host}{port}" + (f" through {table.jump}" if table.jump else "")


def _fingerprint(_context: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    if value is not None and not re.fullmatch(r"SHA256:[A-Za-z0-9+/]{43}=?", value):
        raise click.BadParameter("write it as ssh-keygen -l does: SHA256: and 43 characters.")
    return value.rstrip("=") if value is not None else None


_yes = option("--yes", is_flag=True, help="Do not ask: trust what is shown.")
_expected = option(
    "--fingerprint", "expected", callback=_fingerprint, help="Do not ask: trust the key if it is SHA256:..."
)


@command.command("trust", short_help="Show the host key of a new device and keep it.")
@click.argument("name")
@_yes
@_expected
@common
def trust_command(name: str, *, yes: bool, expected: str | None, as_json: bool, verbose: bool) -> None:  # noqa: ARG001
    """Show the host key of a new device and, once confirmed, keep it in .edgekit/known_hosts."""
    from edgekit.errors import HostKeyError
    from edgekit.transport import host_keys

    hop, key, known = _scan(name)
    if known and key not in known:
        host_keys.verify(hop, key)
        raise HostKeyError(f"The host key of {name} has changed.", hint=f"Run `edgekit device rekey {name}`.")
    if expected is not None:
        _compare(hop, key, expected)
    if not known:
        console().print(f"{name} ({hop.address}) shows {key}")
        if expected is None and not yes:
            _confirm(name, "Is this the fingerprint of the device?")
        host_keys.remember(hop, key)
    if as_json:
        emit({"device": name, "host": hop.host_key_name, "kind": key.kind, "fingerprint": key.fingerprint,
              "known_before": bool(known)})  # fmt: skip
    else:
        console().print(f"{name} is {'known already' if known else 'trusted now'}: {key}")


@command.command("rekey", short_help="Replace the host key of a device that was reflashed.")
@click.argument("name")
@_yes
@_expected
@common
def rekey_command(name: str, *, yes: bool, expected: str | None, as_json: bool, verbose: bool) -> None:  # noqa: ARG001
    """Replace the host key of a device that was reflashed; old and new go into .edgekit/rekey.log."""
    from edgekit.errors import HostKeyError
    from edgekit.transport import host_keys

    hop, key, known = _scan(name)
    if not known:
        raise HostKeyError(
            f"No host key of {name} is known, so there is none to replace.", hint=f"Run `edgekit device trust {name}`."
        )
    changed = key not in known
    if expected is not None:
        _compare(hop, key, expected)
    if changed:
        for old in known:
            console().print(f"known: {old}")
        console().print(f"shown: {key}")
        if expected is None and not yes:
            _confirm(name, "Was the device reflashed, and is this its new key?")
        host_keys.log_rekey(hop, known, key)
        host_keys.remember(hop, key)
    if as_json:
        emit({"device": name, "host": hop.host_key_name, "changed": changed, "fingerprint": key.fingerprint,
              "old": [old.fingerprint for old in known]})  # fmt: skip
    else:
        console().print(f"{name}: {'replaced, ' + str(key) if changed else 'the host key is the one that is known.'}")


@command.command("setup", short_help="Install a TFLite runtime on a device; it needs no internet.")
@click.argument("name")
@common
def setup_command(name: str, *, as_json: bool, verbose: bool) -> None:  # noqa: ARG001
    """Install a TFLite runtime on a device, from wheels fetched here: it needs neither pip nor internet."""
    from edgekit.provision import setup
    from edgekit.transport import connect, find_device

    with progress() as bar, connect(find_device(name)) as connection:
        task = bar.add_task("looking at the device", total=None)
        installed = setup(
            connection,
            on_progress=lambda what, done, total: bar.update(task, description=what, completed=done, total=total),
        )
    if as_json:
        emit({"device": name, "runtime": installed})
        return
    word = "installed" if installed.changed else "there already"
    console().print(f"{name}: {installed.name} {installed.version} {word}, Python {installed.python}.")


@command.command("status", short_help="Ask devices what they are and which models are active.")
@click.argument("names", nargs=-1)
@common
def status_command(names: tuple[str, ...], *, as_json: bool, verbose: bool) -> None:  # noqa: ARG001
    """Ask devices what they are and which models are active; all configured ones without NAMES.

    Exit code 5 when some of several devices cannot be asked, that of the error itself when it is the only one.
    """
    from edgekit.cli.device_status import ask, describe, print_status
    from edgekit.device import list_devices
    from edgekit.errors import EdgekitError
    from edgekit.transport import find_device

    devices = [find_device(name) for name in names] or list(list_devices())
    if not devices and not as_json:
        console().print("No device is configured: edgekit device add NAME. This machine: edgekit device status local.")
        return
    with ThreadPoolExecutor(AT_ONCE) as pool:
        answers = list(pool.map(ask, devices))
    failed = [answer for answer in answers if isinstance(answer, EdgekitError)]
    if len(devices) == 1 and failed:
        raise failed[0]
    if as_json:
        emit({"devices": [describe(*pair) for pair in zip(devices, answers, strict=True)]})
    else:
        print_status(devices, answers)
    if failed:
        click.get_current_context().exit(5 if len(failed) < len(devices) else failed[0].exit_code)


def _scan(name: str) -> "tuple[Hop, HostKey, list[HostKey]]":
    """The way to the device, the key it shows, and the keys that are known of it."""
    from edgekit.errors import DeviceConfigError
    from edgekit.transport import find_device, host_keys, ssh

    device = find_device(name)
    if device.transport != "ssh":
        raise DeviceConfigError(
            f"{name} is not reached over ssh: it has no host key.", hint="Nothing needs to be done."
        )
    hop, key = ssh.scan(device)
    return hop, key, [entry.key for entry in host_keys.known_entries(hop) if not entry.revoked]


def _compare(hop: "Hop", key: "HostKey", expected: str) -> None:
    from edgekit.errors import HostKeyError

    if key.fingerprint != expected:
        raise HostKeyError(
            f"{hop.name} ({hop.address}) shows {key}; expected {expected}.",
            hint="That is another machine or another key: nothing was trusted.",
            details={"found": key.fingerprint, "expected": expected},
        )


def _confirm(name: str, question: str) -> None:
    from edgekit.errors import HostKeyError

    if not sys.stdin.isatty():
        raise HostKeyError(
            f"The host key of {name} was not confirmed: there is no terminal to ask on.",
            hint="Give --fingerprint SHA256:... with the device's own, or --yes to trust what it shows.",
        )
    click.confirm(question, abort=True, err=True)

"""``~/.ssh/config`` and a device's table -> the hops that lead to the device."""

import getpass
import glob
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgekit.device import Device
from edgekit.errors import DeviceConfigError, TransportError

CONFIG_VARIABLE = "EDGEKIT_SSH_CONFIG"
"""Environment variable: read this file instead of ~/.ssh/config and /etc/ssh/ssh_config, as ``ssh -F``."""
SYSTEM_CONFIG = Path("/etc/ssh/ssh_config")
SYSTEM_KNOWN_HOSTS = ("/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2")
USER_KNOWN_HOSTS = ("~/.ssh/known_hosts", "~/.ssh/known_hosts2")
DEFAULT_IDENTITIES = ("~/.ssh/id_ed25519", "~/.ssh/id_ecdsa", "~/.ssh/id_rsa")
MAX_HOPS = 8
MAX_INCLUDES = 16
SSH_PORT = 22


@dataclass(frozen=True, kw_only=True)
class Hop:
    """One ssh server on the way, everything resolved."""

    name: str
    """What the user calls it."""
    host: str
    port: int
    user: str
    identity_files: tuple[str, ...]
    """Private keys that were named for it; empty: the usual ones of ~/.ssh."""
    identities_only: bool
    """Offer no other keys of the agent than those of ``identity_files``."""
    agent_socket: str | None
    """Socket of the ssh agent; None: there is none."""
    known_hosts_files: tuple[Path, ...]
    """The user's and the system's; the project's own comes on top."""
    host_key_alias: str | None
    proxy_command: str | None
    """Only of the first hop: a command whose stdin and stdout are the connection."""
    connect_timeout_s: float | None

    @property
    def host_key_name(self) -> str:
        """What known_hosts files call it: ``host``, or ``[host]:port`` where the port is not 22."""
        if self.host_key_alias is not None:
            return self.host_key_alias
        return self.host if self.port == SSH_PORT else f"[{self.host}]:{self.port}"

    @property
    def address(self) -> str:
        """For messages."""
        return f"{self.host} port {self.port}"


def host_names() -> frozenset[str]:
    """Every ``Host`` of the ssh config without a wildcard."""
    names: set[str] = set()
    for path in _config_files():
        for keyword, value in map(_split, _lines(path)):
            if keyword == "host":
                names.update(word.strip('"') for word in value.split() if not set("*?!") & set(word))
    return frozenset(names)


def route(device: Device) -> tuple[Hop, ...]:
    """The hops to a device, the device last; raises DeviceConfigError, TransportError for what cannot be followed."""
    configs = tuple(_load(path) for path in _config_files())
    table = device.table
    options = _lookup(configs, device.host)
    hop = _hop(device.name, device.host, options, user=table.user, port=table.port, identity=table.identity_file)
    jumps = table.jump or _text(options, "proxyjump")
    before = () if jumps is None or jumps.lower() == "none" else _jumps(configs, jumps, depth=1)
    return (*before, hop)


def _jumps(configs: tuple[Any, ...], jumps: str, *, depth: int) -> tuple[Hop, ...]:
    if depth > MAX_HOPS:
        raise DeviceConfigError(f"ProxyJump {jumps!r} leads in a circle.", hint="Correct ProxyJump in the ssh config.")
    hops: list[Hop] = []
    for item in jumps.split(","):
        match = re.fullmatch(
            r"(?:ssh://)?(?:([^@\s]+)@)?(\[[^\]]+\]|[^:@\s\[\]-][^:@\s\[\]]*)(?::(\d+))?/?", item.strip()
        )
        if match is None:
            raise DeviceConfigError(f"{item!r} is no jump host.", hint="Write [user@]host[:port], several with commas.")
        user, host, port = match[1], match[2].strip("[]"), match[3]
        options = _lookup(configs, host)
        inner = _text(options, "proxyjump")
        if not hops and inner is not None and inner.lower() != "none":
            hops += _jumps(configs, inner, depth=depth + 1)
        hops.append(_hop(host, host, options, user=user, port=int(port) if port else None, identity=None))
    return tuple(hops)


def _hop(
    name: str, host: str, options: Mapping[str, Any], *, user: str | None, port: int | None, identity: str | None
) -> Hop:
    files = (identity,) if identity else tuple(options.get("identityfile", ()))
    known = _text(options, "userknownhostsfile")
    system = _text(options, "globalknownhostsfile")
    timeout = _text(options, "connecttimeout")
    return Hop(
        name=name,
        host=_text(options, "hostname") or host,
        port=port or int(_text(options, "port") or SSH_PORT),
        user=user or _text(options, "user") or getpass.getuser(),
        identity_files=tuple(str(Path(file).expanduser()) for file in files if file.lower() != "none"),
        identities_only=(_text(options, "identitiesonly") or "no").lower() == "yes",
        agent_socket=_agent_socket(_text(options, "identityagent")),
        known_hosts_files=tuple(
            Path(file.strip('"')).expanduser()
            for file in (
                *(known.split() if known else USER_KNOWN_HOSTS),
                *(system.split() if system else SYSTEM_KNOWN_HOSTS),
            )
            if file.lower() != "none"
        ),
        host_key_alias=_text(options, "hostkeyalias"),
        proxy_command=_text(options, "proxycommand"),
        connect_timeout_s=float(timeout) if timeout is not None and timeout.isdigit() and int(timeout) else None,
    )


def _agent_socket(setting: str | None) -> str | None:
    if setting is None or setting == "SSH_AUTH_SOCK":
        return os.environ.get("SSH_AUTH_SOCK") or None
    if setting.lower() == "none":
        return None
    return os.environ.get(setting[1:]) if setting.startswith("$") else str(Path(setting).expanduser())


def _text(options: Mapping[str, Any], key: str) -> str | None:
    value = options.get(key)
    return None if value is None else str(value)


def _config_files() -> tuple[Path, ...]:
    named = os.environ.get(CONFIG_VARIABLE)
    if named:
        return (Path(named),)
    return tuple(path for path in (Path("~/.ssh/config").expanduser(), SYSTEM_CONFIG) if path.is_file())


def _load(path: Path) -> Any:
    import paramiko

    try:
        return paramiko.SSHConfig.from_text("\n".join(_lines(path)))
    except (OSError, UnicodeDecodeError, paramiko.SSHException) as err:
        raise TransportError(f"{path} cannot be read as ssh config: {err}", hint="Correct the file.") from err


def _lookup(configs: tuple[Any, ...], host: str) -> dict[str, Any]:
    """The first file that has an option decides, as in ssh; identity files add up."""
    import paramiko

    merged: dict[str, Any] = {}
    for config in configs:
        try:
            found = config.lookup(host)
        except (paramiko.SSHException, ImportError, ValueError) as err:
            raise TransportError(
                f"The ssh config has something for {host} that edgekit cannot follow: {err}",
                hint=f"Name a simpler file in {CONFIG_VARIABLE}, or give host and user with `edgekit device add`.",
            ) from err
        for key, value in found.items():
            if key == "hostname" and value == host:
                continue  # paramiko's default, not a setting
            if key == "identityfile":
                merged[key] = [*merged.get(key, ()), *value]
            else:
                merged.setdefault(key, value)
    return merged


def _lines(path: Path, depth: int = 0) -> Iterator[str]:
    """Lines of a config with its ``Include`` files in place, which paramiko does not read."""
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as err:
        raise TransportError(f"{path} cannot be read as ssh config: {err}", hint="Correct the file.") from err
    block = "Host *"
    for line in text.splitlines():
        keyword, value = _split(line)
        if keyword in {"host", "match"}:
            block = line
        if keyword != "include":
            yield line
            continue
        if depth >= MAX_INCLUDES:
            raise TransportError(f"{path} includes itself.", hint="Correct Include in the ssh config.")
        for pattern in value.split():
            base = SYSTEM_CONFIG.parent if path.is_relative_to(SYSTEM_CONFIG.parent) else Path("~/.ssh").expanduser()
            for name in sorted(glob.glob(str(base / Path(pattern.strip('"')).expanduser()))):  # noqa: PTH207 - may be absolute
                yield from _lines(Path(name), depth + 1)
        yield block  # an included file's last block ends with the file


def _split(line: str) -> tuple[str, str]:
    match = re.match(r"\s*(\w+)(?:\s*=\s*|\s+)(.*\S)", line)
    return (match[1].lower(), match[2]) if match else ("", "")

"""The user's keys: which are offered to a server, in which order, and what became of them."""

import logging
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekit.errors import AuthenticationError, TransportError
from edgekit.transport.ssh_config import DEFAULT_IDENTITIES, Hop

if TYPE_CHECKING:
    import paramiko

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A key that may be offered."""

    label: str
    key: "paramiko.PKey"


@dataclass(frozen=True, kw_only=True)
class Identities:
    """What there is to offer, and what could not be used and why."""

    candidates: tuple[Candidate, ...]
    unusable: tuple[str, ...]


def authenticate(transport: "paramiko.Transport", hop: Hop) -> None:
    """Offer the keys one by one; raises AuthenticationError naming user, host and every key."""
    with ExitStack() as resources:
        identities = find_identities(hop, resources)
        tried, reason = _offer(transport, hop, identities)
    if tried is not None:
        raise _refused(hop, tried, identities.unusable, reason)


def _offer(transport: "paramiko.Transport", hop: Hop, identities: Identities) -> tuple[list[str] | None, str]:
    """The keys that were refused and why, or None when one was accepted."""
    import paramiko

    tried: list[str] = []
    reason = ""
    for candidate in identities.candidates:
        tried.append(candidate.label)
        try:
            if not transport.auth_publickey(hop.user, candidate.key):
                return None, ""
            reason = "The server wants a second factor."
        except paramiko.BadAuthenticationType as err:
            reason = f"The server takes no keys, only {', '.join(err.allowed_types)}."
            break
        except paramiko.AuthenticationException as err:
            if not transport.is_active() or "timeout" in str(err).lower():
                reason = "The server closed the connection: too many keys, or the login took too long."
                break
        except (paramiko.SSHException, EOFError, OSError, ValueError) as err:
            if not transport.is_active():
                raise TransportError(
                    f"{hop.name}: the connection was lost during the login ({type(err).__name__}).",
                    hint="Try again; look at the ssh server's log there.",
                ) from err
            log.debug("%s: %s could not be used", hop.name, candidate.label, exc_info=True)
    return tried, reason


def find_identities(hop: Hop, resources: ExitStack) -> Identities:
    """Named files first, then the agent's keys, then the usual files; an agent may sign for an encrypted file.

    The agent stays open until ``resources`` close: its keys sign through it.
    """
    agent = {bytes(key.asbytes()): (key, comment) for key, comment in _agent_keys(hop, resources)}
    files = hop.identity_files or DEFAULT_IDENTITIES
    found: list[Candidate] = []
    unusable: list[str] = []
    for name in files:
        path = Path(name).expanduser()
        public = _public_blob(path)
        if public is not None and public in agent:
            found.append(Candidate(label=f"{path} (agent)", key=agent.pop(public)[0]))
            continue
        if not path.exists():
            if hop.identity_files:
                unusable.append(f"{path} (does not exist)")
            continue
        loaded = _load(path)
        if isinstance(loaded, str):
            unusable.append(loaded)
        else:
            found.append(Candidate(label=str(path), key=loaded))
    others = [Candidate(label=f"{comment or 'a key'} (agent)", key=key) for key, comment in agent.values()]
    if hop.identities_only:
        others = []
    ordered = found + others if hop.identity_files else others + found
    return Identities(candidates=tuple(ordered), unusable=tuple(unusable))


def _load(path: Path) -> "paramiko.PKey | str":
    """The key, or why it cannot be used."""
    import paramiko

    try:
        return paramiko.PKey.from_path(path)
    except (paramiko.PasswordRequiredException, TypeError):  # cryptography's: password was not given
        return f"{path} (encrypted, and no ssh agent holds it)"
    except OSError as err:
        return f"{path} ({err.strerror})"
    except Exception as err:  # noqa: BLE001 - cryptography and paramiko raise many kinds for a damaged key
        if "password" in str(err).lower() or "encrypted" in str(err).lower():
            return f"{path} (encrypted, and no ssh agent holds it)"
        return f"{path} (not a private key: {err})"


def _public_blob(path: Path) -> bytes | None:
    from edgekit.transport.host_keys import parse_line

    with suppress(OSError, UnicodeDecodeError):
        entry = parse_line("- " + path.with_name(path.name + ".pub").read_text())
        return None if entry is None else entry.key.blob
    return None


def _agent_keys(hop: Hop, resources: ExitStack) -> Iterator[tuple["paramiko.PKey", str]]:
    import socket

    import paramiko

    if hop.agent_socket is None:
        return
    connection = resources.enter_context(socket.socket(socket.AF_UNIX))
    agent: Any = paramiko.agent.AgentSSH()
    try:
        connection.settimeout(5)
        connection.connect(hop.agent_socket)
        agent._connect(connection)  # noqa: SLF001 - paramiko.Agent takes its socket from the environment only
    except (OSError, paramiko.SSHException):
        log.warning("the ssh agent at %s does not answer", hop.agent_socket)
        return
    for key in agent.get_keys():
        yield key, key.comment


def _refused(hop: Hop, tried: list[str], unusable: tuple[str, ...], reason: str) -> AuthenticationError:
    parts = [f"{hop.name}: {hop.user}@{hop.address} refused the login."]
    parts.append(f"Offered: {', '.join(tried)}." if tried else "There was no key to offer.")
    if unusable:
        parts.append(f"Not usable: {', '.join(unusable)}.")
    if reason:
        parts.append(reason)
    if any("encrypted" in item for item in unusable):
        hint = "Unlock the key for this session with `ssh-add`, or name another as `identity_file`."
    elif "too many keys" in reason:
        hint = "Name the right key as `identity_file` and set IdentitiesOnly in ~/.ssh/config."
    else:
        hint = (
            f"Check the user; put a key there with `ssh-copy-id {hop.user}@{hop.host}`, or name it as `identity_file`."
        )
    return AuthenticationError(
        " ".join(parts), hint=hint, details={"user": hop.user, "host": hop.host, "offered": tried}
    )

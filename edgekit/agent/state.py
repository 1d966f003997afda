"""state.json: which versions were active, whether the last switch is confirmed, the floor; and the lock around it."""

import fcntl
import json
import os
import time
from contextlib import contextmanager
from typing import Any, Dict, Iterator, NamedTuple, Optional, Tuple, Union

from .events import AgentError
from .host import Host
from .layout import SHA256, Place, list_versions, own_delegate, read_current, read_manifest, write_file
from .versions import parse

SCHEMA_VERSION = 1
LOCK_WAIT_S = 20.0
POLL_S = 0.2
MAX_HISTORY = 100


class Hooks(NamedTuple):
    """The application's side; commands for ``sh -c``."""

    on_activate: Optional[str] = None
    health_check: Optional[str] = None
    health_timeout_s: float = 30.0


class Named(NamedTuple):
    """What a release is called."""

    version: str
    """Semantic version, see ``versions``."""
    sha256: str
    """Of its release.json, which holds the sha256 of every other file."""


class Activation(NamedTuple):
    """A version that is or was active."""

    digest: str
    delegate: Optional[str]
    """Delegate it passed its self-test on; None where that is not known any more."""
    options: Dict[str, str] = {}  # noqa: RUF012 - a default that nobody changes
    """What that delegate was loaded with."""
    release: Optional[Named] = None
    """The release it came with; None: by `edgekit deploy`."""


class Pending(NamedTuple):
    """A switch that is not confirmed: the next command undoes it."""

    digest: str
    previous: Optional[str]
    """What was active before; None for nothing."""
    on_activate: Optional[str]
    """How the application is told of the way back."""
    release: Optional[Named] = None
    """What ``digest`` came with; None: by `edgekit deploy`."""


class State(NamedTuple):
    """What state.json says."""

    history: Tuple[Activation, ...]
    """The active version last; rollback goes to the one before it."""
    hooks: Hooks
    """Those of the last confirmed deployment."""
    pending: Optional[Pending]
    floor: Optional[Named] = None
    """The highest release that was confirmed here; none below it is installed. None: no release ever was."""
    damaged: bool = False
    """state.json was there and could not be read: this is derived from the folders, which know no floor."""

    @property
    def previous(self) -> Optional[Activation]:
        """What a rollback goes to."""
        return self.history[-2] if len(self.history) > 1 else None

    def release_of(self, digest: Optional[str]) -> Optional[Named]:
        """The release that a version came with, confirmed or not; None where it was deployed, or never active."""
        if self.pending is not None and self.pending.digest == digest:
            return self.pending.release
        return next((item.release for item in reversed(self.history) if item.digest == digest), None)


def read_hooks(value: Any) -> Hooks:
    """Hooks of a request or of state.json."""
    value = value if isinstance(value, dict) else {}
    timeout = value.get("health_timeout_s")
    return Hooks(
        on_activate=value.get("on_activate") or None,
        health_check=value.get("health_check") or None,
        health_timeout_s=Hooks().health_timeout_s if timeout is None else float(timeout),
    )


def read_state(place: Place) -> State:
    """state.json; where it is lost or damaged, the state is derived from the folders.

    The link ``current`` has the last word on what is active, as long as no switch is pending. Raises AgentError
    ``device`` where it is there and cannot be read now: it holds the floor, which is not given up for that.
    """
    data = _read(place)
    try:
        state = _parse(json.loads((data or b"").decode()))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        state = State(
            history=tuple(Activation(digest, None) for digest in reversed(list_versions(place))),
            hooks=Hooks(),
            pending=None,
            damaged=data is not None,
        )
    if state.pending is not None:
        return state
    active = read_current(place)
    history = tuple(item for item in state.history if os.path.isdir(place.version(item.digest)))
    if active is None:
        return state._replace(history=())
    if not history or history[-1].digest != active:
        history = (*(item for item in history if item.digest != active), Activation(active, None))
    return state._replace(history=history)


def _read(place: Place) -> Optional[bytes]:
    path = _path(place)
    try:
        with open(path, "rb") as stream:
            return stream.read()
    except FileNotFoundError:
        return None
    except OSError as err:
        raise AgentError(
            "device",
            "%s cannot be read: %s." % (path, err.strerror),
            "The model's history and floor are in it: correct that, and do it again.",
        ) from err


def _parse(value: Dict[str, Any]) -> State:
    if value["schema_version"] != SCHEMA_VERSION:
        raise ValueError("another schema")
    history = tuple(
        Activation(
            str(item["digest"]), item["delegate"], dict(item.get("options") or {}), _parse_named(item.get("release"))
        )
        for item in value["history"]
    )
    pending = _parse_pending(value["pending"]) if value["pending"] else None
    digests = [item.digest for item in history]
    digests += [digest for digest in pending[:2] if digest is not None] if pending else []
    if not all(SHA256.match(digest) for digest in digests):
        raise ValueError("no digest")
    floor = _parse_named(value.get("floor"))
    return State(history=history, hooks=read_hooks(value["hooks"]), pending=pending, floor=floor)


def _parse_pending(value: Dict[str, Any]) -> Pending:
    return Pending(**dict(value, release=_parse_named(value.get("release"))))


def _parse_named(value: Any) -> Optional[Named]:
    if value is None:
        return None
    parse(value["version"])
    if not SHA256.match(value["sha256"]):
        raise ValueError("no digest")
    return Named(version=value["version"], sha256=value["sha256"])


def write_state(place: Place, state: State) -> None:
    """Write state.json whole; it is on the disk when this returns."""
    value = {
        "schema_version": SCHEMA_VERSION,
        "history": [_with_release(item) for item in state.history[-MAX_HISTORY:]],
        "hooks": state.hooks._asdict(),
        "pending": state.pending and _with_release(state.pending),
        "floor": state.floor and state.floor._asdict(),
    }
    write_file(_path(place), json.dumps(value, indent=2, sort_keys=True).encode() + b"\n")


def _with_release(item: "Union[Activation, Pending]") -> Dict[str, Any]:
    return dict(item._asdict(), release=item.release and item.release._asdict())


def _path(place: Place) -> str:
    return os.path.join(place.folder, "state.json")


def tested_delegate(place: Place, active: Activation) -> Tuple[str, Dict[str, str]]:
    """Delegate and options of a version: those it passed its self-test on; where they are not known, its own."""
    if active.delegate:
        return active.delegate, active.options
    return own_delegate(read_manifest(place.version(active.digest), active.digest))


@contextmanager
def locked(place: Place, host: Host) -> Iterator[int]:
    """Hold the model's lock; yields its file descriptor. Waits ``LOCK_WAIT_S``, then raises AgentError."""
    number = os.open(os.path.join(place.folder, "lock"), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
    try:
        deadline = time.monotonic() + LOCK_WAIT_S
        while not _try_lock(number):
            if time.monotonic() > deadline:
                holder = os.pread(number, 200, 0).decode("ascii", "replace").strip() or "unknown"
                raise AgentError(
                    "device",
                    "Another deployment of %s is running on the device (%s)." % (place.name, holder),
                    "Wait for it, or end it there; its lock goes with it.",
                )
            host.pause(POLL_S)
        os.ftruncate(number, 0)
        since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        os.pwrite(number, ("pid %d, since %s\n" % (os.getpid(), since)).encode(), 0)
        yield number
    finally:
        os.close(number)


def _try_lock(number: int) -> bool:
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True

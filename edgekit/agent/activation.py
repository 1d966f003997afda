"""The switch to another version: it stays only when the application says that it is healthy.

Before ``current`` moves, the switch is written down as pending and a guardian process starts: a fork of the agent
in a session of its own that holds the model's lock and waits for the agent's end of a pipe to close. However the
agent ends (done, failed, interrupted, killed), the guardian then looks at state.json: a switch that is still pending
is undone. When both die (power), the next command does the same. There is one way back, and it is ``undo``.
"""

import os
import signal
import time
from contextlib import contextmanager
from typing import Iterator, Optional

from .events import AgentError
from .hooks import Sight, check_health, tell, tell_and_check
from .host import Host
from .layout import (
    MODEL,
    Place,
    drop_way_back,
    explained,
    model_name,
    point,
    prepare_way_back,
    read_current,
    read_manifest,
)
from .state import Hooks, Pending, State, read_state, write_state

POLL_S = 0.02
MAX_FD = 1024


def activate(place: Place, state: State, host: Host, lock: int) -> None:
    """Make the last of the history the active version and keep it if the application is healthy with it.

    ``state`` is what state.json says once it is.

    Raises AgentError ``gate`` when it is not; the version before is active again then, as after any other exception.
    """
    before = read_current(place)
    digest, hooks = state.history[-1].digest, state.hooks
    pending = read_state(place)._replace(pending=Pending(digest, before, hooks.on_activate, state.history[-1].release))
    if before is not None:
        prepare_way_back(place, before)
    write_state(place, pending)
    try:
        with explained(place), _guarded(place, host, lock):
            point(place, digest)
            host.emit("switched", digest=digest)
            tell_and_check(hooks, _sight(place, digest), host)
            write_state(place, state)
        drop_way_back(place)
    except AgentError as err:
        raise AgentError(err.kind, "%s %s" % (err.message, _outcome(place, before)), err.hint, err.details) from err


def undo(place: Place) -> Optional[str]:
    """Go back from a switch that is pending; returns the digest that is not active any more, None if none was.

    Tells the application again. Can be interrupted at any point and run again.
    """
    state = read_state(place)
    if state.pending is None:
        return None
    previous = state.pending.previous
    if previous is not None and not os.path.isdir(place.version(previous)):
        previous = None
    point(place, previous)
    tell(state.pending.on_activate, _sight(place, previous))
    write_state(place, state._replace(pending=None))
    return state.pending.digest


def withdraw(place: Place, host: Host) -> Optional[str]:
    """Make no version the active one and tell the application; returns the digest that was active, None if none was.

    Versions, hooks and the floor stay. Can be interrupted at any point and run again. Emits ``untold`` where the
    application's command failed: the model is out of use all the same.
    """
    undo(place)
    before, state = read_current(place), read_state(place)
    point(place, None)
    tell(state.hooks.on_activate, _sight(place, None), host)
    write_state(place, state._replace(history=()))
    return before


def check_application(place: Place, digest: str, hooks: Hooks, host: Host) -> None:
    """The application's health check with the active version; raises AgentError ``gate`` when it says no."""
    check_health(hooks, _sight(place, digest), host)


def _outcome(place: Place, before: Optional[str]) -> str:
    active = read_current(place)
    if active != before:
        return "It could not be undone: %s is active." % (active and active[:12])
    if before is None:
        return "No version is active, as before."
    return "Version %s, the one before, is active." % before[:12]


@contextmanager
def _guarded(place: Place, host: Host, lock: int) -> Iterator[None]:
    read_end, write_end = os.pipe()
    process = os.fork()
    if process == 0:
        _guard(place, read_end, lock)
    os.close(read_end)
    try:
        yield
    finally:
        os.close(write_end)
        while os.waitpid(process, os.WNOHANG)[0] == 0:
            time.sleep(POLL_S / 4)
            try:
                host.alive()
            except BrokenPipeError:
                pass  # the way back does not depend on the host


def _guard(place: Place, pipe: int, lock: int) -> None:
    """The guardian's whole life; never returns."""
    status = 1
    try:
        os.setsid()
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        null = os.open(os.devnull, os.O_RDWR)
        for standard in range(3):
            os.dup2(null, standard)
        first, second = sorted((pipe, lock))
        for start, end in ((3, first), (first + 1, second), (second + 1, MAX_FD)):
            os.closerange(start, end)  # the host must see the end of the agent, not of its guardian
        os.read(pipe, 1)
        undo(place)
        status = 0
    finally:
        os._exit(status)


def _sight(place: Place, digest: Optional[str]) -> Sight:
    return Sight(
        name=place.name,
        digest=digest,
        model=os.path.join(place.current, _model(place, digest)) if digest else None,
        path=place.folder,
    )


def _model(place: Place, digest: str) -> str:
    try:
        return model_name(read_manifest(place.version(digest)))
    except AgentError:  # a version to go back to that was damaged meanwhile: it must not bar the way for ever
        return MODEL

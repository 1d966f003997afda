"""The switch to another version: it stays only when the application says that it is healthy.

Before ``current`` moves, the switch is written down as pending and a guardian process starts: a fork of the agent
in a session of its own that holds the model's lock and waits for the agent's end of a pipe to close. However the
agent ends (done, failed, interrupted, killed), the guardian then looks at state.json: a switch that is still pending
is undone. When both die (power), the next command does the same. There is one way back, and it is ``undo``.
"""

import os
import signal
import subprocess
import time
from contextlib import contextmanager
from typing import IO, Dict, Iterator, Optional, Tuple

from .events import AgentError
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
HEALTH_INTERVAL_S = 0.5
ON_ACTIVATE_TIMEOUT_S = 60.0
MAX_OUTPUT_BYTES = 4096
"""The last of what a command of the application said."""
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
            _tell(place, digest, hooks, host)
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
    if state.pending.on_activate:
        _run(state.pending.on_activate, _environment(place, previous), ON_ACTIVATE_TIMEOUT_S, None)
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
    if state.hooks.on_activate:
        status, output = _run(state.hooks.on_activate, _environment(place, None), ON_ACTIVATE_TIMEOUT_S, None)
        if status != 0:
            host.emit("untold", command=state.hooks.on_activate, status=status, output=output.strip()[-400:])
    write_state(place, state._replace(history=()))
    return before


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


def _tell(place: Place, digest: str, hooks: Hooks, host: Host) -> None:
    environment = _environment(place, digest)
    if hooks.on_activate:
        host.emit("hook", name="on_activate")
        timeout = max(ON_ACTIVATE_TIMEOUT_S, hooks.health_timeout_s)
        status, output = _run(hooks.on_activate, environment, timeout, host)
        if status != 0:
            raise _unhealthy("on_activate", hooks.on_activate, status, output, timeout)
    check_application(place, digest, hooks, host)


def check_application(place: Place, digest: str, hooks: Hooks, host: Host) -> None:
    """The application's health check, where it has one; raises AgentError ``gate`` when it says no."""
    if hooks.health_check:
        host.emit("hook", name="health_check")
        _check_health(hooks.health_check, _environment(place, digest), hooks.health_timeout_s, host)


def _check_health(command: str, environment: Dict[str, str], timeout_s: float, host: Host) -> None:
    deadline = time.monotonic() + timeout_s
    while True:
        left = max(deadline - time.monotonic(), POLL_S)
        status, output = _run(command, environment, left, host)
        if status == 0:
            return
        if time.monotonic() + HEALTH_INTERVAL_S > deadline:
            raise _unhealthy("health_check", command, status, output, timeout_s)
        host.pause(HEALTH_INTERVAL_S)


def _unhealthy(hook: str, command: str, status: Optional[int], output: str, timeout_s: float) -> AgentError:
    how = "did not end" if status is None else "ended with status %d" % status
    said = " It said: %s" % output.strip()[-400:] if output.strip() else ""
    return AgentError(
        "gate",
        "The application is not healthy with the new version: %s (%s) %s within %g s.%s"
        % (hook, command, how, timeout_s, said),
        "Look at the application on the device; its log tells more. Then try again.",
        {"hook": hook, "status": status, "output": output},
    )


def _environment(place: Place, digest: Optional[str]) -> Dict[str, str]:
    """What the application's commands see; EDGEKIT_DIGEST and EDGEKIT_MODEL are empty where no version is active."""
    return dict(
        os.environ,
        EDGEKIT_NAME=place.name,
        EDGEKIT_DIGEST=digest or "",
        EDGEKIT_MODEL=os.path.join(place.current, _model(place, digest)) if digest else "",
        EDGEKIT_PATH=place.folder,
    )


def _model(place: Place, digest: str) -> str:
    try:
        return model_name(read_manifest(place.version(digest)))
    except AgentError:  # a version to go back to that was damaged meanwhile: it must not bar the way for ever
        return MODEL


def _run(
    command: str, environment: Dict[str, str], timeout_s: float, host: Optional[Host]
) -> Tuple[Optional[int], str]:
    """``sh -c`` to its end or ``timeout_s``: (exit status or None, the last of its output).

    Output goes to a file, so that a service which the command leaves behind does not keep us waiting. With
    ``host`` None nobody is asked and nobody can interrupt.
    """
    with _output() as output:
        process = subprocess.Popen(
            ["/bin/sh", "-c", command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            cwd="/",
            start_new_session=True,
        )
        try:
            deadline = time.monotonic() + timeout_s
            while process.poll() is None and time.monotonic() < deadline:
                if host is None:
                    time.sleep(POLL_S)
                else:
                    host.pause(POLL_S)
            status = process.poll()
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        output.seek(max(0, output.seek(0, os.SEEK_END) - MAX_OUTPUT_BYTES))
        return status, output.read().decode("utf-8", "replace")


def _output() -> "IO[bytes]":
    """A file that nobody else sees; where no disk has room for one, nothing is kept: the way back depends on it."""
    import tempfile  # only where an application has commands: it takes a while to load

    try:
        return tempfile.TemporaryFile()
    except OSError:
        return open(os.devnull, "r+b")

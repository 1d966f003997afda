"""What an application is told of a switch (``on_activate``) and asked after it (``health_check``): its own commands."""

import os
import signal
import subprocess
import time
from typing import IO, Dict, NamedTuple, Optional, Tuple

from .events import AgentError
from .host import Host
from .state import Hooks

POLL_S = 0.02
HEALTH_INTERVAL_S = 0.5
ON_ACTIVATE_TIMEOUT_S = 60.0
MAX_OUTPUT_BYTES = 4096
"""The last of what a command of the application said."""


class Sight(NamedTuple):
    """What applications see now; their commands get it as EDGEKIT_NAME, _DIGEST, _MODEL and _PATH."""

    name: str
    """Of the model."""
    digest: Optional[str]
    """The active version; None where none is."""
    model: Optional[str]
    """Path of its model file, such that it leads to the next version after the next switch; None where none is."""
    path: str
    """What ``load`` takes."""


def tell_and_check(hooks: Hooks, sight: Sight, host: Host) -> None:
    """``on_activate``, then the health check; emits ``hook`` before each.

    Raises AgentError ``gate`` where one does not end with 0 in time: a minute at least for ``on_activate``.
    """
    if hooks.on_activate:
        host.emit("hook", name="on_activate")
        timeout = max(ON_ACTIVATE_TIMEOUT_S, hooks.health_timeout_s)
        status, output = _run(hooks.on_activate, sight, timeout, host)
        if status != 0:
            raise _unhealthy("on_activate", hooks.on_activate, status, output, timeout)
    check_health(hooks, sight, host)


def check_health(hooks: Hooks, sight: Sight, host: Host) -> None:
    """The application's health check, where it has one; raises AgentError ``gate`` when it says no."""
    if hooks.health_check:
        host.emit("hook", name="health_check")
        _check_health(hooks.health_check, sight, hooks.health_timeout_s, host)


def tell(on_activate: Optional[str], sight: Sight, host: Optional[Host] = None) -> None:
    """``on_activate`` behind what is decided already: a way back, an end. Emits ``untold`` where it failed.

    Nobody can interrupt it.
    """
    if not on_activate:
        return
    status, output = _run(on_activate, sight, ON_ACTIVATE_TIMEOUT_S, None)
    if status != 0 and host is not None:
        host.emit("untold", command=on_activate, status=status, output=output.strip()[-400:])


def _check_health(command: str, sight: Sight, timeout_s: float, host: Host) -> None:
    deadline = time.monotonic() + timeout_s
    while True:
        left = max(deadline - time.monotonic(), POLL_S)
        status, output = _run(command, sight, left, host)
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


def _run(command: str, sight: Sight, timeout_s: float, host: Optional[Host]) -> Tuple[Optional[int], str]:
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
            env=_environment(sight),
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


def _environment(sight: Sight) -> Dict[str, str]:
    return dict(
        os.environ,
        EDGEKIT_NAME=sight.name,
        EDGEKIT_DIGEST=sight.digest or "",
        EDGEKIT_MODEL=sight.model or "",
        EDGEKIT_PATH=sight.path,
    )


def _output() -> "IO[bytes]":
    """A file that nobody else sees; where no disk has room for one, nothing is kept: the way back depends on it."""
    import tempfile  # only where an application has commands: it takes a while to load

    try:
        return tempfile.TemporaryFile()
    except OSError:
        return open(os.devnull, "r+b")

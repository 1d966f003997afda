"""A command of a device until it ends or the power goes: all that it started is gone in the same moment."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from tests.lab.clients.types import Outcome
from tests.lab.machine import children

BOOT = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
TIMEOUT_S = 120.0
POLL_S = 0.001


def power_on(
    command: Sequence[str | Path],
    *,
    environment: Mapping[str, str],
    kill_after_s: float | None = None,
    boot: Sequence[str] = BOOT,
    timeout_s: float = TIMEOUT_S,
) -> Outcome:
    """Run ``command`` as ``run_until`` does; ``accepted`` when it exits 0, both its outputs are one."""
    started = time.monotonic()
    done, killed = run_until(
        command,
        environment=environment,
        kill_after_s=kill_after_s,
        boot=boot,
        timeout_s=timeout_s,
        stderr=subprocess.STDOUT,
    )
    return Outcome(
        accepted=done.returncode == 0,
        killed=killed,
        output=done.stdout.decode(errors="replace"),
        seconds=time.monotonic() - started,
    )


def run_until(
    command: Sequence[str | Path],
    *,
    environment: Mapping[str, str],
    kill_after_s: float | None = None,
    boot: Sequence[str] = BOOT,
    timeout_s: float = TIMEOUT_S,
    stderr: int = subprocess.PIPE,
) -> "tuple[subprocess.CompletedProcess[bytes], bool]":
    """Run ``command`` in mount and process namespaces of its own, which ``boot`` makes; and whether it was killed.

    With ``kill_after_s`` its first process gets SIGKILL then, and the kernel ends all others of the namespace.
    """
    killed = False
    process = _started(command, environment, boot, subprocess.PIPE, stderr)
    try:
        output, errors = process.communicate(timeout=timeout_s if kill_after_s is None else kill_after_s)
    except subprocess.TimeoutExpired:
        killed = _cut(process)
        output, errors = process.communicate(timeout=TIMEOUT_S)
        if kill_after_s is None:
            said = (errors or output).decode(errors="replace")[-2000:]
            raise AssertionError(f"{command} did not end within {timeout_s:g} s: {said}") from None
    return subprocess.CompletedProcess(process.args, process.returncode, output, errors), killed


@contextmanager
def service(command: Sequence[str | Path], *, environment: Mapping[str, str], log: Path) -> Iterator[Callable[[], str]]:
    """The device is on, and ``command`` runs; yields what it said since. Then the power goes."""
    with log.open("wb") as stream:
        process = _started(command, environment, BOOT, stream, subprocess.STDOUT)
        try:
            yield lambda: log.read_text(errors="replace")
        finally:
            _cut(process)
            process.wait(TIMEOUT_S)


def _started(
    command: Sequence[str | Path],
    environment: Mapping[str, str],
    boot: Sequence[str],
    stdout: int | IO[bytes],
    stderr: int,
) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [*boot, *map(str, command)],
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
        env=dict(environment),
        start_new_session=True,
    )


def _cut(process: "subprocess.Popen[bytes]") -> bool:
    """SIGKILL for the first process of the namespace, and only for that one; False where all had ended.

    `unshare`, killed before that process had asked to go with it, would leave it alone, with its locks.
    """
    while process.poll() is None:
        with suppress(ProcessLookupError):  # it ended in this moment
            for pid in children(process.pid)[:1]:
                os.kill(pid, signal.SIGKILL)
                return True
        time.sleep(POLL_S)
    return False

"""A command of a device until it ends or the power goes: all that it started is gone in the same moment."""

import os
import random
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.lab.clients.types import Outcome
from tests.lab.machine import children

BOOT = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
TIMEOUT_S = 120.0
POLL_S = 0.001
GROWTH = 1.02


class PowerCuts:
    """Moments for ``count`` power cuts, anywhere in an installation that took ``whole_s``.

    An installation that came to its end before its moment was none, and says how long one takes now; after each that
    was one the next may come a little later, because a machine is not always as fast. A test asks until none is
    ``left``.
    """

    def __init__(self, count: int, whole_s: float, *, seed: int = 6) -> None:
        self.left, self.tries = count, 0
        self._most, self._whole_s, self._chance = 3 * count, whole_s, random.Random(seed)

    def moment(self) -> float:
        """Seconds after the start; AssertionError where hardly any try is a power cut."""
        assert self.tries < self._most, f"{self.tries} tries, and {self.left} power cuts are still to come"
        self.tries += 1
        return self._chance.uniform(0.0, self._whole_s)

    def saw(self, outcome: Outcome) -> Outcome:
        """Count what came of a try, and learn from it."""
        if outcome.killed:
            self.left -= 1
            self._whole_s *= GROWTH
        else:
            self._whole_s = outcome.seconds
        return outcome


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
    done = run_until(
        command,
        environment=environment,
        kill_after_s=kill_after_s,
        boot=boot,
        timeout_s=timeout_s,
        stderr=subprocess.STDOUT,
    )
    return Outcome(
        accepted=done.returncode == 0,
        killed=was_killed(done),
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
) -> "subprocess.CompletedProcess[bytes]":
    """Run ``command`` in mount and process namespaces of its own, which ``boot`` makes.

    With ``kill_after_s`` its first process gets SIGKILL then, and the kernel ends all others of the namespace.
    """
    process = subprocess.Popen(
        [*boot, *map(str, command)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=stderr,
        env=dict(environment),
        start_new_session=True,
    )
    try:
        output, errors = process.communicate(timeout=timeout_s if kill_after_s is None else kill_after_s)
    except subprocess.TimeoutExpired:
        _cut(process)
        output, errors = process.communicate(timeout=TIMEOUT_S)
        if kill_after_s is None:
            said = (errors or output).decode(errors="replace")[-2000:]
            raise AssertionError(f"{command} did not end within {timeout_s:g} s: {said}") from None
    return subprocess.CompletedProcess(process.args, process.returncode, output, errors)


def was_killed(done: "subprocess.CompletedProcess[bytes]") -> bool:
    """Whether the power went before it came to its end; ``unshare`` ends as what it started did."""
    return done.returncode == -signal.SIGKILL


def _cut(process: "subprocess.Popen[bytes]") -> None:
    """SIGKILL for the first process of the namespace, and only for that one.

    `unshare`, killed before that process had asked to go with it, would leave it alone, with its locks.
    """
    while process.poll() is None:
        for pid in children(process.pid)[:1]:
            os.kill(pid, signal.SIGKILL)
            return
        time.sleep(POLL_S)

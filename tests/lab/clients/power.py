"""A command of a device until it ends or the power goes: all that it started is gone in the same moment."""

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from tests.lab.clients.types import Outcome
from tests.lab.machine import children

BOOT = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
TIMEOUT_S = 120.0


def power_on(
    command: Sequence[str | Path],
    *,
    environment: Mapping[str, str],
    kill_after_s: float | None = None,
    boot: Sequence[str] = BOOT,
    timeout_s: float = TIMEOUT_S,
) -> Outcome:
    """Run ``command`` in mount and process namespaces of its own, which ``boot`` makes; ``accepted`` when it exits 0.

    With ``kill_after_s`` its first process gets SIGKILL then, and the kernel ends all others of the namespace.
    """
    started = time.monotonic()
    process = subprocess.Popen(
        [*boot, *map(str, command)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=dict(environment),
        start_new_session=True,
    )
    killed = False
    try:
        output, _ = process.communicate(timeout=timeout_s if kill_after_s is None else kill_after_s)
    except subprocess.TimeoutExpired:
        killed = True
        for pid in children(process.pid)[:1]:
            with suppress(ProcessLookupError):  # it ended in this moment
                os.kill(pid, signal.SIGKILL)
        output, _ = process.communicate(timeout=30)
        if kill_after_s is None:
            raise AssertionError(f"{command} did not end: {output[-2000:]}") from None
    return Outcome(accepted=process.returncode == 0, killed=killed, output=output, seconds=time.monotonic() - started)

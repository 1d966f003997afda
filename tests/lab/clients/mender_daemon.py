"""Mender's service on the lab's device, which asks a server: what mender-client.service starts."""

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.lab.clients.mender import STORE, Mender
from tests.lab.clients.power import BOOT
from tests.lab.machine import children

DAEMON = ("mender", "--no-syslog", "daemon")
IDENTITY = "usr/share/mender/identity/mender-device-identity"
POLLING = dict.fromkeys(("UpdatePollIntervalSeconds", "InventoryPollIntervalSeconds", "RetryPollIntervalSeconds"), 1)


def prepare(device: Mender, certificate: Path) -> None:
    """What a device has besides edgekit's files: who it is, how often it asks, and the server's certificate.

    The configuration is Mender's second one, in which it looks up what /etc/mender/mender.conf does not say.
    """
    identity = device.top / IDENTITY
    identity.parent.mkdir(parents=True)
    identity.write_text("#!/bin/sh\necho serial=1\n")
    identity.chmod(0o755)
    configuration = {**POLLING, "ServerCertificate": str(certificate)}
    (device.top / STORE / "mender.conf").write_text(json.dumps(configuration))


@contextmanager
def daemon(device: Mender) -> Iterator[Callable[[], str]]:
    """The device is on, and Mender's service runs; yields what it logged since. Then the power goes."""
    log = device.top / "daemon.log"
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [*BOOT, "sh", str(device.top / "boot"), *DAEMON],
            stdin=subprocess.DEVNULL, stdout=stream, stderr=subprocess.STDOUT,
            env=dict(device.environment), start_new_session=True,
        )  # fmt: skip
        try:
            yield lambda: log.read_text(errors="replace")
        finally:
            for pid in children(process.pid)[:1]:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            process.wait(30)

"""Mender's service on the lab's device, which asks a server: what mender-client.service starts."""

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from tests.lab.clients.mender import STORE, Mender
from tests.lab.clients.power import service

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


def daemon(device: Mender) -> AbstractContextManager[Callable[[], str]]:
    """The device is on, and Mender's service runs; gives what it logged since. Then the power goes."""
    command = ("sh", device.top / "boot", *DAEMON)
    return service(command, environment=device.environment, log=device.top / "daemon.log")

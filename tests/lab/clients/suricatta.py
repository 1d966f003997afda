"""SWUpdate's service on the lab's device, which asks hawkBit: Debian's swupdate.sh, started again whenever it ends."""

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from tests.lab.clients.power import BOOT
from tests.lab.clients.swupdate import Swupdate
from tests.lab.hawkbit import TOKEN, HawkBit
from tests.lab.machine import children

START = "/usr/lib/swupdate/swupdate.sh"
SERVICE = f"trap 'exit 0' TERM; while :; do sh {START} & wait $!; sleep 0.2; done"
"""What systemd does with Restart=always."""
CONFIGURATION = """\
SWUPDATE_SURICATTA_ARGS="-t DEFAULT -u {url} -i edge-1 -k {token} -r 2 -w 1"
"""


@contextmanager
def suricatta(device: Swupdate, server: HawkBit) -> Iterator[Callable[[], str]]:
    """The device is on, and its service runs; what it logged. Then the power goes."""
    path = device.top / "etc/swupdate/conf.d/40-hawkbit"
    path.write_text(CONFIGURATION.format(url=server.address, token=TOKEN))
    log = device.top / "service.log"
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [*BOOT, "sh", str(device.top / "boot"), "sh", "-c", SERVICE],
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

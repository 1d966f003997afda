"""SWUpdate's service on the lab's device, which asks hawkBit: Debian's swupdate.sh, started again whenever it ends."""

from collections.abc import Callable
from contextlib import AbstractContextManager

from tests.lab.clients.power import service
from tests.lab.clients.swupdate import Swupdate
from tests.lab.hawkbit import TOKEN, HawkBit

START = "/usr/lib/swupdate/swupdate.sh"
SERVICE = f"trap 'exit 0' TERM; while :; do sh {START} & wait $!; sleep 0.2; done"
"""What systemd does with Restart=always."""
CONFIGURATION = """\
SWUPDATE_SURICATTA_ARGS="-t DEFAULT -u {url} -i edge-1 -k {token} -r 2 -w 1"
"""


def suricatta(device: Swupdate, server: HawkBit) -> AbstractContextManager[Callable[[], str]]:
    """The device is on, and its service runs; gives what it logged. Then the power goes."""
    path = device.top / "etc/swupdate/conf.d/40-hawkbit"
    path.write_text(CONFIGURATION.format(url=server.address, token=TOKEN))
    command = ("sh", device.top / "boot", "sh", "-c", SERVICE)
    return service(command, environment=device.environment, log=device.top / "service.log")

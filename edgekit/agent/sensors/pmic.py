"""The power management chip of a Raspberry Pi 5, 500 or Compute Module 5: ``vcgencmd pmic_read_adc``.

Source: https://www.raspberrypi.com/documentation/computers/os.html#vcgencmd (``pmic_read_adc``). The chip is a Renesas
DA9091; its datasheet is not public, so nothing tells the resolution (VDD_CORE_A moves in steps of about 27 mA). Real
outputs are in tests/unit/data/pmic_*.txt.

Each rail is a pair of lines, ``VDD_CORE_A current(7)=0.56259000A`` and ``VDD_CORE_V volt(15)=0.76798460V``; power is
the sum of their products. EXT5V and BATT have a voltage only. What is fed from the 5 V input directly is not behind
these rails: USB ports, fan, HATs and what the chip itself loses. People add a straight line fitted to one board
(x 1.1451 + 0.5879 W); that is no measurement, so it is not applied here.

One sweep takes the firmware about 23 ms (https://github.com/ml-energy/zeus/issues/273), so it is asked five times a
second. ``vcgencmd`` needs /dev/vcio, which belongs to the group video.
"""

import re
import subprocess
from functools import partial
from typing import Dict, List, Optional, Sequence, Tuple

from edgekit.agent.gauges import Channel, Found, Gauge, note
from edgekit.agent.sensors import read_text

COMMAND = ("vcgencmd", "pmic_read_adc")
CHIP = "brcm,bcm2712"
"""In the device tree's ``compatible`` of every board that has this chip."""
LINE = re.compile(
    r"^\s*([A-Z0-9_]{1,32})_(?:A\s+current\([0-9]+\)=([0-9]{1,4}\.[0-9]+)A|V\s+volt\([0-9]+\)=([0-9]{1,4}\.[0-9]+)V)\s*$"
)
INTERVAL_S = 0.2
TIMEOUT_S = 2.0


def find(root: str = "/", command: Sequence[str] = COMMAND) -> Found:
    """One gauge for all rails; on boards without the chip nothing is run."""
    if CHIP not in (read_text(root, "proc/device-tree/compatible") or ""):
        return Found([], [])
    text, why = _ask(command)
    rails = parse_rails(text)
    if not rails:
        fix = (
            "Install it (`sudo apt install raspi-utils`), and let this user use it: `sudo usermod -aG video USER`, "
            "then log in again."
        )
        message = "The power management chip is there, but `%s` does not tell: %s." % (" ".join(command), why)
        return Found([], [note("gauge-silent", message, fix)])
    gauge = Gauge(
        name="pmic",
        sensor="pmic",
        covers="the rails %s; not the USB ports, fan, HATs and the chip's own losses" % ", ".join(sorted(rails)),
        whole_device=False,
        channels={"power_w": Channel()},
        read=partial(_read, command, tuple(sorted(rails))),
        interval_s=INTERVAL_S,
    )
    return Found([gauge], [])


def parse_rails(text: str) -> Dict[str, float]:
    """Rail -> W, for every rail with both a current and a voltage."""
    amperes: Dict[str, float] = {}
    volts: Dict[str, float] = {}
    for line in text.replace("\0", "\n").splitlines():
        match = LINE.match(line)
        if match is not None and match.group(2) is not None:
            amperes[match.group(1)] = float(match.group(2))
        elif match is not None:
            volts[match.group(1)] = float(match.group(3))
    return {rail: amperes[rail] * volts[rail] for rail in amperes if rail in volts}


def _read(command: Sequence[str], rails: Tuple[str, ...]) -> Optional[Dict[str, float]]:
    found = parse_rails(_ask(command)[0])
    # a sum without one of its rails would be a device that draws less
    return {"power_w": sum(found[rail] for rail in rails)} if all(rail in found for rail in rails) else None


def _ask(command: Sequence[str]) -> Tuple[str, str]:
    """What it prints, and what went wrong in words."""
    arguments: List[str] = list(command)
    try:
        done = subprocess.run(
            arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=TIMEOUT_S, check=False
        )
    except OSError as err:
        return "", err.strerror or type(err).__name__
    except subprocess.TimeoutExpired:
        return "", "no answer within %g s" % TIMEOUT_S
    text = done.stdout.decode("ascii", "replace")
    first = " ".join(text.split())[:120]
    return text if done.returncode == 0 else "", "status %d, %r" % (done.returncode, first)

"""Throttling that the hardware reports: the Raspberry Pi firmware's bits and x86's counters.

Sources: https://www.raspberrypi.com/documentation/computers/os.html#get_throttled (the bits);
/sys/devices/platform/soc/soc:firmware/get_throttled is the kernel driver's view of the same word, in
hexadecimal without 0x (drivers/firmware/raspberrypi.c of the Raspberry Pi kernel; a Raspberry Pi 5 names the folder
by the bus address); `vcgencmd` prints ``throttled=0x50005``. x86: cpu*/thermal_throttle/core_throttle_count
(Documentation/ABI/testing/sysfs-devices-system-cpu), which only ever grow.
"""

import glob
import os
import re
import subprocess
from typing import Any, Dict, List, Optional

from edgekit.agent.sensors import entries, read_int, read_text

FIRMWARE = "sys/devices/platform/soc*/soc*:firmware/get_throttled"
CPUS = "sys/devices/system/cpu"
NAMES = ("under-voltage", "frequency-capped", "throttled", "soft-temperature-limit")
"""Bits 0 to 3 now, bits 16 to 19 since boot."""


def decode(word: int) -> Dict[str, List[str]]:
    """The firmware's word: what is so ``now``, and what ``since_boot``."""
    return {
        "now": [name for bit, name in enumerate(NAMES) if word >> bit & 1],
        "since_boot": [name for bit, name in enumerate(NAMES) if word >> (bit + 16) & 1],
    }


def read_firmware(root: str = "/", command: Optional[List[str]] = None) -> Optional[Dict[str, Any]]:
    """``word``, ``now`` and ``since_boot`` of a Raspberry Pi; None on everything else.

    ``command`` (``["vcgencmd", "get_throttled"]``) is asked where the file is missing; it takes
    milliseconds, so it is left out while samples are taken.
    """
    files = sorted(glob.glob(os.path.join(glob.escape(root), FIRMWARE)))
    text = read_text(root, files[0]) if files else None
    if text is None and command is not None:
        text = _ask(command)
    match = re.match(r"^(?:throttled=)?(?:0x)?([0-9a-fA-F]{1,8})$", text or "")
    if match is None:
        return None
    word = int(match.group(1), 16)
    return dict(decode(word), word=word)


def _ask(command: List[str]) -> Optional[str]:
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=2, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode("ascii", "replace").strip()


def read_throttle_count(root: str = "/") -> Optional[int]:
    """How often x86 cores throttled for heat since boot, summed; None where nothing counts it."""
    folders = [os.path.join(CPUS, name, "thermal_throttle") for name in entries(root, CPUS, "cpu")]
    counts = [read_int(root, os.path.join(folder, "core_throttle_count")) for folder in folders]
    known = [count for count in counts if count is not None]
    return sum(known) if known else None

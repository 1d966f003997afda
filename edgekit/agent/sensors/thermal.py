"""Temperatures and the kernel's own throttling: /sys/class/thermal, and /sys/class/hwmon beside it.

Sources: https://docs.kernel.org/driver-api/thermal/sysfs-api.html (thermal_zone*/temp in millidegrees Celsius;
cooling_device*/cur_state, 0 is no cooling). A cooling device of type cpufreq-* or thermal-cpufreq-* above 0
caps the clock of the CPU. https://docs.kernel.org/hwmon/sysfs-interface.html (temp*_input in millidegrees Celsius,
temp*_label, name). A PC's CPU is often in hwmon alone (coretemp, k10temp).
"""

import os
import re
from typing import Dict, List, Optional, Set, Tuple

from edgekit.agent.sensors import entries, read_int, read_text

THERMAL = "sys/class/thermal"
HWMON = "sys/class/hwmon"
MAX_CHANNELS = 256
"""Of one hwmon device: a server's coretemp has one a core."""
PLAUSIBLE_C = (-100.0, 250.0)
"""Outside it a sensor says that it has no value, as -274 (THERMAL_TEMP_INVALID) does."""
DRIVES = re.compile(r"^(nvme|drivetemp)")
"""Asking a drive is a command to it, and may keep it from its sleep (docs.kernel.org/hwmon/drivetemp.html)."""
PROCESSOR = re.compile(
    r"cpu|core|soc(?!ket)|package|x86_pkg|cluster|^(big|little|exynos|tsens)|k10temp|zenpower|tctl|tdie|tccd"
)
"""Zones of a processor, by the names that the kernels of boards, phones and PCs give them (in lower case)."""
ELSEWHERE = re.compile(r"nvme|drivetemp|wifi|wlan|ath\dk|ath1\dk|mt7\d|phy|batt|bms|charger|usb|^bq|ambient|gpu")
"""Zones that tell nothing of the processor."""


def read_temperatures(root: str = "/", slow: bool = False) -> Dict[str, float]:
    """Zone -> degrees Celsius; one that is switched off is left out.

    A thermal zone is named by its type and number (``cpu-thermal-0``), a sensor of hwmon by its driver, the driver's
    number and the label (``coretemp-2/Package id 0``); those that mirror a thermal zone are left out. ``slow`` also
    asks the drives.
    """
    found: Dict[str, float] = {}
    kinds = set()
    for name in entries(root, THERMAL, "thermal_zone"):
        kind = read_text(root, os.path.join(THERMAL, name, "type")) or "zone"
        kinds.add(_plain(kind))
        _keep(found, "%s-%s" % (kind, name[len("thermal_zone") :]), root, os.path.join(THERMAL, name, "temp"))
    for name, path in _hwmon_channels(root, kinds, slow):
        _keep(found, name, root, path)
    return found


def processor_zones(temperatures_c: Dict[str, float]) -> List[str]:
    """Those of ``read_temperatures`` that tell of the CPU's heat.

    They are named after it; where none is, all but drives, radios, batteries and GPUs: a board may call its only zone
    as it likes. Empty where nothing tells.
    """
    named = [zone for zone in temperatures_c if PROCESSOR.search(zone.lower()) and not ELSEWHERE.search(zone.lower())]
    return named or [zone for zone in temperatures_c if not ELSEWHERE.search(zone.lower())]


def find_hottest(temperatures_c: Dict[str, float]) -> Optional[Tuple[str, float]]:
    """The hottest of ``processor_zones`` and its degrees Celsius; None where nothing tells."""
    zones = processor_zones(temperatures_c)
    if not zones:
        return None
    hottest = max(zones, key=lambda zone: temperatures_c[zone])
    return hottest, temperatures_c[hottest]


def read_cpu_cooling(root: str = "/") -> Dict[str, int]:
    """Cooling device of a CPU clock -> its state; above 0 the kernel holds the clock down because of heat."""
    found = {}
    for name in entries(root, THERMAL, "cooling_device"):
        kind = read_text(root, os.path.join(THERMAL, name, "type")) or ""
        state = read_int(root, os.path.join(THERMAL, name, "cur_state"))
        if "cpufreq" in kind and state is not None:
            found["%s-%s" % (kind, name[len("cooling_device") :])] = state
    return found


def _keep(found: Dict[str, float], zone: str, root: str, path: str) -> None:
    millidegrees = read_int(root, path)
    if millidegrees is not None and PLAUSIBLE_C[0] < millidegrees / 1000.0 < PLAUSIBLE_C[1]:
        found[zone] = millidegrees / 1000.0


def _plain(kind: str) -> str:
    """A thermal zone's type as its mirror in hwmon is called (drivers/thermal/thermal_hwmon.c)."""
    return kind.replace("-", "_")


def _hwmon_channels(root: str, kinds: Set[str], slow: bool) -> List[Tuple[str, str]]:
    channels = []
    for device in entries(root, HWMON, "hwmon"):
        folder = os.path.join(HWMON, device)
        driver = read_text(root, os.path.join(folder, "name")) or "hwmon"
        if _plain(driver) in kinds or (DRIVES.match(driver) and not slow):
            continue
        for channel in _inputs(root, folder):
            label = read_text(root, os.path.join(folder, channel + "_label")) or channel
            path = os.path.join(folder, channel + "_input")
            channels.append(("%s-%s/%s" % (driver, device[len("hwmon") :], label), path))
    return channels


def _inputs(root: str, folder: str) -> List[str]:
    """``temp1``, ``temp2``, ..., as far as the device has them."""
    try:
        names = os.listdir(os.path.join(root, folder))
    except OSError:
        return []
    numbers = [int(match.group(1)) for match in (re.match(r"^temp(\d{1,4})_input$", name) for name in names) if match]
    return ["temp%d" % number for number in sorted(numbers)[:MAX_CHANNELS]]

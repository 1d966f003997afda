"""Temperatures and the kernel's own throttling: /sys/class/thermal.

Source: https://docs.kernel.org/driver-api/thermal/sysfs-api.html (thermal_zone*/temp in millidegrees Celsius;
cooling_device*/cur_state, 0 is no cooling). A cooling device of type cpufreq-* or thermal-cpufreq-* above 0
caps the clock of the CPU.
"""

import os
from typing import Dict

from edgekit.agent.sensors import entries, read_int, read_text

THERMAL = "sys/class/thermal"


def read_temperatures(root: str = "/") -> Dict[str, float]:
    """Zone (its type and number) -> degrees Celsius; a zone that is switched off is left out."""
    found = {}
    for name in entries(root, THERMAL, "thermal_zone"):
        millidegrees = read_int(root, os.path.join(THERMAL, name, "temp"))
        if millidegrees is not None:
            kind = read_text(root, os.path.join(THERMAL, name, "type")) or "zone"
            found["%s-%s" % (kind, name[len("thermal_zone") :])] = millidegrees / 1000.0
    return found


def read_cpu_cooling(root: str = "/") -> Dict[str, int]:
    """Cooling device of a CPU clock -> its state; above 0 the kernel holds the clock down because of heat."""
    found = {}
    for name in entries(root, THERMAL, "cooling_device"):
        kind = read_text(root, os.path.join(THERMAL, name, "type")) or ""
        state = read_int(root, os.path.join(THERMAL, name, "cur_state"))
        if "cpufreq" in kind and state is not None:
            found["%s-%s" % (kind, name[len("cooling_device") :])] = state
    return found

"""Energy counters of x86 processors (RAPL): /sys/class/powercap/intel-rapl:*, AMD's too.

Sources: https://docs.kernel.org/power/powercap/powercap.html (``energy_uj`` in microjoules, which starts again at 0
after ``max_energy_range_uj``; ``name``: package-N, dram, psys); Intel SDM volume 3B, "Platform specific power
management support" (the counters are renewed about every millisecond). Since CVE-2020-8694 only root may read
``energy_uj`` (Linux commit 949dd0104c49).

``core`` and ``uncore`` are parts of their package and tell nothing that it does not; ``intel-rapl-mmio`` is the same
package once more.
"""

import os
import re
from functools import partial
from typing import Dict, List, Optional

from edgekit.agent.gauges import Channel, Found, Gauge, Note, note
from edgekit.agent.sensors import is_forbidden, label, read_int, read_scaled, read_text

POWERCAP = "sys/class/powercap"
DOMAIN = re.compile(r"^intel-rapl:(\d+)(?::(\d+))?$")
JOULES = 1e-6
COVERS = {
    "package": "the processor package: cores, caches, integrated graphics; not memory, disks, displays or USB",
    "dram": "the memory behind one processor package",
    "psys": "the whole platform, as far as its maker wired the sensor",
}


def find(root: str = "/") -> Found:
    """A gauge for every package, its memory, and the platform."""
    gauges: List[Gauge] = []
    blocked: List[Note] = []
    for domain in _domains(root):
        folder = os.path.join(POWERCAP, domain)
        name = label(read_text(root, os.path.join(folder, "name")) or domain)
        kind = name.split("-")[0]
        nested = domain.count(":") > 1
        if nested and kind != "dram":
            continue
        if nested:
            parent = os.path.join(POWERCAP, domain.rsplit(":", 1)[0])
            name = "%s/%s" % (label(read_text(root, os.path.join(parent, "name")) or parent), name)
        counter = os.path.join(folder, "energy_uj")
        if is_forbidden(root, counter):
            blocked.append(_forbidden(name, counter))
        elif read_int(root, counter) is not None:
            gauges.append(_gauge(root, folder, "rapl/" + name, kind))
    return Found(gauges, blocked)


def _domains(root: str) -> List[str]:
    try:
        names = [name for name in os.listdir(os.path.join(root, POWERCAP)) if DOMAIN.match(name)]
    except OSError:
        return []
    return sorted(names, key=lambda name: [int(part) for part in name.split(":")[1:]])


def _gauge(root: str, folder: str, name: str, kind: str) -> Gauge:
    wraps_at = read_scaled(root, os.path.join(folder, "max_energy_range_uj"), JOULES)
    return Gauge(
        name=name,
        sensor="rapl",
        covers=COVERS.get(kind, "the power domain %r of the processor" % kind),
        whole_device=kind == "psys",
        channels={"energy_j": Channel(wraps_at=wraps_at if wraps_at and wraps_at > 0 else None)},
        read=partial(_read, root, os.path.join(folder, "energy_uj")),
    )


def _read(root: str, counter: str) -> Optional[Dict[str, float]]:
    energy = read_scaled(root, counter, JOULES)
    return None if energy is None or energy < 0 else {"energy_j": energy}


def _forbidden(name: str, counter: str) -> Note:
    return note(
        "gauge-forbidden",
        "The energy counter rapl/%s is there, but only root may read it (since CVE-2020-8694)." % name,
        "Log in as root, or let this user read it until the next boot: `sudo chmod a+r /%s`." % counter,
    )

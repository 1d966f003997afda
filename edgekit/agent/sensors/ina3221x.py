"""INA3221 of older Jetsons (L4T 32, JetPack 4): NVIDIA's own driver ina3221x, an iio device.

Source: "Software-Based Power Consumption Modeling", NVIDIA Jetson Linux Developer Guide 32.x:
/sys/bus/i2c/drivers/ina3221x/*/iio:device*/ with ``rail_name_N``, ``in_voltageN_input`` (mV), ``in_currentN_input``
(mA) and ``in_powerN_input`` (mW). Newer systems have the kernel's driver: see hwmon.py, and there the data sheet. The
shunts are not told, so only the step of the bus voltage is known. POM_5V_IN (Nano) and VDD_IN (TX2, Xavier NX) are the
whole module; an AGX Xavier has no such rail.
"""

import glob
import os
from functools import partial
from typing import Dict, Optional

from edgekit.agent.gauges import Channel, Found, Gauge
from edgekit.agent.sensors import label, read_scaled, read_text
from edgekit.agent.sensors.hwmon import INA3221, MILLI, STEPS, WHOLE_MODULES

DEVICES = "sys/bus/i2c/drivers/ina3221x/*/iio:device*"
FILES = {"power_w": "in_power%d_input", "current_a": "in_current%d_input", "voltage_v": "in_voltage%d_input"}
RAILS = range(3)


def find(root: str = "/") -> Found:
    """A gauge for every rail that has a name."""
    gauges = []
    for device in sorted(glob.glob(os.path.join(glob.escape(root), DEVICES))):
        for number in RAILS:
            name = label(read_text(device, "rail_name_%d" % number) or "")
            if name and name != "NC" and _read(device, number) is not None:
                gauges.append(_gauge(device, number, name))
    return Found(gauges, [])


def _gauge(device: str, number: int, name: str) -> Gauge:
    whole = name in WHOLE_MODULES
    steps = {"voltage_v": STEPS[INA3221].bus_v}
    return Gauge(
        name="%s/%s" % (os.path.basename(device), name),
        sensor="ina3221x",
        covers="the whole module; not what the carrier board draws beside it" if whole else "the rail %s" % name,
        whole_device=whole,
        channels={channel: Channel(resolution=steps.get(channel)) for channel in _read(device, number) or {}},
        read=partial(_read, device, number),
    )


def _read(device: str, number: int) -> Optional[Dict[str, float]]:
    values = {channel: read_scaled(device, file % number, MILLI) for channel, file in FILES.items()}
    found = {channel: value for channel, value in values.items() if value is not None}
    return found if "power_w" in found else None

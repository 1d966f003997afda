"""Power monitors of boards below /sys/class/hwmon: INA2xx, INA3221 (every Jetson), and whatever else tells a power.

Sources: https://docs.kernel.org/hwmon/sysfs-interface.html (power*_input in uW, energy*_input in uJ, curr*_input in mA,
in*_input in mV, update_interval in ms); https://docs.kernel.org/hwmon/ina2xx.html and ina3221.html.

Steps, from the data sheets as the drivers set the chips up; the shunt is the board's (``shunt*_resistor``, microohm):
- INA3221 (https://www.ti.com/lit/ds/symlink/ina3221.pdf): 40 uV at the shunt, 8 mV of bus voltage.
- INA219, INA220 (SBOS448): 10 uV and 4 mV; power in 20 steps of current. INA226, INA230, INA231 (SBOS547): 2.5 uV and
  1.25 mV; power in 25 steps of current. INA260 (SBOS656): 1.25 mA, 1.25 mV, 10 mW.
- The others depend on how they are set up: not told.
Current and voltage come as whole mA and mV, whatever the chip resolves.

Rails of Jetsons: "Jetson Orin Nano Series, Jetson Orin NX Series and Jetson AGX Orin Series", NVIDIA Jetson Linux
Developer Guide r35.6.0, and arch/arm64/boot/dts/nvidia/tegra234-p37*.dtsi. VDD_IN is the whole module. A Jetson AGX
Orin has no such rail: VIN_SYS_5V0 is its 5 V system rail, beside VDD_GPU_SOC and VDD_CPU_CV.
"""

import os
import re
from functools import partial
from typing import Dict, List, NamedTuple, Optional, Tuple

from edgekit.agent.gauges import Channel, Found, Gauge, Note, note
from edgekit.agent.sensors import entries, is_forbidden, label, read_int, read_scaled, read_text

HWMON = "sys/class/hwmon"
INA3221 = "ina3221"
JETSON = "nvidia,tegra"
"""In the device tree's ``compatible`` of every Jetson."""
WHOLE_MODULES = ("VDD_IN", "POM_5V_IN", "VIN")
"""Labels of the rail that feeds all of a Jetson module: Orin Nano and NX, Xavier NX and TX2; Nano; Thor."""
MICRO, MILLI = 1e-6, 1e-3
FILE = re.compile(r"^(power|energy)(\d{1,3})_(input|average)$")
LEAST_INTERVAL_S, USUAL_INTERVAL_S, MOST_INTERVAL_S = 0.01, 0.05, 10.0
CONVERSION_S = {"ina219": 0.07, "ina220": 0.07}
"""Chips that do not tell their interval: 68.1 ms at worst (drivers/hwmon/ina2xx.c)."""


class Steps(NamedTuple):
    """What one step of a chip is."""

    shunt_v: Optional[float]
    """Of the voltage at its shunt; None: current and power have steps of their own."""
    bus_v: float
    power_steps: float = 0.0
    """Steps of current in one of power."""
    current_a: float = 0.0
    power_w: float = 0.0


STEPS = {
    "ina219": Steps(10e-6, 4e-3, 20),
    "ina220": Steps(10e-6, 4e-3, 20),
    "ina226": Steps(2.5e-6, 1.25e-3, 25),
    "ina230": Steps(2.5e-6, 1.25e-3, 25),
    "ina231": Steps(2.5e-6, 1.25e-3, 25),
    "ina260": Steps(None, 1.25e-3, current_a=1.25e-3, power_w=10e-3),
    INA3221: Steps(40e-6, 8e-3),
}


class Rail(NamedTuple):
    """One thing that a chip measures, with the files that tell it."""

    root: str
    folder: str
    chip: str
    number: str
    name: str
    files: Dict[str, str]
    """Channel -> file."""


UNITS = {"power_w": MICRO, "energy_j": MICRO, "current_a": MILLI, "voltage_v": MILLI}


def find(root: str = "/") -> Found:
    """A gauge for every rail; batteries are power_supply's."""
    gauges: List[Gauge] = []
    blocked: List[Note] = []
    for monitor in entries(root, HWMON, "hwmon"):
        folder = os.path.join(HWMON, monitor)
        if "/power_supply/" in os.path.realpath(os.path.join(root, folder, "device")):
            continue  # a battery once more, without its status (drivers/power/supply/power_supply_hwmon.c)
        chip = label(read_text(root, os.path.join(folder, "name")) or "")
        rails = _rails(root, folder, chip)
        names = [rail.name for rail in rails]
        for rail in rails:
            name = "%s/%s" % (monitor, rail.name if names.count(rail.name) == 1 else rail.name + "-" + rail.number)
            closed = [file for file in rail.files.values() if is_forbidden(root, os.path.join(folder, file))]
            if closed:
                blocked.append(_forbidden(name, os.path.join(folder, closed[0])))
            elif _read(rail) is not None:
                gauges.append(_gauge(name, rail))
    return Found(gauges, blocked)


def _rails(root: str, folder: str, chip: str) -> List[Rail]:
    if chip == INA3221:
        return [rail for number in "123" for rail in _channel(root, folder, chip, number)]
    try:
        matches = [FILE.match(name) for name in sorted(os.listdir(os.path.join(root, folder)))]
    except OSError:
        return []
    files: Dict[str, Dict[str, str]] = {}
    for match in matches:
        if match is not None:
            # sorted: `input` comes after `average` and is what the chip says now
            channel = "power_w" if match.group(1) == "power" else "energy_j"
            files.setdefault(match.group(2), {})[channel] = match.group(0)
    if chip in STEPS:
        files.get("1", {}).update(current_a="curr1_input", voltage_v="in1_input")
    return [
        Rail(root, folder, chip, number, _label(root, folder, ("power", "energy"), number, chip), files[number])
        for number in sorted(files, key=int)
    ]


def _channel(root: str, folder: str, chip: str, number: str) -> List[Rail]:
    """A channel of an INA3221, unless the board leaves it unconnected or it is off."""
    name = _label(root, folder, ("in",), number, "in" + number)
    if name == "NC" or read_int(root, os.path.join(folder, "in%s_enable" % number)) == 0:
        return []
    files = {"current_a": "curr%s_input" % number, "voltage_v": "in%s_input" % number}
    return [Rail(root, folder, chip, number, name, files)]


def _label(root: str, folder: str, kinds: Tuple[str, ...], number: str, otherwise: str) -> str:
    """The channel's label, else the whole chip's, else ``otherwise``."""
    for file in [kind + number + "_label" for kind in kinds] + ["label"]:
        text = label(read_text(root, os.path.join(folder, file)) or "")
        if text:
            return text
    return otherwise


def _read(rail: Rail) -> Optional[Dict[str, float]]:
    found: Dict[str, float] = {}
    for channel, file in rail.files.items():
        value = read_scaled(rail.root, os.path.join(rail.folder, file), UNITS[channel])
        if value is not None and (channel != "energy_j" or value >= 0):
            found[channel] = value
    if rail.chip == INA3221 and "current_a" in found and "voltage_v" in found:
        found["power_w"] = found["current_a"] * found["voltage_v"]
    told = "power_w" in found or "energy_j" in found
    return found if told else None


def _gauge(name: str, rail: Rail) -> Gauge:
    values = _read(rail) or {}
    steps = _resolutions(rail, values)
    whole = rail.name in WHOLE_MODULES and JETSON in (read_text(rail.root, "proc/device-tree/compatible") or "")
    if whole:
        covers = "the whole module behind the rail %s; not what the carrier board draws beside it" % rail.name
    else:
        covers = "what is behind %r of the chip %r; its label is all that is known" % (rail.name, rail.chip)
    return Gauge(
        name=name,
        sensor="hwmon",
        covers=covers,
        whole_device=whole,
        channels={channel: Channel(resolution=steps.get(channel)) for channel in values},
        read=partial(_read, rail),
        interval_s=_interval(rail),
    )


def _resolutions(rail: Rail, values: Dict[str, float]) -> Dict[str, Optional[float]]:
    """Smallest step of each channel; a step of power of an INA3221 is one of current, at the voltage of now."""
    steps = STEPS.get(rail.chip)
    if steps is None:
        return {}
    current, power = steps.current_a, steps.power_w
    if steps.shunt_v is not None:
        ohms = _shunt(rail)
        if ohms is None:
            return {"voltage_v": steps.bus_v}
        current = steps.shunt_v / ohms
        power = current * steps.power_steps
    current = max(current, MILLI)  # files hold whole milliamperes
    if rail.chip == INA3221:
        power = current * values.get("voltage_v", 0.0)
    return {"voltage_v": steps.bus_v, "current_a": current, "power_w": power or None}


def _shunt(rail: Rail) -> Optional[float]:
    file = "shunt%s_resistor" % rail.number if rail.chip == INA3221 else "shunt_resistor"
    ohms = read_scaled(rail.root, os.path.join(rail.folder, file), MICRO)
    return ohms if ohms is not None and ohms > 0 else None


def _interval(rail: Rail) -> float:
    """How often there is something new."""
    told = read_int(rail.root, os.path.join(rail.folder, "update_interval"))
    if any(file.endswith("_average") for file in rail.files.values()):
        told = read_int(rail.root, os.path.join(rail.folder, "power%s_average_interval" % rail.number)) or told
    if told is None or told <= 0:
        return CONVERSION_S.get(rail.chip, USUAL_INTERVAL_S)
    return min(max(told / 1000.0, LEAST_INTERVAL_S), MOST_INTERVAL_S)


def _forbidden(name: str, file: str) -> Note:
    return note(
        "gauge-forbidden",
        "The power monitor %s is there, but this user may not read it." % name,
        "Log in as root, or let this user read it until the next boot: `sudo chmod a+r /%s`." % file,
    )

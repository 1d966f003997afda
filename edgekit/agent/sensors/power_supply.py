"""Batteries and measured supplies of the kernel: /sys/class/power_supply.

Source: Documentation/ABI/testing/sysfs-class-power and https://docs.kernel.org/power/power_supply_class.html: uV, uA,
uW, uWh, uAh; ``capacity`` in whole percent; ``scope`` ``Device`` is the battery of a peripheral; ``charge_counter`` may
be negative, as only its changes mean something.

Signs. Since Linux 5.10 ``current_now`` of a battery is negative while it discharges (commit 05f94eb98907, which says
that drivers did it in three ways); drivers followed one by one: axp20x in 5.18 (d4f408cdcd26), ACPI in 6.16
(234f71555019); vendors' kernels keep theirs. ``power_now`` has no documented sign, and ACPI's never has one. So
``status`` decides here: what is ``Discharging`` draws, whatever the driver says, and a note tells where the two
disagree. Only where ``status`` says neither does the sign of the ABI count.

What drivers do wrong besides, each with a note: millivolts in ``voltage_now``; ``power_now`` that is not voltage times
current; percent in ``charge_now`` and ``charge_full`` (the kernel's own test_power). The supplies ``tcpm-source-psy-*``
and ``ucsi-source-psy-*`` (drivers/usb/typec) show what was negotiated and measure nothing: they are left out.
"""

import os
from functools import partial
from typing import Dict, List, NamedTuple, Optional, Tuple

from edgekit.agent.gauges import Channel, Found, Gauge, Note, note
from edgekit.agent.sensors import label, read_int, read_scaled, read_text

SUPPLIES = "sys/class/power_supply"
NEGOTIATED = ("tcpm-source-psy", "ucsi-source-psy")
MICRO = 1e-6
PER_HOUR = 3600e-6
"""uWh -> J, uAh -> C."""
LEAST_VOLTS = 0.5
"""No cell has less: the driver means something else than microvolts."""
LEAST_COULOMBS = 3.6
"""1 mAh; a battery that holds less is a driver that shows percent."""
AGREEMENT = 2.0
"""Two ways to the same power that differ by more than this factor are not the same unit."""
INTERVAL_S = 0.25
"""Fuel gauges convert a few times a second at most, and each read goes over a slow bus."""


class Supply(NamedTuple):
    """One folder of the class, and which of its values mean something."""

    root: str
    folder: str
    battery: bool
    volts: bool
    charge: Optional[str]
    """The counter of charge that is used."""


def find(root: str = "/") -> Found:
    """A gauge for every supply that measures something."""
    supplies = [name for name in _names(root) if _is_present(root, os.path.join(SUPPLIES, name))]
    own = [name for name in supplies if read_text(root, os.path.join(SUPPLIES, name, "scope")) != "Device"]
    batteries = [name for name in own if _kind(root, name) == "Battery"]
    found = [(name, _inspect(root, name)) for name in supplies]
    measured = [name for name, (supply, _) in found if name in own and not supply.battery and read(supply)]
    alone = batteries or measured
    gauges = [
        _gauge(name, supply, notes, own=name in own, whole=alone == [name])
        for name, (supply, notes) in found
        if supply.battery or name in measured
    ]
    return Found([gauge for gauge in gauges if gauge.channels], [])


def read(supply: Supply) -> Optional[Dict[str, float]]:
    """Its channels at this moment; None where it does not answer any more."""
    status = _text(supply, "status")
    values: Dict[str, Optional[float]] = {
        "voltage_v": _value(supply, "voltage_now", MICRO) if supply.volts else None,
        "current_a": _drawn(supply, _value(supply, "current_now", MICRO), status),
    }
    power = _value(supply, "power_now", MICRO)
    if power is not None:
        values["power_w"] = _power(supply, power, values["current_a"], status)
    elif values["voltage_v"] is not None and values["current_a"] is not None:
        values["power_w"] = values["voltage_v"] * values["current_a"]
    if supply.battery:
        energy = _value(supply, "energy_now", PER_HOUR)
        charge = None if supply.charge is None else _value(supply, supply.charge, PER_HOUR)
        percent = _value(supply, "capacity", 1.0)
        values["energy_j"] = None if energy is None else -energy  # what is left shrinks, what was drawn grows
        values["charge_c"] = None if charge is None else -charge
        values["capacity_percent"] = percent if percent is not None and 0 <= percent <= 100 else None  # noqa: PLR2004
        values["on_battery"] = None if status in (None, "", "Unknown") else float(status == "Discharging")
    if not _is_present(supply.root, supply.folder):
        return None
    return {name: value for name, value in values.items() if value is not None} or None


def _drawn(supply: Supply, current: Optional[float], status: Optional[str]) -> Optional[float]:
    if current is None or not supply.battery:
        return current
    if status == "Discharging":
        return abs(current)
    return -abs(current) if status == "Charging" else -current


def _power(supply: Supply, power: float, drawn: Optional[float], status: Optional[str]) -> float:
    if not supply.battery:
        return power
    charging = status == "Charging" or (status != "Discharging" and drawn is not None and drawn < 0)
    return -abs(power) if charging else abs(power)


def _gauge(name: str, supply: Supply, notes: Tuple[Note, ...], *, own: bool, whole: bool) -> Gauge:
    channels = {
        channel: Channel(resolution=1.0 if channel == "capacity_percent" else None) for channel in read(supply) or {}
    }
    return Gauge(
        name="power_supply/" + label(name),
        sensor="power_supply",
        covers=_covers(supply, own=own),
        whole_device=own and whole,
        channels=channels,
        read=partial(read, supply),
        interval_s=INTERVAL_S,
        capacity_j=_capacity(supply) if supply.battery else None,
        notes=notes,
    )


def _covers(supply: Supply, *, own: bool) -> str:
    if not own:
        return "a peripheral with a battery of its own, not this device"
    if read_text(supply.root, os.path.join(supply.folder, "type")) == "UPS":
        return "all that hangs on this uninterruptible power supply, this device and others"
    if supply.battery:
        return "all that is drawn from this battery; while a charger is attached, only what flows into or out of it"
    return "all that is drawn from this supply, the charging of a battery included"


def _inspect(root: str, name: str) -> Tuple[Supply, Tuple[Note, ...]]:
    """Which of its values to use, and what was found wrong."""
    supply = Supply(root, os.path.join(SUPPLIES, name), _kind(root, name) in ("Battery", "UPS"), True, None)
    supply, volts = _check_volts(name, supply)
    supply, charge = _check_charge(name, supply)
    return supply, tuple(volts + charge + _check_sign(name, supply) + _check_power(name, supply))


def _check_volts(name: str, supply: Supply) -> Tuple[Supply, List[Note]]:
    volts = _value(supply, "voltage_now", MICRO)
    if volts is None or volts == 0 or volts >= LEAST_VOLTS:
        return supply, []
    message = "%s: voltage_now says %g V, so its driver does not use microvolts; the voltage is left out." % (
        name,
        volts,
    )
    return supply._replace(volts=False), [_driver_note("battery-voltage-unit", message)]


def _check_charge(name: str, supply: Supply) -> Tuple[Supply, List[Note]]:
    there = [file for file in ("charge_now", "charge_counter") if _value(supply, file, PER_HOUR) is not None]
    full = _value(supply, "charge_full", PER_HOUR)
    if full is None or full >= LEAST_COULOMBS:
        return supply._replace(charge=there[0] if there else None), []
    message = "%s: charge_full says %g uAh, so its driver shows percent there; its charge is left out." % (
        name,
        full / PER_HOUR,
    )
    counter = "charge_counter" if "charge_counter" in there else None
    return supply._replace(charge=counter), [_driver_note("battery-charge-unit", message)]


def _check_sign(name: str, supply: Supply) -> List[Note]:
    status = _text(supply, "status")
    current = _value(supply, "current_now", MICRO)
    if current is None or not supply.battery:
        return []
    if not (current > 0 if status == "Discharging" else current < 0 and status == "Charging"):
        return []
    message = "%s: status is %r and current_now is %g A, against the kernel's ABI; the status is believed." % (
        name,
        status,
        current,
    )
    return [_driver_note("battery-current-sign", message)]


def _check_power(name: str, supply: Supply) -> List[Note]:
    power = _value(supply, "power_now", MICRO)
    current = _value(supply, "current_now", MICRO)
    volts = _value(supply, "voltage_now", MICRO) if supply.volts else None
    if not power or not current or not volts:
        return []
    product = abs(current * volts)
    if 1 / AGREEMENT <= abs(power) / product <= AGREEMENT:
        return []
    message = "%s: power_now says %g W, voltage times current %g W; power_now is used." % (name, abs(power), product)
    return [_driver_note("battery-power-unit", message)]


def _driver_note(name: str, message: str) -> Note:
    return note(name, message, "Compare with a meter before you rely on it; a newer kernel may have a better driver.")


def _capacity(supply: Supply) -> Optional[float]:
    """J; full charge times the voltage it was designed for, or has now."""
    energy = _value(supply, "energy_full", PER_HOUR)
    if energy is not None and energy > 0:
        return energy
    charge = _value(supply, "charge_full", PER_HOUR)
    for file in ("voltage_min_design", "voltage_now"):
        volts = _value(supply, file, MICRO)
        if charge is not None and charge >= LEAST_COULOMBS and volts is not None and volts >= LEAST_VOLTS:
            return charge * volts
    return None


def _names(root: str) -> List[str]:
    try:
        return sorted(name for name in os.listdir(os.path.join(root, SUPPLIES)) if not name.startswith(NEGOTIATED))
    except OSError:
        return []


def _is_present(root: str, folder: str) -> bool:
    """Whether the supply is there, and, if it can be taken out, in its bay."""
    return read_text(root, os.path.join(folder, "type")) is not None and read_int(
        root, os.path.join(folder, "present")
    ) in (None, 1)


def _kind(root: str, name: str) -> Optional[str]:
    return read_text(root, os.path.join(SUPPLIES, name, "type"))


def _text(supply: Supply, file: str) -> Optional[str]:
    return read_text(supply.root, os.path.join(supply.folder, file))


def _value(supply: Supply, file: str, unit: float) -> Optional[float]:
    return read_scaled(supply.root, os.path.join(supply.folder, file), unit)

"""What a device can tell about the power it draws: gauges, found by the sensors that are listed here.

A sensor is a module of ``sensors/`` with ``find(root="/") -> Found``: the gauges that are there, and those that cannot
be read. A gauge is read again and again while a model runs; what its values mean is decided on the host
(edgekit/bench/power/energy.py). Sources, units and traps of each: docs/sensors.md.
"""

from importlib import import_module
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Tuple

SENSORS = ("power_supply", "hwmon", "ina3221x", "pmic", "rapl")
"""Modules of ``edgekit.agent.sensors``, in the order of their gauges."""

CHANNELS = {
    "power_w": "drawn at this moment, W; negative where the source is being charged",
    "energy_j": "drawn since some moment in the past, J; counts up, and starts again at `wraps_at`",
    "charge_c": "drawn since some moment in the past, C; counts up",
    "current_a": "drawn at this moment, A; negative where the source is being charged",
    "voltage_v": "at this moment, V",
    "capacity_percent": "what a battery has left, % of what it holds when full",
    "on_battery": "1 while the battery is discharging, else 0",
}
"""Every channel that a gauge may have, and its unit."""


class Channel(NamedTuple):
    """One value of a gauge."""

    resolution: Optional[float] = None
    """The smallest step of it, in its unit; None where the source does not tell."""
    wraps_at: Optional[float] = None
    """Where a counter starts again at 0; None where it does not."""


Note = Dict[str, str]
"""A finding: ``name``, ``message`` (what is so) and ``fix`` (what to do)."""


class Gauge(NamedTuple):
    """Something that measures what the device draws."""

    name: str
    """The only one of this name on the device, such as ``power_supply/BAT0`` or ``hwmon2/VDD_IN``."""
    sensor: str
    """The module it comes from."""
    covers: str
    """What is behind it and what is not, in words."""
    whole_device: bool
    """Whether it covers all that the device draws, so that other gauges measure a part of it."""
    channels: Dict[str, Channel]
    """Keys of ``CHANNELS``."""
    read: Callable[[], Optional[Dict[str, float]]]
    """Channel -> value at this moment; None where the gauge does not answer any more."""
    interval_s: float = 0.05
    """Reading it more often tells nothing new, or costs too much."""
    capacity_j: Optional[float] = None
    """Energy that a full battery holds, by its own account; None for everything else."""
    notes: Tuple[Note, ...] = ()
    """What the driver is known to do wrong, and what was made of it."""


class Found(NamedTuple):
    """What a sensor, or all of them, have on this device."""

    gauges: List[Gauge]
    blocked: List[Note]
    """What is there and cannot be read, mostly for want of a permission."""


def find_gauges(root: str = "/") -> Found:
    """Every gauge of this device; none where nothing measures what it draws."""
    found = [import_module("edgekit.agent.sensors." + name).find(root) for name in SENSORS]
    return Found([gauge for item in found for gauge in item.gauges], [note for item in found for note in item.blocked])


def survey(root: str = "/") -> Dict[str, Any]:
    """``gauges``, each with what it says now as ``reading`` (None: nothing), and what is ``blocked``; for ``info``."""
    gauges, blocked = find_gauges(root)
    return {"gauges": [dict(describe_gauge(gauge), reading=gauge.read()) for gauge in gauges], "blocked": blocked}


def note(name: str, message: str, fix: str) -> Note:
    """A finding on a gauge, or on one that cannot be read."""
    return {"name": name, "message": message, "fix": fix}


def describe_gauge(gauge: Gauge) -> Dict[str, Any]:
    """A gauge as the host is told of it."""
    facts = gauge._asdict()
    del facts["read"]
    facts["channels"] = {name: channel._asdict() for name, channel in gauge.channels.items()}
    return dict(facts)

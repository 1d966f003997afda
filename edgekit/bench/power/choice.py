"""Which gauge of a device counts, and what of it is integrated. Pure."""

from collections.abc import Mapping, Sequence
from typing import Literal

from edgekit.bench.recording import ChannelName, GaugeNote, Trace
from edgekit.errors import DeviceFaultError

Method = Literal["counter", "charge", "power", "voltage-and-current"]
"""What is integrated: a counter of energy, one of charge times voltage, readings of power, or their two factors."""
CHANNELS: Mapping[Method, tuple[ChannelName, ...]] = {
    "counter": ("energy_j",),
    "charge": ("charge_c", "voltage_v"),
    "power": ("power_w",),
    "voltage-and-current": ("current_a", "voltage_v"),
}
"""What each needs, the best first: a counter misses nothing between two readings."""
NO_GAUGE = (
    "Use an external meter, or a board with a gauge of its own (docs/sensors.md lists both); "
    "virtual machines have none."
)
BATTERY_CHANNELS: tuple[ChannelName, ...] = ("on_battery", "capacity_percent")


def methods(trace: Trace) -> tuple[Method, ...]:
    """What can be integrated of a gauge, the best first; empty where it tells no power."""
    return tuple(method for method, needed in CHANNELS.items() if set(needed) <= set(trace.gauge.channels))


def choose_gauge(traces: Sequence[Trace], name: str | None = None, *, blocked: Sequence[GaugeNote] = ()) -> Trace:
    """The gauge called ``name``; else the best: of the whole device first, counters before readings of power.

    A battery that was not discharging comes last: what flows through it is not what the device draws.

    blocked: gauges that are there and could not be read; what would help comes first in the error's hint.

    Raises:
        DeviceFaultError: there is none of this name, it tells no power, or there is none at all.
    """
    able = [trace for trace in traces if methods(trace)]
    if name is not None:
        return _named(traces, able, name)
    if not able:
        why = " ".join(["Nothing that can be read on this device tells the power it draws.", *_messages(blocked)])
        raise DeviceFaultError(why, hint=blocked[0].fix if blocked else NO_GAUGE)
    return min(able, key=_rank)


def choose_battery(traces: Sequence[Trace], name: str | None = None) -> Trace:
    """The battery called ``name``; else the device's own before a keyboard's, then the first that was discharging.

    Raises:
        DeviceFaultError: there is no battery, or none of this name.
    """
    batteries = [trace for trace in traces if set(BATTERY_CHANNELS) & set(trace.gauge.channels)]
    if name is not None:
        return _named(traces, batteries, name)
    if not batteries:
        raise DeviceFaultError(
            f"This device has no battery that tells its state; its gauges: {_names(traces)}.",
            hint="Use --energy for what one inference costs; hours follow from the battery's own watt-hours.",
        )
    return min(batteries, key=lambda trace: (not trace.gauge.whole_device, _is_idle_battery(trace)))


def _named(traces: Sequence[Trace], able: Sequence[Trace], name: str) -> Trace:
    found = [trace for trace in able if trace.gauge.name == name]
    if found:
        return found[0]
    there = any(trace.gauge.name == name for trace in traces)
    raise DeviceFaultError(
        f"The gauge {name!r} does not tell what is needed here." if there else f"There is no gauge {name!r}.",
        hint=f"Name one that tells it: {_names(able)}; or leave --gauge out."
        if able
        else f"None here does. {NO_GAUGE}",
    )


def _messages(blocked: Sequence[GaugeNote]) -> list[str]:
    return [note.message for note in blocked]


def _names(traces: Sequence[Trace]) -> str:
    return ", ".join(trace.gauge.name for trace in traces) or "none"


def _rank(trace: Trace) -> tuple[bool, bool, bool]:
    """False comes first; of equals the first on the device wins."""
    counts = methods(trace)[0] in {"counter", "charge"}
    return _is_idle_battery(trace), not trace.gauge.whole_device, not counts


def _is_idle_battery(trace: Trace) -> bool:
    known = [value for value in trace.values.get("on_battery", ()) if value is not None]
    return bool(known) and not any(known)

"""Gauges that look at a power that is known at every moment: what each would have read."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgekit.bench.recording import Channel, ChannelName, Gauge, Trace

Array = NDArray[np.float64]
NS = 1e9
START_NS = 5_000_000_000_000
"""What the device's clock shows when the run begins."""


@dataclass(frozen=True, kw_only=True)
class SimulatedGauge:
    """How power becomes readings."""

    kind: str
    """``power``, ``energy``, ``charge`` (with a voltage), ``current`` (with a voltage), or ``none`` of them."""
    step: float | None = None
    """Values are rounded to multiples of it (W, J, C or A); None: not at all."""
    told: bool = True
    """Whether the gauge tells its step."""
    average_s: float = 0.0
    """A value is the mean of the last so many seconds."""
    lag_s: float = 0.0
    """Time constant of a first-order low-pass filter."""
    update_s: float = 0.0
    """A value is held for so long."""
    poll_s: float = 0.05
    jitter_s: float = 0.02
    """A poll is late by up to this."""
    noise: float = 0.0
    """Standard deviation of each update, in the value's unit."""
    offset: float = 0.0
    wander: float = 0.0
    """Standard deviation of a slow random walk of the offset, per square root of a second."""
    dropped: float = 0.0
    """Share of the polls without an answer."""
    wraps_at: float | None = None
    volts: float = 3.8
    capacity_j: float | None = None
    percent_step: float | None = None
    """Also tells what the battery has left, in steps of so many per cent."""
    vanishes_s: float | None = None
    """From here on it does not answer any more."""


def read(gauge: SimulatedGauge, times: Array, power: Array, random: np.random.Generator) -> Trace:
    """What it tells of a power, W, on a regular grid of times, s."""
    grid_s = times[1] - times[0]
    interval = gauge.poll_s
    count = int((times[-1] - 0.3) / interval)
    polls = np.arange(count) * interval + random.uniform(0, gauge.jitter_s or 1e-9, count)
    polls = polls[polls < times[-1]]
    seen = _updates(gauge, polls, random)
    shown = _filtered(gauge, power, grid_s)
    places = np.clip(np.searchsorted(times, seen, side="right") - 1, 0, len(times) - 1)
    updates, inverse = np.unique(seen, return_inverse=True)
    noise = gauge.noise * random.standard_normal(len(updates)) + gauge.offset
    noise += gauge.wander * np.cumsum(
        random.standard_normal(len(updates)) * np.sqrt(np.diff(updates, prepend=updates[0]))
    )
    energy = np.cumsum(power) * grid_s
    values: dict[ChannelName, Array] = {}
    match gauge.kind:
        case "power":
            values["power_w"] = _rounded(shown[places] + noise[inverse], gauge.step)
        case "current":
            values["current_a"] = _rounded(shown[places] / gauge.volts + noise[inverse], gauge.step)
            values["voltage_v"] = np.full(len(polls), gauge.volts)
        case "energy":
            values["energy_j"] = _wrapped(_floored(energy[places], gauge.step), gauge.wraps_at)
        case "charge":
            values["charge_c"] = _floored(energy[places] / gauge.volts, gauge.step)
            values["voltage_v"] = np.full(len(polls), gauge.volts)
    if gauge.percent_step is not None and gauge.capacity_j is not None:
        left = 80.3 - 100 * energy[places] / gauge.capacity_j
        values["capacity_percent"] = np.ceil(left / gauge.percent_step) * gauge.percent_step
        values["on_battery"] = np.ones(len(polls))
    missing = random.uniform(size=len(polls)) < gauge.dropped
    if gauge.vanishes_s is not None:
        missing |= polls >= gauge.vanishes_s
    return Trace(
        gauge=_describe(gauge, tuple(values), interval),
        monotonic_ns=tuple(int(START_NS + moment * NS) for moment in polls),
        values={
            name: tuple(None if gone else float(value) for gone, value in zip(missing, column, strict=True))
            for name, column in values.items()
        },
    )


def _updates(gauge: SimulatedGauge, polls: Array, random: np.random.Generator) -> Array:
    """Of what moment each poll tells."""
    if not gauge.update_s:
        return polls
    phase = random.uniform(0, gauge.update_s)
    return np.floor((polls - phase) / gauge.update_s) * gauge.update_s + phase


def _filtered(gauge: SimulatedGauge, power: Array, grid_s: float) -> Array:
    shown = power
    if gauge.average_s:
        width = max(1, round(gauge.average_s / grid_s))
        total = np.concatenate([np.full(width, power[:10].mean()), power]).cumsum()
        shown = (total[width:] - total[:-width]) / width
    if gauge.lag_s:
        # a first-order filter as the convolution with its truncated answer to an impulse
        weights = np.exp(-np.arange(0, 12 * gauge.lag_s, grid_s) / gauge.lag_s)
        padded = np.concatenate([np.full(len(weights), shown[:10].mean()), shown])
        size = 1 << (len(padded) + len(weights)).bit_length()
        answer = np.fft.irfft(np.fft.rfft(padded, size) * np.fft.rfft(weights / weights.sum(), size), size)
        shown = answer[len(weights) : len(weights) + len(power)]
    return shown


def _rounded(values: Array, step: float | None) -> Array:
    return values if step is None else np.round(values / step) * step


def _floored(values: Array, step: float | None) -> Array:
    return values if step is None else np.floor(values / step) * step


def _wrapped(values: Array, at: float | None) -> Array:
    return values if at is None else values % at


def _describe(gauge: SimulatedGauge, names: tuple[ChannelName, ...], interval: float) -> Gauge:
    measured = {"power": "power_w", "current": "current_a", "energy": "energy_j", "charge": "charge_c"}.get(gauge.kind)
    channels = {name: Channel(resolution=None, wraps_at=None) for name in names}
    for name in names:
        if name == measured:
            channels[name] = Channel(resolution=gauge.step if gauge.told else None, wraps_at=gauge.wraps_at)
    return Gauge(
        name=f"simulated/{gauge.kind}",
        sensor="simulated",
        covers="the whole simulated device",
        whole_device=True,
        channels=channels,
        interval_s=interval,
        capacity_j=gauge.capacity_j,
    )

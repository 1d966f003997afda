"""A device whose power is known at every moment, and the gauges that look at it: the truth for energy and battery."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

import numpy as np
from numpy.typing import NDArray

from edgekit.bench.recording import (
    Channel,
    ChannelName,
    Gauge,
    RecordedProcess,
    Recording,
    Segment,
    Stretch,
    Trace,
    Window,
)
from edgekit.bench.samples import MachineFacts, MachineState, RuntimeFacts

Array = NDArray[np.float64]
NS = 1e9
WINDOW_S = 1.0
START_NS = 5_000_000_000_000
"""What the device's clock shows when the run begins."""


@dataclass(frozen=True, kw_only=True)
class SimulatedDevice:
    """What happens, and what it costs."""

    idle_w: float
    energy_mj: float
    """Of one inference above idle, in the long run."""
    rate_per_s: float
    process_spread: float = 0.0
    """Standard deviation of the bias of a process's energy, relative."""
    noise_w: float = 0.0
    """Of the power itself, white on the grid's 10 ms."""
    drift_w_per_s: float = 0.0
    wander_w: float = 0.0
    """Amplitude of a slow swing of the base load, one period in the whole run."""
    warming: float = 0.0
    """By how much the power of the load rises while it runs, exponentially with ``warming_s``, relative."""
    warming_s: float = 20.0


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


@dataclass(frozen=True, kw_only=True)
class Run:
    """A recording and what is true of it."""

    recording: Recording
    energy_mj: float
    """Of an inference above idle, in the long run."""
    idle_w: float
    load_w: float
    """Mean over all load."""


def simulate(
    device: SimulatedDevice,
    gauge: SimulatedGauge,
    schedule: tuple[Segment, ...],
    *,
    processes: int,
    seed: int,
    grid_s: float = 0.01,
) -> Run:
    """Run the schedule in so many processes; the same seed gives the same recording."""
    random = np.random.default_rng(seed)
    stretches, loads = _stretches(device, schedule, processes, random)
    end_s = stretches[-1][2] + 0.2
    times = np.arange(-1.0, end_s, grid_s)
    power, load, truth = _power(device, times, stretches, loads, random)
    trace = _trace(gauge, times, power, random)
    idle, busy = ~load, load
    inside = np.zeros(len(times), dtype=bool)
    for _, start, end, _ in stretches:
        inside |= (times >= start) & (times < end)
    return Run(
        recording=_recording(schedule, processes, stretches, device, trace),
        energy_mj=truth,
        idle_w=float(power[idle & inside].mean()),
        load_w=float(power[busy & inside].mean()),
    )


Placed = tuple[int, float, float, int]
"""Segment and process are known from the order: place in the schedule, start, end (s), process."""


def _stretches(
    device: SimulatedDevice, schedule: tuple[Segment, ...], processes: int, random: np.random.Generator
) -> tuple[list[Placed], list[float]]:
    """Every stretch, and by what factor its process's energy differs."""
    found: list[Placed] = []
    biases = []
    now = 0.0
    for process in range(processes):
        bias = 1 + device.process_spread * random.standard_normal()
        for place, segment in enumerate(schedule):
            # the last inference of a load runs to its end
            secs = (
                ceil(segment.secs * device.rate_per_s) / device.rate_per_s if segment.kind == "load" else segment.secs
            )
            found.append((place, now, now + secs, process))
            biases.append(bias if segment.kind == "load" else 0.0)
            now += secs + 0.0005
        now += random.uniform(0.3, 0.8)
    return found, biases


def _power(
    device: SimulatedDevice, times: Array, stretches: list[Placed], biases: list[float], random: np.random.Generator
) -> tuple[Array, NDArray[np.bool_], float]:
    power = np.full(len(times), device.idle_w) + device.drift_w_per_s * times
    power += device.wander_w * np.sin(2 * np.pi * (times / times[-1] + random.uniform()))
    power += device.noise_w * random.standard_normal(len(times))
    load = np.zeros(len(times), dtype=bool)
    curves = []
    for (_, start, end, _), bias in zip(stretches, biases, strict=True):
        if bias:
            first, last = np.searchsorted(times, [start, end])
            curve = 1 + device.warming * (1 - np.exp(-(times[first:last] - start) / device.warming_s))
            power[first:last] += bias * curve * device.energy_mj / 1000 * device.rate_per_s
            load[first:last] = True
            curves.append(curve.mean())
    return power, load, device.energy_mj * float(np.mean(curves))


def _trace(gauge: SimulatedGauge, times: Array, power: Array, random: np.random.Generator) -> Trace:
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


def _recording(
    schedule: tuple[Segment, ...],
    processes: int,
    stretches: list[Placed],
    device: SimulatedDevice,
    trace: Trace,
) -> Recording:
    placed, windows = [], []
    for place, start, end, process in stretches:
        rate = device.rate_per_s if schedule[place].kind == "load" else 0.0
        placed.append(
            Stretch(
                process=process,
                segment=place,
                start_ns=_ns(start),
                end_ns=_ns(end),
                inferences=round(rate * (end - start)),
            )
        )
        if rate:
            windows += _windows(place, process, start, end, rate)
    last = stretches[-1][2]
    states = tuple(state(START_NS + int(second * NS)) for second in range(int(last)))
    return Recording(
        machine=MACHINE,
        schedule=schedule,
        processes=tuple(
            RecordedProcess(
                process=number,
                runtime=RuntimeFacts(name="simulated", version="1"),
                load_ms=1.0,
                first_ms=1.0,
                rss_before_load_bytes=None,
                peak_rss_bytes=None,
            )
            for number in range(processes)
        ),
        stretches=tuple(placed),
        windows=tuple(windows),
        traces=(trace,),
        states=states,
        before=state(START_NS),
        after=state(_ns(last)),
    )


def _windows(place: int, process: int, start: float, end: float, rate: float) -> list[Window]:
    found = []
    duration = int(NS / rate)
    each = max(1, round(WINDOW_S * rate))
    total = round((end - start) * rate)
    for done in range(0, total, each):
        count = min(each, total - done)
        first = start + done / rate
        if count:
            times = {f"{name}_ns": duration for name in ("min", "p50", "p90", "p99", "max", "mean")}
            found.append(
                Window(
                    process=process,
                    segment=place,
                    start_ns=_ns(first),
                    end_ns=_ns(first + count / rate),
                    count=count,
                    cpu_s=count / rate,
                    late=0,
                    **times,
                )
            )
    return found


def _ns(seconds: float) -> int:
    return START_NS + int(seconds * NS)


MACHINE = MachineFacts(
    python="3.11.2",
    python_executable="/usr/bin/python3",
    architecture="aarch64",
    libc="glibc 2.36",
    kernel="6.6",
    board="simulated",
    cpu="simulated",
    cores=4,
    memory_bytes=2**30,
    emulated=None,
    virtual=False,
)


def state(monotonic_ns: int) -> MachineState:
    """A machine at one moment, with nothing wrong."""
    return MachineState(
        monotonic_ns=monotonic_ns,
        clock_offset_ns=1_700_000_000_000_000_000,
        suspended_ns=0,
        cpu=0,
        policies=(),
        temperatures_c={},
        cpu_cooling={},
        firmware_throttle=None,
        throttle_count=None,
        cpu_time_s=None,
        memory_available_bytes=None,
        swap_used_bytes=None,
    )

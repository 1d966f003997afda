"""A device whose power is known at every moment, looked at by a simulated gauge: the truth for energy and battery."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

import numpy as np
from numpy.typing import NDArray

from benchmarks.simulated_gauge import NS, START_NS, Array, SimulatedGauge, read
from edgekit.bench.recording import RecordedProcess, Recording, Segment, Stretch, Trace, Window
from edgekit.bench.samples import MachineFacts, MachineState, RuntimeFacts

WINDOW_S = 1.0


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
    trace = read(gauge, times, power, random)
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

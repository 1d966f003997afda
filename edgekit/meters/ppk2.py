"""Nordic's Power Profiler Kit II, by the library ppk2-api (https://github.com/IRNAS/ppk2-api-python).

Sources: PPK2 User Guide (https://docs.nordicsemi.com/bundle/ug_ppk2): 100,000 samples of current a second, 200 nA to
1 A, 0.8 to 5 V; resolution 100 nA to 1 mA, by range. Frames: 4 bytes little-endian, bits 0-13 ADC, 14-16 range, 18-23 a
counter of samples, 24-31 logic (https://github.com/NordicSemiconductor/pc-nrfconnect-ppk, src/device/serialDevice.ts).

It measures current only. As a source meter (``source=3.3``) it feeds the device and knows the voltage; as an ampere
meter it lies in the device's supply, whose voltage the user tells (``volts=5.1``); without it there is no power.

The library takes any bytes for samples, and a piece of a frame for a whole one (its issue 30); a lost byte shifts all
that follow (issues 8 and 45). So whole frames go in, and the counter, which the library ignores, tells when some were
lost.
"""

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from queue import SimpleQueue
from threading import Event, Thread
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from edgekit.bench.recording import Channel, ChannelName, Gauge, GaugeNote, Trace
from edgekit.errors import MeterError

if TYPE_CHECKING:
    import numpy.typing as npt

    from edgekit.bench.power.external import Meter

OPTIONS = {
    "source": "volts that the PPK2 feeds the device with, 0.8 to 5",
    "volts": "volts of the supply that the PPK2 lies in as an ampere meter, 0.8 to 5",
}
LEAST_VOLTS, MOST_VOLTS = 0.8, 5.0
ASSUMED_VOLTS = 3.3
"""For the library's correction of the shunt's leakage, below 1 uA, where the voltage is not told."""
PERIOD_NS = 10_000
SAMPLES_PER_READING = 1000
"""10 ms: as fine as anything here needs, and a long run stays small."""
FRAME_BYTES = 4
WINDOW = 500
"""Readings; 5 s, in which some come at once."""
SLICE_BYTES = 256 * FRAME_BYTES
"""About a millisecond of the library's time (3 us a sample)."""
COUNTER_SHIFT, COUNTER_MASK = 18, 0x3F
IDLE_S = 0.001
SILENCE_S = 1.0
"""It sends all the time: silence is the end."""
DRAIN_S = 10.0


def connect(address: str | None, options: Mapping[str, float]) -> "Meter":
    """The PPK2 at a serial port, or the only one that is attached."""
    if {"source", "volts"} <= set(options):
        raise MeterError("ppk2: it is a source or an ampere meter.", hint="Give either source= or volts=.")
    for option, volts in options.items():
        if not LEAST_VOLTS <= volts <= MOST_VOLTS:
            raise MeterError(
                f"ppk2: {option}={volts:g} is outside of its {LEAST_VOLTS:g} to {MOST_VOLTS:g} V.",
                hint="A supply of more needs another meter.",
            )
    try:
        import serial
        from ppk2_api.ppk2_api import PPK2_API
    except ImportError as err:
        raise MeterError(
            f"The library of the PPK2 is missing: {err}.", hint="Install it: pip install 'edgekit[meters]'."
        ) from err
    port = address or _only_port(PPK2_API.list_devices())
    try:
        api = PPK2_API(port, timeout=SILENCE_S, write_timeout=SILENCE_S, exclusive=True)
        api.stop_measuring()  # it may still be sending what somebody else began
        time.sleep(IDLE_S)
        api.ser.reset_input_buffer()
        known = api.get_modifiers()
    except (serial.SerialException, UnicodeDecodeError) as err:
        raise MeterError(
            f"ppk2: {port} cannot be used: {err}.",
            hint="Close the Power Profiler; let this user open the port (sudo usermod -aG dialout USER).",
        ) from err
    if not known:
        api.ser.close()
        raise MeterError(
            f"ppk2: what is at {port} does not answer like a PPK2.",
            hint="It has two ports: try the other one; or unplug it and plug it in again.",
        )
    return Ppk2(api, source=options.get("source"), volts=options.get("volts"))


def _only_port(found: Sequence[Any]) -> str:
    ports = [item if isinstance(item, str) else item[0] for item in found]
    if len(ports) != 1:
        raise MeterError(
            f"There are {len(ports)} serial ports of a PPK2: {', '.join(ports)}." if ports else "There is no PPK2.",
            hint="Name its port: ppk2:/dev/ttyACM0; without one look at the cable, and that its switch is on.",
        )
    return ports[0]


class Ppk2:
    """A PPK2 that measures inside ``with``."""

    def __init__(self, api: Any, *, source: float | None, volts: float | None) -> None:
        self._api = api
        self._source = source
        self._volts = source or volts
        self._readings = Readings()
        self._chunks: SimpleQueue[tuple[int, bytes] | None] = SimpleQueue()
        self._stop = Event()
        self._threads = [Thread(target=self._receive, daemon=True), Thread(target=self._convert, daemon=True)]

    @property
    def gauge(self) -> Gauge:
        """What it tells depends on whether the voltage is known."""
        names: list[ChannelName] = ["current_a", "charge_c"]
        role = "all that flows from its VOUT" if self._source else "all that flows through it"
        note = GaugeNote(
            name="meter-voltage",
            message="The PPK2 measures current, and nobody told the voltage of the supply: there is no power.",
            fix="Name it: ppk2,volts=5.1 for an ampere meter, ppk2,source=3.3 for a source meter.",
        )
        return Gauge(
            name="ppk2",
            sensor="ppk2",
            covers=f"{role}, up to 1 A; what is fed in another way, such as by a cable of USB, is missing",
            whole_device=True,
            channels={
                name: Channel(resolution=None, wraps_at=None)
                for name in ([*names, "power_w", "energy_j"] if self._volts else names)
            },
            interval_s=SAMPLES_PER_READING * PERIOD_NS / 1e9,
            notes=() if self._volts else (note,),
        )

    def __enter__(self) -> Self:
        if self._source:
            self._api.use_source_meter()
        else:
            self._api.use_ampere_meter()
        self._api.set_source_voltage(round(1000 * (self._volts or ASSUMED_VOLTS)))
        self._api.toggle_DUT_power("ON")
        self._api.ser.reset_input_buffer()
        self._api.start_measuring()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop; a device that it feeds stays on."""
        self._stop.set()
        for thread in self._threads:
            thread.join(DRAIN_S)
        self._api.stop_measuring()
        with suppress(OSError):
            self._api.ser.close()

    def trace(self) -> Trace:
        """Means over 10 ms, at the end of each; charge and energy since the start."""
        times, amperes = self._readings.columns()
        charge = _running_sum(amperes, SAMPLES_PER_READING * PERIOD_NS / 1e9)
        values = {"current_a": amperes, "charge_c": charge}
        if self._volts:
            values["power_w"] = _scaled(amperes, self._volts)
            values["energy_j"] = _scaled(charge, self._volts)
        return Trace(gauge=self.gauge, monotonic_ns=times, values={name: values[name] for name in self.gauge.channels})

    def _receive(self) -> None:
        """Read without delay: the port holds only some milliseconds."""
        heard = time.monotonic()
        while not self._stop.is_set():
            try:
                data = self._api.get_data()
            except OSError:
                break
            if data:
                heard = time.monotonic()
                self._chunks.put((time.monotonic_ns(), data))
            elif time.monotonic() - heard > SILENCE_S:
                break
            else:
                time.sleep(IDLE_S)
        if not self._stop.is_set():
            self._chunks.put((time.monotonic_ns(), b""))
        self._chunks.put(None)

    def _convert(self) -> None:
        rest = b""
        last: int | None = None
        while (chunk := self._chunks.get()) is not None:
            moment, data = chunk
            if not data:
                self._readings.lose(moment)
                continue
            whole, rest = split_frames(rest + data)
            if not whole:
                continue
            lost, last = find_loss(whole, last)
            if lost:
                self._readings.lose(moment)
            else:
                self._readings.add(self._samples(whole), moment)

    def _samples(self, frames: bytes) -> list[float]:
        """Microamperes; a bit at a time, as the library's loop would keep the other thread from the port."""
        found: list[float] = []
        for start in range(0, len(frames), SLICE_BYTES):
            found += self._api.get_samples(frames[start : start + SLICE_BYTES])[0]
            time.sleep(0)
        return found


class Readings:
    """Samples of current -> means of ``SAMPLES_PER_READING``, each at the time of its last sample."""

    def __init__(self) -> None:
        self._times: list[int] = []
        self._amperes: list[float | None] = []
        self._open: list[float] = []

    def add(self, microamperes: Sequence[float], moment_ns: int) -> None:
        """Samples in order, of which the last came at ``moment_ns``."""
        samples = self._open + list(microamperes)
        while len(samples) >= SAMPLES_PER_READING:
            mean = float(np.mean(samples[:SAMPLES_PER_READING]))
            samples = samples[SAMPLES_PER_READING:]
            self._append(moment_ns - len(samples) * PERIOD_NS, mean * 1e-6 if np.isfinite(mean) else None)
        self._open = samples

    def lose(self, moment_ns: int) -> None:
        """Some samples never came."""
        self._open = []
        self._append(moment_ns, None)

    def columns(self) -> tuple[tuple[int, ...], tuple[float | None, ...]]:
        """Times (monotonic ns, rising) and amperes."""
        amperes = tuple(self._amperes)  # the other thread appends to it last
        return steady(self._times[: len(amperes)], amperes), amperes

    def _append(self, moment_ns: int, amperes: float | None) -> None:
        self._times.append(moment_ns)
        self._amperes.append(amperes)


def steady(arrivals: Sequence[int], amperes: Sequence[float | None]) -> tuple[int, ...]:
    """When readings were taken, from when they came, which is later by up to 50 ms on a busy machine; ns, rising.

    Between two losses they are ``SAMPLES_PER_READING`` samples apart by the PPK2's crystal; the quickest within
    ``WINDOW`` readings shows where they lie, so that the crystal may be off by 0.1 ms a second.
    """
    period = SAMPLES_PER_READING * PERIOD_NS
    lost = np.array([value is None for value in amperes], dtype=bool)
    bounds = np.flatnonzero(lost | np.concatenate([[False], lost[:-1]]))  # a loss stands alone
    runs = np.split(np.array(arrivals, dtype=np.int64), bounds)
    times = np.concatenate([_settle(run, period) for run in runs])
    order = np.arange(times.size)
    # what came is never too early: where two are out of order the first is the late one
    return tuple((np.minimum.accumulate((times - order)[::-1])[::-1] + order).tolist())


def _settle(arrivals: "npt.NDArray[np.int64]", period: int) -> "npt.NDArray[np.int64]":
    if not arrivals.size:
        return arrivals
    places = np.arange(arrivals.size) * period
    lateness = np.pad(arrivals - places, WINDOW // 2, mode="edge")
    least: npt.NDArray[np.int64] = sliding_window_view(lateness, WINDOW + 1).min(axis=1)
    return places + least


def split_frames(data: bytes) -> tuple[bytes, bytes]:
    """Whole frames, and the start of the next."""
    end = len(data) - len(data) % FRAME_BYTES
    return data[:end], data[end:]


def find_loss(frames: bytes, last: int | None) -> tuple[bool, int]:
    """Whether samples are missing in or before these frames, by their counters; and the last counter."""
    counters = (np.frombuffer(frames, "<u4") >> COUNTER_SHIFT) & COUNTER_MASK
    steps = np.diff(counters if last is None else np.concatenate([[last], counters]))
    return bool(np.any(steps % (COUNTER_MASK + 1) != 1)), int(counters[-1])


def _running_sum(amperes: Sequence[float | None], secs: float) -> tuple[float | None, ...]:
    total, found = 0.0, []
    for value in amperes:
        total += 0.0 if value is None else value * secs
        found.append(None if value is None else total)
    return tuple(found)


def _scaled(column: Sequence[float | None], factor: float) -> tuple[float | None, ...]:
    return tuple(None if value is None else value * factor for value in column)

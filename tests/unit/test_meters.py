"""External meters: the PPK2 by its real library and a device at a pseudo terminal, the Joulescope at its library."""

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyjoulescope_driver
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.bench.recording import Trace
from edgekit.errors import MeterError
from edgekit.meters import joulescope, open_meter, ppk2
from tests.unit.fake_ppk2 import AMPERES_PER_STEP, FakePpk2, frames

pytestmark = pytest.mark.unit
STEP = 500
"""Of the ADC: 0.44 A."""


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ppk2, "SAMPLES_PER_READING", 100)
    monkeypatch.setattr(ppk2, "SILENCE_S", 0.2)
    monkeypatch.setattr("ppk2_api.ppk2_api.time.sleep", lambda _secs, real=time.sleep: real(0.01))


def wait(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def column(trace: Trace, name: Any) -> list[float | None]:
    return list(trace.values[name])


def test_a_ppk2_that_feeds_the_device() -> None:
    chunks = [frames([STEP] * 64), frames([STEP] * 500, 64), frames([2 * STEP] * 500, 564)]
    with FakePpk2(chunks) as device, open_meter(f"ppk2:{device.port},source=3.3") as meter:
        wait(lambda: len(meter.trace().monotonic_ns) >= 10)
        trace = meter.trace()
    assert set(trace.values) == {"current_a", "charge_c", "power_w", "energy_j"} == set(meter.gauge.channels)
    amperes = [value for value in trace.values["current_a"][:10] if value is not None]
    assert amperes[:5] == pytest.approx([STEP * AMPERES_PER_STEP] * 5)
    assert amperes[6:] == pytest.approx([2 * STEP * AMPERES_PER_STEP] * 4)
    assert trace.values["power_w"][0] == pytest.approx(3.3 * STEP * AMPERES_PER_STEP)
    energy = [value for value in trace.values["energy_j"][:10] if value is not None]
    assert energy[-1] == pytest.approx(3.3 * sum(amperes) * 1e-3)  # each of 100 samples: 1 ms
    assert list(trace.monotonic_ns) == sorted(set(trace.monotonic_ns))
    assert (0x11, 2) in device.commands  # a source meter
    assert (0x0D, 12, 228) in device.commands  # 3.3 V
    assert device.commands[-1] == (0x07,)
    assert meter.gauge.notes == ()


def test_without_a_voltage_there_is_no_power_and_it_is_said() -> None:
    with FakePpk2([frames([STEP] * 200)]) as device, open_meter(f"ppk2:{device.port}") as meter:
        wait(lambda: meter.trace().monotonic_ns)
        assert set(meter.trace().values) == {"current_a", "charge_c"}
        assert "nobody told the voltage" in meter.gauge.notes[0].message
    assert (0x11, 1) in device.commands  # an ampere meter


def test_lost_samples_are_a_reading_that_is_missing() -> None:
    seen = threading.Event()

    def chunks() -> Iterator[bytes]:
        yield frames([STEP] * 100)
        seen.wait(5)
        yield frames([STEP] * 100, 150)

    with FakePpk2(chunks()) as device, open_meter(f"ppk2:{device.port},volts=5") as meter:
        wait(lambda: meter.trace().monotonic_ns)
        seen.set()
        wait(lambda: None in meter.trace().values["power_w"])
    first, lost, *_ = column(meter.trace(), "energy_j")
    assert first is not None
    assert lost is None


def test_a_shifted_byte_is_no_current() -> None:
    """The library would make 0.9 kA of it (its issue 45)."""
    shifted = frames([STEP] * 300)[1:] + b"\x00"
    with FakePpk2([shifted]) as device, open_meter(f"ppk2:{device.port},volts=5") as meter:
        wait(lambda: meter.trace().monotonic_ns)
    assert set(meter.trace().values["current_a"]) == {None}


def test_a_ppk2_that_falls_silent_is_seen() -> None:
    with FakePpk2([frames([STEP] * 100)]) as device, open_meter(f"ppk2:{device.port},volts=5") as meter:
        wait(lambda: None in meter.trace().values["power_w"])
    assert column(meter.trace(), "power_w")[-1] is None


def test_a_ppk2_that_is_pulled_out_is_seen() -> None:
    with FakePpk2([frames([STEP] * 100), b""]) as device, open_meter(f"ppk2:{device.port},volts=5") as meter:
        wait(lambda: None in meter.trace().values["power_w"])


def test_frames_in_pieces_are_whole_samples() -> None:
    data = frames(range(100, 1100))
    pieces = [data[start : start + 7] for start in range(0, len(data), 7)]
    with FakePpk2(pieces) as device, open_meter(f"ppk2:{device.port},volts=5") as meter:
        wait(lambda: len(meter.trace().monotonic_ns) >= 10)
    expected = [float(np.mean(range(100 * n, 100 * n + 100))) * AMPERES_PER_STEP for n in range(1, 11)]
    assert column(meter.trace(), "current_a")[:10] == pytest.approx(expected)


def test_something_else_at_the_port() -> None:
    with FakePpk2([], metadata="hello") as device, pytest.raises(MeterError, match="does not answer like a PPK2"):
        open_meter(f"ppk2:{device.port}")


def test_no_such_port(tmp_path: Path) -> None:
    with pytest.raises(MeterError, match="cannot be used") as error:
        open_meter(f"ppk2:{tmp_path}/none")
    assert "dialout" in error.value.hint


@pytest.mark.parametrize(
    ("ports", "message"),
    [([], "There is no PPK2"), (["/dev/a", "/dev/b"], "There are 2 serial ports of a PPK2: /dev/a, /dev/b")],
)
def test_which_ppk2(monkeypatch: pytest.MonkeyPatch, ports: list[str], message: str) -> None:
    monkeypatch.setattr("ppk2_api.ppk2_api.PPK2_API.list_devices", staticmethod(lambda: ports))
    with pytest.raises(MeterError, match=message):
        open_meter("ppk2")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("ampere", "There is no meter 'ampere'; edgekit knows ppk2, joulescope"),
        ("", "There is no meter ''"),
        ("ppk2,volts=12", "volts=12 is outside of its 0.8 to 5 V"),
        ("ppk2,volts=5,source=5", "a source or an ampere meter"),
        ("ppk2,volts=nan", "'volts=nan' is no option with a number"),
        ("ppk2,volts", "'volts' is no option with a number"),
        ("ppk2,ohms=5", "ppk2 has no option 'ohms'"),
        ("joulescope,volts=5", "joulescope has no option 'volts'"),
    ],
)
def test_names_that_mean_nothing(name: str, message: str) -> None:
    with pytest.raises(MeterError, match=message) as error:
        open_meter(name)
    assert error.value.hint


@pytest.mark.parametrize(("module", "name"), [("ppk2_api.ppk2_api", "ppk2"), ("pyjoulescope_driver", "joulescope")])
def test_a_library_that_is_missing(monkeypatch: pytest.MonkeyPatch, module: str, name: str) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MeterError, match=r"library of the .* is missing") as error:
        open_meter(name)
    assert error.value.hint == "Install it: pip install 'edgekit[meters]'."


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 2**14 - 1), min_size=1, max_size=200), st.integers(0, 63), st.data())
def test_every_loss_below_64_samples_shows_in_the_counter(steps: list[int], start: int, data: st.DataObject) -> None:
    assert ppk2.find_loss(frames(steps, start), None) == (False, (start + len(steps) - 1) & 63)
    lost = data.draw(st.integers(1, 63))
    assert ppk2.find_loss(frames(steps, start), (start - 1 - lost) & 63)[0]
    assert not ppk2.find_loss(frames(steps, start), (start - 1) & 63)[0]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(-1e6, 1e6), max_size=450), st.lists(st.integers(1, 120), max_size=10))
def test_readings_are_means_of_all_samples(samples: list[float], sizes: list[int]) -> None:
    readings = ppk2.Readings()
    rest = list(samples)
    for number, size in enumerate([*sizes, len(samples) + 1]):
        readings.add(rest[:size], number * 10_000_000)
        rest = rest[size:]
    times, amperes = readings.columns()
    whole = len(samples) // 100
    expected = [float(np.mean(samples[100 * n : 100 * n + 100])) * 1e-6 for n in range(whole)]
    assert list(amperes) == pytest.approx(expected)
    assert list(times) == sorted(set(times))


@pytest.mark.parametrize("drift", [-1e-4, 0.0, 1e-4])
def test_readings_that_come_late_are_put_where_they_belong(drift: float) -> None:
    random = np.random.default_rng(0)
    taken = 5_000_000_000 + (np.arange(6000) * 1_000_000 * (1 + drift)).astype(np.int64)  # 100 samples: 1 ms
    late = random.exponential(0.5e6, 6000) + 40e6 * (random.random(6000) < 0.01)
    arrivals = np.maximum.accumulate(taken + late.astype(np.int64))
    amperes: list[float | None] = [1.0] * 6000
    amperes[3000] = None
    times = np.array(ppk2.steady(arrivals.tolist(), amperes))
    assert np.all(np.diff(times) > 0)
    kept = np.arange(6000) != 3000
    assert np.abs(times - taken)[kept].max() < 0.5e6
    assert np.abs(arrivals - taken).max() > 20e6


class FakeDriver:
    """The part of pyjoulescope_driver.Driver that is used; statistics as its 2.2 gives them."""

    def __init__(self, paths: tuple[str, ...] = ("u/js220/001234",)) -> None:
        self.paths = paths
        self.published: dict[str, Any] = {}
        self.callback: Any = None
        self.calls: list[str] = []

    def device_paths(self) -> list[str]:
        return list(self.paths)

    def open(self, path: str) -> None:
        self.calls.append(f"open {path}")

    def close(self, path: str) -> None:
        self.calls.append(f"close {path}")

    def finalize(self) -> None:
        self.calls.append("finalize")

    def publish(self, topic: str, value: Any) -> None:
        self.published[topic] = value

    def subscribe(self, topic: str, flags: str, callback: Any) -> None:
        assert (topic, flags) == (f"{self.paths[0]}/s/stats/value", "pub")
        self.callback = callback

    def unsubscribe(self, _topic: str, callback: Any) -> None:
        assert callback is self.callback  # the library compares identities
        self.callback = None

    def say(self, power: float, energy: float) -> None:
        signals = {"current": 0.5, "voltage": 5.0, "power": power}
        self.callback(
            "topic",
            {
                "time": {"samples": {"value": [0, 50_000], "units": "samples"}},
                "signals": {name: {"avg": {"value": value, "units": ""}} for name, value in signals.items()},
                "accumulators": {"charge": {"value": energy / 5}, "energy": {"value": energy}},
            },
        )


def attach(monkeypatch: pytest.MonkeyPatch, driver: FakeDriver) -> FakeDriver:
    monkeypatch.setattr(pyjoulescope_driver, "Driver", lambda: driver)
    return driver


@pytest.mark.parametrize(("model", "count"), [("js220", 50_000), ("js110", 100_000)])
def test_a_joulescope(monkeypatch: pytest.MonkeyPatch, model: str, count: int) -> None:
    driver = attach(monkeypatch, FakeDriver((f"u/{model}/001234",)))
    with open_meter("joulescope") as meter:
        assert driver.published[f"u/{model}/001234/s/stats/scnt"] == count
        driver.say(2.5, 10.0)
        driver.say(3.5, 10.175)
    trace = meter.trace()
    assert trace.values["power_w"] == (2.5, 3.5)
    assert trace.values["energy_j"] == (10.0, 10.175)
    assert column(trace, "charge_c") == pytest.approx([2.0, 2.035])
    assert trace.values["voltage_v"] == (5.0, 5.0)
    assert meter.gauge.whole_device
    assert driver.calls[-2:] == [f"close u/{model}/001234", "finalize"]
    assert driver.callback is None


def test_a_joulescope_that_falls_silent_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = attach(monkeypatch, FakeDriver())
    monkeypatch.setattr(joulescope, "SILENCE_NS", 0)
    with open_meter("joulescope:001234") as meter:
        driver.say(2.5, 10.0)
    assert meter.trace().values["power_w"] == (2.5, None)


@pytest.mark.parametrize(
    ("paths", "name", "message"),
    [
        ((), "joulescope", "There is no Joulescope; attached: none"),
        (("u/js220/1", "u/js110/2"), "joulescope", "There is more than one Joulescope; attached: u/js220/1, u/js110/2"),
        (("u/js220/1",), "joulescope:7", "There is no Joulescope 7; attached: u/js220/1"),
        (("u/js999/1", "odd"), "joulescope", "There is no Joulescope; attached: u/js999/1, odd"),
    ],
)
def test_which_joulescope(monkeypatch: pytest.MonkeyPatch, paths: tuple[str, ...], name: str, message: str) -> None:
    driver = attach(monkeypatch, FakeDriver(paths))
    with pytest.raises(MeterError, match=message):
        open_meter(name)
    assert driver.calls == ["finalize"]


def test_the_real_library_without_a_joulescope() -> None:
    """It starts, sees no instrument, and ends."""
    with pytest.raises(MeterError, match="There is no Joulescope"):
        open_meter("joulescope")


@pytest.mark.parametrize("step", ["open", "publish"])
def test_a_joulescope_that_refuses(monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    driver = attach(monkeypatch, FakeDriver())

    def refuse(*_arguments: Any) -> None:
        raise RuntimeError("jsdrv_open failed 4")

    monkeypatch.setattr(driver, step, refuse)
    with pytest.raises(MeterError, match="jsdrv_open failed 4"), open_meter("joulescope"):
        os.abort()
    assert driver.calls[-1] == "finalize"

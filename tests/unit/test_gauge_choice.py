"""Which gauge counts, and what an engineer is told where there is none."""

import pytest

from edgekit.bench.power.choice import choose_battery, choose_gauge, methods
from edgekit.bench.recording import Channel, ChannelName, Gauge, GaugeNote, Trace
from edgekit.errors import DeviceFaultError

pytestmark = pytest.mark.unit


def trace(name: str, *channels: ChannelName, whole: bool = True, on_battery: float | None = None) -> Trace:
    gauge = Gauge(
        name=name,
        sensor="test",
        covers="all",
        whole_device=whole,
        channels={channel: Channel(resolution=None, wraps_at=None) for channel in channels},
        interval_s=1.0,
    )
    values: dict[ChannelName, tuple[float | None, ...]] = {
        channel: (on_battery if channel == "on_battery" else 1.0,) for channel in channels
    }
    return Trace(gauge=gauge, monotonic_ns=(0,), values=values)


RAIL = trace("hwmon/VDD", "power_w", whole=False)
PACKAGE = trace("rapl/package-0", "energy_j", whole=False)
METER = trace("ppk2", "current_a", "voltage_v")
TEMPERED = trace("joulescope", "energy_j", "power_w")
CHARGED = trace("power_supply/BAT0", "power_w", "on_battery", on_battery=0.0)
DRAINED = trace("power_supply/BAT1", "charge_c", "voltage_v", "on_battery", on_battery=1.0)
PERCENT = trace("power_supply/BAT2", "capacity_percent")
KEYBOARD = trace("power_supply/hid-1-battery", "capacity_percent", "on_battery", whole=False, on_battery=1.0)


def test_methods_the_best_first() -> None:
    assert methods(TEMPERED) == ("counter", "power")
    assert methods(DRAINED) == ("charge",)
    assert methods(METER) == ("voltage-and-current",)
    assert methods(PERCENT) == ()


@pytest.mark.parametrize(
    ("there", "best"),
    [
        ((RAIL, PACKAGE), PACKAGE),
        ((PACKAGE, METER), METER),
        ((METER, TEMPERED), TEMPERED),
        ((CHARGED, RAIL), RAIL),
        ((RAIL, DRAINED), DRAINED),
        ((PERCENT, CHARGED), CHARGED),
    ],
)
def test_the_whole_device_first_then_counters_and_a_charged_battery_last(there: tuple[Trace, ...], best: Trace) -> None:
    assert choose_gauge(there) is best


def test_a_gauge_by_name() -> None:
    assert choose_gauge((RAIL, METER), "hwmon/VDD") is RAIL
    with pytest.raises(DeviceFaultError, match="There is no gauge 'INA'") as err:
        choose_gauge((RAIL, METER), "INA")
    assert "hwmon/VDD, ppk2" in err.value.hint
    with pytest.raises(DeviceFaultError, match="does not tell what is needed"):
        choose_gauge((RAIL, PERCENT), "power_supply/BAT2")
    with pytest.raises(DeviceFaultError, match="There is no gauge 'INA'") as err:
        choose_gauge((), "INA")
    assert err.value.hint.startswith("None here does. Use an external meter")


def test_no_gauge_says_what_is_blocked() -> None:
    with pytest.raises(DeviceFaultError, match="Nothing that can be read") as err:
        choose_gauge(())
    assert "external meter" in err.value.hint
    note = GaugeNote(name="gauge-blocked", message="RAPL is there, for root alone.", fix="Run as root.")
    with pytest.raises(DeviceFaultError, match="RAPL is there, for root alone") as err:
        choose_gauge((PERCENT,), blocked=(note,))
    assert err.value.hint == "Run as root."


def test_batteries() -> None:
    assert choose_battery((METER, CHARGED, DRAINED)) is DRAINED
    assert choose_battery((CHARGED,)) is CHARGED
    assert choose_battery((KEYBOARD, DRAINED)) is DRAINED
    assert choose_battery((KEYBOARD, CHARGED)) is CHARGED
    assert choose_battery((DRAINED, PERCENT), "power_supply/BAT2") is PERCENT
    with pytest.raises(DeviceFaultError, match="no battery that tells its state; its gauges: ppk2"):
        choose_battery((METER,))

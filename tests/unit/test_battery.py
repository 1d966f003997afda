"""Drain and hours of a battery against simulated ones; what cannot be told is not."""

from dataclasses import replace as changed
from functools import cache
from typing import Any

import pytest
from msgspec.structs import replace

from benchmarks.simulated_device import Run, SimulatedDevice, simulate
from benchmarks.simulated_gauge import SimulatedGauge
from edgekit.bench.power.battery import BATTERY_PROCESSES, BatteryReport, battery_schedule, summarize_battery
from edgekit.bench.recording import Recording
from edgekit.bench.samples import FirmwareThrottle
from edgekit.entries import FindingEntry
from edgekit.errors import DeviceFaultError

pytestmark = pytest.mark.unit

BOARD = SimulatedDevice(idle_w=2.0, energy_mj=20.0, rate_per_s=50.0, noise_w=0.05)
"""1 W of load above 2 W."""
FULL_J = 54_000.0
"""15 Wh: 5 hours at 3 W."""
FUEL = SimulatedGauge(
    kind="current", step=0.001, average_s=1, update_s=1, poll_s=0.5, capacity_j=FULL_J, percent_step=1.0
)
PERCENT = changed(FUEL, kind="none", update_s=5.0, poll_s=2.0)
"""It tells whole per cents and nothing else."""


@cache
def run(gauge: SimulatedGauge = FUEL, *, secs: float = 600, rate_per_s: float | None = None) -> Run:
    schedule = battery_schedule(secs, rate_per_s)
    return simulate(BOARD, gauge, schedule, processes=BATTERY_PROCESSES, seed=7, grid_s=secs / 6000)


def summary(recording: Recording, **options: Any) -> tuple[BatteryReport, dict[str, FindingEntry]]:
    report, findings = summarize_battery(recording, **options)
    return report, {finding.name: finding for finding in findings}


def test_drain_and_hours_by_power() -> None:
    report, findings = summary(run().recording)
    assert report.load_power_w == pytest.approx(3.0, rel=0.01)
    assert report.idle_power_w == pytest.approx(2.0, rel=0.01)
    assert report.drain_percent_per_h == pytest.approx(20.0, rel=0.01)
    assert report.idle_drain_percent_per_h == pytest.approx(100 * 2 * 3600 / FULL_J, rel=0.01)
    assert report.hours == pytest.approx(5.0, rel=0.01)
    assert report.hours_interval is not None
    assert report.hours_interval[0] < 5.0 < report.hours_interval[1]
    assert report.measured_rate_per_s == pytest.approx(50, rel=0.01)
    assert report.capacity_percent == (81.0, 78.0)
    assert report.needed_secs is None
    assert findings == {}


def test_hours_at_another_rate_are_idle_and_the_energy_of_the_inferences() -> None:
    report, _ = summary(run().recording, rate_per_s=10)
    assert report.hours == pytest.approx(15 / 2.2, rel=0.01)
    assert report.hours_interval is not None
    assert report.hours_interval[0] < 15 / 2.2 < report.hours_interval[1]


def test_a_rate_that_the_device_does_not_reach_has_no_hours() -> None:
    report, findings = summary(run().recording, rate_per_s=80)
    assert report.hours is None
    assert "50 inferences per second at most, not 80" in findings["rate-not-reached"].message
    report, findings = summary(run(rate_per_s=80).recording, rate_per_s=80)
    assert report.hours is None
    assert "rate-not-reached" in findings


def test_whole_per_cents_by_the_moments_they_moved() -> None:
    report, findings = summary(run(PERCENT, secs=7200).recording)
    assert report.load_power_w is None
    assert report.drain_percent_per_h == pytest.approx(20.0, rel=0.02)
    assert report.drain_interval is not None
    assert report.drain_interval[0] < 20.0 < report.drain_interval[1]
    assert findings == {}


def test_few_steps_have_the_interval_that_their_number_allows() -> None:
    report, _ = summary(run(PERCENT, secs=900).recording)
    assert report.drain_interval is not None
    assert report.drain_interval[0] < 20.0 < report.drain_interval[1]
    assert report.drain_interval[1] - report.drain_interval[0] > 5
    assert report.idle_drain_percent_per_h is None
    report, findings = summary(run(PERCENT, secs=900).recording, rate_per_s=10)
    assert report.hours is None
    assert "another rate" in findings["idle-unknown"].message


def test_fewer_than_two_steps_tell_nothing_and_name_the_run_that_would() -> None:
    report, findings = summary(run(PERCENT, secs=300).recording)
    assert report.drain_percent_per_h is None
    assert report.hours is None
    assert report.needed_secs is not None
    assert f"--battery-secs {report.needed_secs:.0f}s" in findings["below-resolution"].fix
    report, _ = summary(run(PERCENT, secs=report.needed_secs).recording)
    assert report.drain_percent_per_h == pytest.approx(20.0, rel=0.05)


def test_power_without_what_a_full_battery_holds_has_no_hours() -> None:
    some = run().recording
    trace = some.traces[0]
    channels = {name: channel for name, channel in trace.gauge.channels.items() if name != "capacity_percent"}
    values = {name: column for name, column in trace.values.items() if name != "capacity_percent"}
    bare = replace(trace, gauge=replace(trace.gauge, capacity_j=None, channels=channels), values=values)
    report, findings = summary(replace(some, traces=(bare,)))
    assert report.load_power_w == pytest.approx(3.0, rel=0.01)
    assert report.drain_percent_per_h is None
    assert "watt-hours" in findings["below-resolution"].fix


def test_a_charger_makes_it_invalid_and_throttling_does_not() -> None:
    some = run().recording
    trace = some.traces[0]
    plugged = tuple(float(place > 600) for place in range(len(trace.monotonic_ns)))
    _, findings = summary(replace(some, traces=(replace(trace, values={**trace.values, "on_battery": plugged}),)))
    assert findings["supply-changed"].severity == "error"
    hot = replace(some.states[9], firmware_throttle=FirmwareThrottle(word=4, now=("throttled",), since_boot=()))
    _, findings = summary(replace(some, states=(*some.states[:9], hot, *some.states[10:])))
    assert findings["throttled"].severity == "warning"


def test_a_wrong_sign_is_an_error() -> None:
    some = run().recording
    trace = some.traces[0]
    wrong = tuple(None if value is None else -value for value in trace.values["current_a"])
    _, findings = summary(replace(some, traces=(replace(trace, values={**trace.values, "current_a": wrong}),)))
    assert "flowed into it" in findings["charging"].message


def test_a_charge_that_no_battery_has_is_an_error() -> None:
    some = run(PERCENT).recording
    (trace,) = some.traces
    levels = tuple(500.0 - place for place in range(len(trace.monotonic_ns)))
    wrong = replace(trace, values={**trace.values, "capacity_percent": levels})
    _, findings = summary(replace(some, traces=(wrong,)))
    assert findings["gauge-impossible"].severity == "error"
    assert "to 500 %" in findings["gauge-impossible"].message


def test_a_current_that_never_answers_is_passed_over() -> None:
    some = run().recording
    (trace,) = some.traces
    silent = replace(trace, values={**trace.values, "current_a": (None,) * len(trace.monotonic_ns)})
    report, _ = summary(replace(some, traces=(silent,)))
    assert report.load_power_w is None


def test_a_run_without_load_is_refused() -> None:
    some = run().recording
    still = tuple(replace(segment, kind="idle", rate_per_s=None) for segment in some.schedule)
    with pytest.raises(DeviceFaultError, match="no load"):
        summarize_battery(replace(some, schedule=still))

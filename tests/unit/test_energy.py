"""Energy of an inference against simulated gauges, and everything that makes it mean nothing."""

from collections.abc import Callable
from dataclasses import replace as changed
from functools import cache
from typing import Any

import pytest
from msgspec.structs import replace

from benchmarks.energy_truth import KINDS, energy_outcome
from benchmarks.simulated_device import Run, SimulatedDevice, simulate
from benchmarks.simulated_gauge import SimulatedGauge
from edgekit.bench.power.energy import (
    ENERGY_PROCESSES,
    EnergyReport,
    energy_schedule,
    needed_schedule,
    summarize_energy,
)
from edgekit.bench.recording import Recording, Segment, Trace
from edgekit.bench.samples import FirmwareThrottle
from edgekit.entries import FindingEntry
from edgekit.errors import DeviceFaultError

pytestmark = pytest.mark.unit

BOARD = SimulatedDevice(idle_w=2.0, energy_mj=20.0, rate_per_s=50.0, process_spread=0.01, noise_w=0.05)
"""1 W of load above 2 W."""
METER = SimulatedGauge(kind="power", step=0.001, noise=0.01)
Change = Callable[[Trace], Trace]


@cache
def run(device: SimulatedDevice = BOARD, gauge: SimulatedGauge = METER, *, secs: float = 60, seed: int = 1) -> Run:
    return simulate(device, gauge, energy_schedule(secs), processes=ENERGY_PROCESSES, seed=seed, grid_s=secs / 6000)


def summary(recording: Recording, **options: Any) -> tuple[EnergyReport, dict[str, FindingEntry]]:
    report, findings = summarize_energy(recording, **options)
    return report, {finding.name: finding for finding in findings}


def with_values(recording: Recording, change: Callable[[int, float | None], float | None]) -> Recording:
    """The recording with each value of its first channel changed; ``change(place, value)``."""
    trace = recording.traces[0]
    name = next(iter(trace.values))
    values = {**trace.values, name: tuple(change(*item) for item in enumerate(trace.values[name]))}
    return replace(recording, traces=(replace(trace, values=values),))


def test_energy_of_an_inference_with_everything_that_belongs_to_it() -> None:
    some = run()
    report, findings = summary(some.recording)
    assert report.energy_per_inference_mj == pytest.approx(20, rel=0.03)
    assert report.interval_mj is not None
    assert report.interval_mj[0] < 20 < report.interval_mj[1]
    assert report.idle_power_w == pytest.approx(some.idle_w, rel=0.01)
    assert report.load_power_w == pytest.approx(some.load_w, rel=0.01)
    assert (report.blocks, report.processes, report.inferences) == (6, 6, 1500)
    assert (report.method, report.level, report.resolution_w) == ("power", 0.95, 0.001)
    assert report.needed_secs is None
    assert findings == {}


@pytest.mark.parametrize("name", ["ina", "coarse", "low-pass", "rapl", "slow-counter", "hurried"])
def test_the_interval_holds_the_truth(name: str) -> None:
    outcomes = [energy_outcome(KINDS[name], seed) for seed in range(2000, 2004)]
    assert all(outcome.held is not False for outcome in outcomes)
    assert any(outcome.told for outcome in outcomes) == (name != "hurried")


def test_the_schedule_is_balanced_and_its_length_is_the_run() -> None:
    first, load, last = energy_schedule(60)
    assert (first.kind, load.kind, last.kind) == ("idle", "load", "idle")
    assert first == last
    assert load.secs == first.secs + last.secs
    assert ENERGY_PROCESSES * (first.secs + load.secs + last.secs) == pytest.approx(60)
    assert energy_schedule(needed_schedule(7.5))[0].secs == pytest.approx(7.5)


def test_a_linear_drift_cancels() -> None:
    still, drifting = (changed(BOARD, noise_w=0.0, process_spread=0.0, drift_w_per_s=drift) for drift in (0.0, 0.02))
    plain, _ = summary(run(still).recording)
    drifted, _ = summary(run(drifting).recording)
    assert drifted.energy_per_inference_mj == pytest.approx(plain.energy_per_inference_mj, rel=0.005)


def test_a_gauge_that_vanishes_makes_the_run_invalid() -> None:
    some = run(gauge=changed(METER, vanishes_s=30.0))
    report, findings = summary(some.recording)
    assert findings["gauge-vanished"].severity == "error"
    assert "did not answer for" in findings["gauge-vanished"].message
    assert report.energy_per_inference_mj is None
    _, findings = summary(with_values(run().recording, lambda _place, _value: None))
    assert "did not answer at all" in findings["gauge-vanished"].message


def test_lost_readings_are_integrated_over_and_said() -> None:
    report, findings = summary(run(gauge=changed(METER, dropped=0.3)).recording)
    assert report.energy_per_inference_mj == pytest.approx(20, rel=0.03)
    assert findings["readings-dropped"].severity == "info"


def test_impossible_values() -> None:
    some = run().recording
    _, findings = summary(with_values(some, lambda place, value: float("inf") if place == 300 else value))
    assert "a value that is no number" in findings["gauge-impossible"].message
    _, findings = summary(with_values(some, lambda _place, value: None if value is None else -value))
    assert findings["gauge-impossible"].severity == "error"


def test_less_power_under_load_than_idle_is_an_error() -> None:
    some = with_values(run().recording, lambda _place, value: None if value is None else 6 - value)
    report, findings = summary(some)
    assert report.energy_per_inference_mj is None
    assert "less power under load" in findings["gauge-impossible"].message


def with_supply(recording: Recording, states: Callable[[int], float]) -> Recording:
    trace = recording.traces[0]
    channel = next(iter(trace.gauge.channels.values()))
    gauge = replace(trace.gauge, channels={**trace.gauge.channels, "on_battery": channel})
    column = tuple(states(place) for place in range(len(trace.monotonic_ns)))
    return replace(recording, traces=(replace(trace, gauge=gauge, values={**trace.values, "on_battery": column}),))


def test_a_charger_in_mid_run_and_a_battery_that_is_charged() -> None:
    some = run().recording
    _, findings = summary(with_supply(some, lambda place: float(place < 500)))
    assert findings["supply-changed"].severity == "error"
    _, findings = summary(with_supply(some, lambda _place: 0.0))
    assert findings["charging"].severity == "error"
    _, findings = summary(with_supply(some, lambda _place: 1.0))
    assert findings == {}
    negative = with_values(some, lambda _place, value: None if value is None else -value)
    _, findings = summary(with_supply(negative, lambda _place: 1.0))
    assert "flowed into it" in findings["charging"].message


def test_states_of_the_machine_make_it_invalid() -> None:
    some = run().recording
    states = list(some.states)
    jumped = replace(states[20], clock_offset_ns=states[20].clock_offset_ns + 3_000_000_000)
    _, findings = summary(replace(some, states=(*states[:20], jumped, *states[21:])))
    assert findings["clock-jumped"].severity == "error"
    hot = replace(states[20], firmware_throttle=FirmwareThrottle(word=4, now=("throttled",), since_boot=("throttled",)))
    _, findings = summary(replace(some, states=(*states[:20], hot, *states[21:])))
    assert findings["throttled"].severity == "error"
    _, findings = summary(replace(some, machine=replace(some.machine, emulated="qemu-user")))
    assert "not a device's" in findings["emulated"].message


def test_a_gauge_that_never_moved() -> None:
    report, findings = summary(with_values(run().recording, lambda _place, _value: 2.0))
    assert report.energy_per_inference_mj is None
    assert report.update_interval_s is None
    assert report.needed_secs is None
    assert "never changed" in findings["gauge-stuck"].message


def test_a_gauge_of_half_a_minute_names_the_run_it_needs() -> None:
    slow = SimulatedGauge(kind="power", step=0.001, update_s=30.0, noise=0.01, poll_s=0.5)
    report, findings = summary(run(gauge=slow).recording)
    assert report.energy_per_inference_mj is None
    assert report.needed_secs is not None
    assert report.needed_secs >= 24 * 30
    assert f"--energy-secs {report.needed_secs:.0f}s" in findings["gauge-slow"].fix
    longer = run(gauge=slow, secs=report.needed_secs)
    report, findings = summary(longer.recording)
    assert report.energy_per_inference_mj == pytest.approx(20, rel=0.1)
    assert findings == {}


def test_below_what_the_gauge_resolves() -> None:
    faint = changed(BOARD, energy_mj=0.1, noise_w=0.3)
    report, findings = summary(run(faint, changed(METER, noise=0.3)).recording)
    assert report.energy_per_inference_mj is None
    assert findings["below-resolution"].severity == "warning"
    assert report.resolvable_mj is not None
    assert report.resolvable_mj > 0.1
    assert report.needed_secs is None or report.needed_secs > 60


def test_a_wide_interval_names_the_run_that_makes_it_a_tenth() -> None:
    report, _ = summary(run(changed(BOARD, process_spread=0.3)).recording)
    assert report.energy_per_inference_mj is not None
    assert report.needed_secs is not None
    assert report.needed_secs > 60


def test_a_counter_that_wraps_and_one_that_is_reset() -> None:
    rapl = SimulatedGauge(kind="energy", step=61e-6, update_s=0.001, wraps_at=30.0)
    report, findings = summary(run(gauge=rapl).recording)
    assert report.method == "counter"
    assert report.energy_per_inference_mj == pytest.approx(20, rel=0.05)
    assert findings == {}
    plain = run(gauge=changed(rapl, wraps_at=None)).recording
    report, findings = summary(
        with_values(plain, lambda place, value: None if value is None else value - 40 * (place > 400))
    )
    assert findings["counter-reset"].severity == "warning"
    assert report.energy_per_inference_mj == pytest.approx(20, rel=0.05)


def test_few_processes_are_said() -> None:
    schedule = tuple(Segment(kind=kind, secs=3) for kind in ("idle", "load", "load", "idle", "idle", "load", "idle"))
    some = simulate(BOARD, METER, schedule, processes=1, seed=3)
    report, findings = summary(some.recording)
    assert (report.blocks, report.processes) == (2, 1)
    assert "few-processes" in findings
    some = simulate(BOARD, METER, energy_schedule(24), processes=1, seed=3)
    report, findings = summary(some.recording)
    assert report.interval_mj is None
    assert report.energy_per_inference_mj == pytest.approx(20, rel=0.1)
    assert "one-block" in findings


def test_a_run_without_idle_is_refused() -> None:
    some = run().recording
    busy = tuple(replace(segment, kind="load") for segment in some.schedule)
    with pytest.raises(DeviceFaultError, match="no load next to idle"):
        summarize_energy(replace(some, schedule=busy))


def test_a_gauge_of_a_part_says_what_it_covers() -> None:
    some = run().recording
    part = replace(some.traces[0].gauge, whole_device=False, covers="the cores, without USB")
    _, findings = summary(replace(some, traces=(replace(some.traces[0], gauge=part),)))
    assert "the cores, without USB" in findings["gauge-partial"].message

"""Energy, battery, heat and clocks on a whole machine with real kernel sensors, against what they were driven with."""

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from edgekit.bench import BenchOptions
from edgekit.bench.heat.sustained import summarize_sustained
from edgekit.bench.plan import configurations, read_subject
from edgekit.bench.power.battery import summarize_battery
from edgekit.bench.power.energy import summarize_energy
from edgekit.bench.record import record
from edgekit.bench.recording import Recording, Segment
from edgekit.cli import cli
from edgekit.cli.failures import guarded
from edgekit.entries import FindingEntry
from edgekit.transport import connect
from tests.lab.guest import BATTERY, Curve, Drawn, Guest
from tests.unit.float_networks import planted_network

pytestmark = pytest.mark.lab

OPTIONS = BenchOptions(warmup_runs=1)
RATE = 50.0
"""Inferences per second, which the emulated CPU keeps up with: a known energy for each."""
IDLE = Segment(kind="idle", secs=2.5)
LOAD = Segment(kind="load", secs=3.5, rate_per_s=RATE)
SHORT = (Segment(kind="idle", secs=2), Segment(kind="load", secs=4, rate_per_s=RATE), Segment(kind="idle", secs=2))
SETTLED_NS = 500_000_000
PATIENCE_S = 60.0
"""For an ssh handshake: the host may be busy."""
TOLERANCE = 0.02


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Small: the emulated CPU keeps up with ``RATE``."""
    path = tmp_path / "small.tflite"
    path.write_bytes(planted_network().tflite)
    return path


def measure(
    guest: Guest,
    model: Path,
    schedule: Sequence[Segment],
    *,
    after: float = 3.0,
    act: Callable[[], object] | None = None,
) -> Recording:
    """One process runs the schedule; ``act`` is done to the machine when ``after`` seconds of it are over."""
    waiting = [act] if act else []

    def on_second(done_s: float, _total: float) -> None:
        if done_s >= after and waiting:
            waiting.pop()()

    device = guest.device()
    with connect(device, timeout_s=PATIENCE_S) as connection:
        asked = configurations(read_subject(model), OPTIONS, device)[0]
        recording = record(asked, connection, schedule, OPTIONS, on_second=on_second)
    assert not waiting
    return recording


def errors(findings: Sequence[FindingEntry]) -> set[str]:
    return {finding.name for finding in findings if finding.severity == "error"}


def names(findings: Sequence[FindingEntry]) -> set[str]:
    return {finding.name for finding in findings}


def truth_mj(recording: Recording, drawn: Drawn) -> float:
    """Energy of an inference above idle: the difference of the integrals over load and idle, by their seconds.

    Each block counts from ``SETTLED_NS`` on: the battery sees a tick or two late that the model runs or sleeps.
    """
    joules, secs = {"idle": 0.0, "load": 0.0}, {"idle": 0.0, "load": 0.0}
    for stretch in recording.stretches:
        kind = recording.kind(stretch)
        joules[kind] += drawn.energy_j(stretch.start_ns + SETTLED_NS, stretch.end_ns)
        secs[kind] += (stretch.end_ns - stretch.start_ns - SETTLED_NS) / 1e9
    return 1000 * (joules["load"] / secs["load"] - joules["idle"] / secs["idle"]) / RATE


def test_energy_is_within_two_per_cent_of_the_integral(guest: Guest, model: Path) -> None:
    """A keyboard with a battery of its own is attached: that one is not the device's."""
    with guest.keyboard(percent=42) as keyboard, guest.battery(Curve()) as drawn:
        recording = measure(guest, model, (IDLE, LOAD, IDLE, LOAD, IDLE, LOAD, IDLE))
        truth = truth_mj(recording, drawn())
    report, findings = summarize_energy(recording)
    assert report.energy_per_inference_mj == pytest.approx(truth, rel=TOLERANCE)
    assert report.interval_mj is not None
    assert report.interval_mj[0] <= truth <= report.interval_mj[1]
    assert not errors(findings)
    assert {"emulated", "few-processes"} <= names(findings)
    gauges = {trace.gauge.name: trace.gauge for trace in recording.traces}
    assert report.gauge.name == summarize_battery(recording)[0].gauge.name == BATTERY
    assert gauges[BATTERY].whole_device
    assert not gauges[f"power_supply/{keyboard}"].whole_device


def test_heat_a_drain_and_a_driver_with_the_sign_wrong(guest: Guest, model: Path) -> None:
    """The kernel's ABI has a discharge negative; most drivers and this one do not: the status is believed, and said."""
    curve = Curve(percent_per_h=1800.0, idle_c=45.0, load_c=85.0, heat_s=8.0, throttle_c=75.0)
    with guest.battery(curve) as battery:
        recording = measure(guest, model, (IDLE, Segment(kind="load", secs=24, rate_per_s=RATE), IDLE))
        drawn = battery()
    energy, _ = summarize_energy(recording)
    assert energy.idle_power_w is not None
    assert energy.load_power_w is not None
    contrast_mj = 1000 * (energy.load_power_w - energy.idle_power_w) / RATE
    assert contrast_mj == pytest.approx(truth_mj(recording, drawn), rel=TOLERANCE)
    assert "battery-current-sign" in {note.name for trace in recording.traces for note in trace.gauge.notes}
    drain, findings = summarize_battery(recording, rate_per_s=RATE)
    assert "throttled" in names(findings)
    assert drain.drain_interval is not None
    assert drain.drain_interval[0] <= curve.percent_per_h <= drain.drain_interval[1]
    _check_heat(recording, drawn, curve)


def _check_heat(recording: Recording, drawn: Drawn, curve: Curve) -> None:
    """Temperatures within what the zone moves in a second, throttling within the two looks at its ends."""
    report, findings = summarize_sustained(recording)
    assert report.zone is not None
    assert report.zone.startswith("cpu-thermal")
    (load,) = [stretch for stretch in recording.stretches if recording.kind(stretch) == "load"]
    lowest, highest = drawn.heat_c(load.start_ns, load.end_ns)
    first, plateau = report.first_minute.temperature_c, report.plateau.temperature_c
    assert first is not None
    assert plateau is not None
    assert lowest <= first[0] <= lowest + 5
    assert highest - 5 <= plateau[1] <= highest
    throttled_s = drawn.hotter_s(curve.throttle_c, load.start_ns, load.end_ns)
    assert throttled_s > 5
    assert report.throttled_s == pytest.approx(throttled_s, abs=2.5)
    assert {"emulated", "throttled"} <= names(findings)
    assert any(zone.startswith("nvme") for zone in recording.before.temperatures_c)  # hwmon, beside the zones


def test_a_gauge_that_is_slower_than_the_blocks_claims_nothing(guest: Guest, model: Path) -> None:
    """Beside it a power monitor of a board, which measures a part of the device and is not taken for all of it."""
    rail = guest.power_monitor(millivolts=5000, milliamperes=600, milliwatts=3000)
    with rail, guest.battery(Curve(every_s=30.0, sign=-1)):
        recording = measure(guest, model, SHORT)
    (monitor,) = [trace for trace in recording.traces if trace.gauge.sensor == "hwmon"]
    assert set(monitor.values["power_w"]) == {3.0}
    assert not monitor.gauge.whole_device
    report, findings = summarize_energy(recording)
    assert report.gauge.name == BATTERY
    assert report.energy_per_inference_mj is None
    assert names(findings) & {"gauge-stuck", "gauge-slow"}
    notes = {note.name for trace in recording.traces for note in trace.gauge.notes}
    assert "battery-current-sign" not in notes  # a discharge is negative, as the ABI says


def test_a_charger_and_a_clock_that_is_set_make_the_run_invalid(guest: Guest, model: Path) -> None:
    def act() -> None:
        guest.set_battery("status", "charging")
        guest.run("date", "-s", "+1 hour")

    with guest.battery(Curve()):
        recording = measure(guest, model, SHORT, act=act)
    for findings in (summarize_energy(recording)[1], summarize_battery(recording)[1]):
        assert {"supply-changed", "clock-jumped"} <= errors(findings)
        message = next(finding.message for finding in findings if finding.name == "clock-jumped")
        assert re.search(r"its clock set by \+(3599\.9|3600\.0)", message)


def test_a_driver_that_goes_in_mid_run_makes_it_invalid(
    guest: Guest, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And no latency of an emulated CPU is shown as a device's."""
    words = ["bench", str(model), "--device", "guest", "--battery", "--battery-secs", "25s", "--rate", "50/s"]
    quick = ["--num-runs", "2", "--warmup-runs", "1", "--min-secs", "0", "--processes", "1", "--json"]
    with guest.battery(Curve()), guest.unplugged_later("test_power", delay_s=5):
        code = guarded(cli, [*words, *quick])
    error = json.loads(capsys.readouterr().out)["error"]
    assert code == error["exit_code"] == 6, error["message"]
    findings = {finding["name"]: finding for finding in error["details"]["findings"]}
    assert findings["gauge-vanished"]["severity"] == "error"
    assert "The CPU is emulated" in findings["emulated"]["message"]

"""How often the intervals of energy and battery hold what is true, by simulated gauges over known power.

python -m benchmarks.energy_truth [--runs 1000] [--only KIND] [--json FILE]

Each run has a device of its own (base load, energy, rate, drift, warming, a bias of each process) and a gauge of the
kind; the truth is the energy that was put into the power, and the integral of the power for the battery.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace

import numpy as np

from benchmarks.harness import Row, finish, parser, say
from benchmarks.simulated_device import Run, SimulatedDevice, simulate
from benchmarks.simulated_gauge import SimulatedGauge
from edgekit.bench.power.battery import BATTERY_PROCESSES, battery_schedule, summarize_battery
from edgekit.bench.power.energy import ENERGY_PROCESSES, energy_schedule, summarize_energy
from edgekit.bench.statistics import median

SHARE = 0.95


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A gauge as there are some, and how long it is given."""

    what: str
    gauge: SimulatedGauge
    secs: float = 60.0
    grid_s: float = 0.01


KINDS = {
    "meter": Kind(
        what="external meter, 100 readings/s, noise 20 mW",
        gauge=SimulatedGauge(kind="power", poll_s=0.01, jitter_s=0.001, noise=0.02),
    ),
    "ina": Kind(
        what="INA: mean of 70 ms, held, steps of 25 mW, a fifth of the readings lost",
        gauge=SimulatedGauge(kind="power", step=0.025, average_s=0.07, update_s=0.07, noise=0.01, dropped=0.2),
    ),
    "coarse": Kind(
        what="steps of 0.2 W, no noise, held for 0.1 s",
        gauge=SimulatedGauge(kind="power", step=0.2, update_s=0.1),
    ),
    "untold": Kind(
        what="steps of 0.1 W that it does not tell, held for 0.1 s",
        gauge=SimulatedGauge(kind="power", step=0.1, update_s=0.1, told=False),
    ),
    "low-pass": Kind(
        what="first-order low-pass filter of 0.25 s, held for 0.1 s, steps of 10 mW",
        gauge=SimulatedGauge(kind="power", step=0.01, lag_s=0.25, update_s=0.1, noise=0.005),
    ),
    "slow-filter": Kind(
        what="first-order low-pass filter of 2 s, updates every second; 480 s",
        gauge=SimulatedGauge(kind="power", step=0.01, lag_s=2.0, update_s=1.0, noise=0.01),
        secs=480,
        grid_s=0.02,
    ),
    "wander": Kind(
        what="offset walks at random by 10 mW per root second, lost and late readings",
        gauge=SimulatedGauge(
            kind="power", step=0.005, update_s=0.05, noise=0.02, wander=0.01, offset=0.3, dropped=0.1, jitter_s=0.04
        ),
    ),
    "rapl": Kind(
        what="counter of energy, 1 ms, steps of 61 uJ, wraps",
        gauge=SimulatedGauge(kind="energy", step=61e-6, update_s=0.001, wraps_at=65.0),
    ),
    "slow-counter": Kind(
        what="counter of energy, every 0.25 s in steps of 0.1 J",
        gauge=SimulatedGauge(kind="energy", step=0.1, update_s=0.25),
    ),
    "charge": Kind(
        what="fuel gauge: charge in steps of 1 mAh, every second, times voltage; 1,800 s",
        gauge=SimulatedGauge(kind="charge", step=3.6, update_s=1.0, poll_s=0.25),
        secs=1800,
        grid_s=0.05,
    ),
    "current": Kind(
        what="fuel gauge: current, mean of 1 s, every second, in steps of 1 mA, times voltage; 240 s",
        gauge=SimulatedGauge(kind="current", step=0.001, average_s=1.0, update_s=1.0, noise=0.005, poll_s=0.25),
        secs=240,
        grid_s=0.02,
    ),
    "hurried": Kind(
        what="first-order low-pass filter of 2 s; 60 s of a run that would have to be longer",
        gauge=SimulatedGauge(kind="power", step=0.01, lag_s=2.0, update_s=0.2, noise=0.01),
    ),
    "half-minute": Kind(
        what="current every 30 s, held; 60 s of a run that would have to be longer",
        gauge=SimulatedGauge(kind="current", step=0.001, update_s=30.0, poll_s=0.25),
    ),
}


BATTERY_KINDS = {
    "battery-power": Kind(
        what="current, mean of 1 s, every second, in steps of 1 mA, times voltage; 600 s",
        gauge=SimulatedGauge(
            kind="current",
            step=0.001,
            average_s=1.0,
            update_s=1.0,
            noise=0.005,
            poll_s=0.5,
            capacity_j=54_000,
            percent_step=1.0,
        ),
        secs=600,
        grid_s=0.05,
    ),
    "battery-energy": Kind(
        what="energy left in steps of 10 mWh, every 2 s; 1,200 s",
        gauge=SimulatedGauge(kind="energy", step=36.0, update_s=2.0, poll_s=0.5, capacity_j=54_000, percent_step=1.0),
        secs=1200,
        grid_s=0.05,
    ),
    "battery-percent": Kind(
        what="whole per cents alone, every 5 s; 7,200 s",
        gauge=SimulatedGauge(kind="none", update_s=5.0, poll_s=5.0, capacity_j=54_000, percent_step=1.0),
        secs=7200,
        grid_s=0.5,
    ),
    "battery-hurried": Kind(
        what="whole per cents alone; 1,800 s",
        gauge=SimulatedGauge(kind="none", update_s=5.0, poll_s=2.0, capacity_j=54_000, percent_step=1.0),
        secs=1800,
        grid_s=0.1,
    ),
}


def device(seed: int) -> SimulatedDevice:
    """Some device; energies from where no gauge sees them to several times the base load."""
    random = np.random.default_rng([seed, 1])
    idle_w = random.uniform(0.8, 4)
    rate = float(np.exp(random.uniform(np.log(5), np.log(500))))
    extra_w = idle_w * float(np.exp(random.uniform(np.log(0.01), np.log(2))))
    return SimulatedDevice(
        idle_w=idle_w,
        energy_mj=1000 * extra_w / rate,
        rate_per_s=rate,
        process_spread=float(random.choice([0.0, 0.01, 0.05])),
        noise_w=idle_w * float(random.choice([0.0, 0.02, 0.2])),
        drift_w_per_s=idle_w * float(random.choice([0.0, 0.0005, -0.0005])),
        wander_w=idle_w * float(random.choice([0.0, 0.01])),
        warming=float(random.choice([0.0, 0.05])),
    )


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one run."""

    held: bool | None
    """None: there was no interval."""
    width: float | None
    """Of the interval, over the truth."""
    told: bool
    """There was an energy, not only an upper limit."""
    findings: tuple[str, ...]


def energy_outcome(kind: Kind, seed: int) -> Outcome:
    """One run of ``edgekit bench --energy``."""
    run = energy_run(kind, seed)
    report, findings = summarize_energy(run.recording)
    names = tuple(finding.name for finding in findings)
    if report.interval_mj is None:
        return Outcome(held=None, width=None, told=False, findings=names)
    low, high = report.interval_mj
    return Outcome(
        held=low <= run.energy_mj <= high,
        width=(high - low) / run.energy_mj,
        told=report.energy_per_inference_mj is not None,
        findings=names,
    )


def energy_run(kind: Kind, seed: int) -> Run:
    """The recording of one run, and its truth."""
    some = device(seed)
    # drift and swing belong to the minutes that pass, not to the number of blocks
    some = replace(some, drift_w_per_s=some.drift_w_per_s * 60 / kind.secs)
    return simulate(
        some, kind.gauge, energy_schedule(kind.secs), processes=ENERGY_PROCESSES, seed=seed, grid_s=kind.grid_s
    )


def battery_outcome(kind: Kind, seed: int) -> Outcome:
    """Hours of one run of ``edgekit bench --battery``."""
    some = device(seed)
    some = replace(some, drift_w_per_s=some.drift_w_per_s * 60 / kind.secs)
    run = simulate(
        some, kind.gauge, battery_schedule(kind.secs), processes=BATTERY_PROCESSES, seed=seed, grid_s=kind.grid_s
    )
    report, findings = summarize_battery(run.recording)
    names = tuple(finding.name for finding in findings)
    if report.hours is None or report.hours_interval is None:
        return Outcome(held=None, width=None, told=False, findings=names)
    hours = (kind.gauge.capacity_j or 0) / run.load_w / 3600
    low, high = report.hours_interval
    return Outcome(held=low <= hours <= high, width=(high - low) / hours, told=True, findings=names)


def row(name: str, what: str, outcomes: list[Outcome]) -> Row:
    """How often the truth was held, of the runs that have an interval."""
    known = [outcome for outcome in outcomes if outcome.held is not None]
    held = sum(outcome.held is True for outcome in known)
    told = [outcome.width for outcome in known if outcome.told and outcome.width is not None]
    width = f"median width {100 * median(told):.1f} %" if told else "never told"
    measured = f"{held} of {len(known)} hold it; told in {len(told)} of {len(outcomes)}, {width}"
    return Row(what=f"{name}: {what}", measured=measured, to_reach=f">= {SHARE:.0%}", ok=held >= SHARE * len(known))


def measure(name: str, kind: Kind, runs: int, outcome: Callable[[Kind, int], Outcome]) -> tuple[Row, list[Outcome]]:
    """So many seeds of one kind."""
    outcomes = [outcome(kind, seed) for seed in range(runs)]
    made = row(name, kind.what, outcomes)
    say(f"{made.what}: {made.measured}")
    return made, outcomes


def main() -> int:
    arguments = parser(__doc__)
    arguments.add_argument("--runs", type=int, default=1000)
    arguments.add_argument("--only", choices={**KINDS, **BATTERY_KINDS}, action="append")
    options = arguments.parse_args()
    rows, details = [], {}
    for name, kind in {**KINDS, **BATTERY_KINDS}.items():
        if not options.only or name in options.only:
            made, outcomes = measure(name, kind, options.runs, energy_outcome if name in KINDS else battery_outcome)
            rows.append(made)
            details[name] = [asdict(outcome) for outcome in outcomes]
    return finish(rows, details, options.json)


if __name__ == "__main__":
    sys.exit(main())

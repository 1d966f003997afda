"""How often the intervals of `bench`, `tune`, `compare` and `evaluate` hold what is true, by simulation.

python -m benchmarks.statistics_truth [--runs 1000] [--json FILE]                    (about two minutes)

The truth is known because it was put in: a bias of each process and of each stretch of time, as latencies have them
(docs/decisions/0004-interval.md); models that lose a known share of their answers. Real latencies are in
interval_coverage and compare_truth, energy and battery in energy_truth, heat in sustained_truth.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from math import sqrt
from statistics import NormalDist
from typing import Any

import numpy as np

from benchmarks.harness import Row, finish, parser, say
from edgekit.bench.statistics import interval, median, ratio
from edgekit.bench.versus.effect import estimate_effect
from edgekit.metrics import metric_of
from edgekit.metrics.intervals import LEVEL, bootstrap, paired_interval
from edgekit.metrics.protocol import Statistic
from edgekit_converters.calibration import Sample

LATENCY = 100.0
SLOWER = 1.03
"""What the second of two models takes, in units of the first."""
SAMPLES = 400
"""Of an evaluation."""
Random = np.random.Generator
Array = np.ndarray[Any, Any]


@dataclass(frozen=True, kw_only=True)
class Held:
    """One interval, and what it promises."""

    low: float
    high: float
    truth: float
    level: float

    @property
    def holds(self) -> bool:
        return self.low <= self.truth <= self.high


def run_of(random: Random, *, processes: int, bias: float, drift: float, scale: float = 1.0) -> list[list[float]]:
    """Samples of fresh processes, each with a bias and ten stretches of time with one of their own."""
    base = scale * LATENCY * random.lognormal(0, bias, (processes, 1, 1))
    stretches = base * random.lognormal(0, drift, (processes, 10, 1))
    samples = stretches * random.lognormal(0, 0.01, (processes, 10, 5))
    groups: list[list[float]] = samples.reshape(processes, -1).tolist()
    return groups


def latency_interval(random: Random) -> Held:
    """`bench`: the median over five processes."""
    found = interval(run_of(random, processes=5, bias=0.1, drift=0.02))
    return Held(low=found.low, high=found.high, truth=LATENCY, level=found.level)


def rate_interval(random: Random) -> Held:
    """`bench --streams`: inferences per second, five processes of ten stretches."""
    rates = [[1e3 / value for value in group[::5]] for group in run_of(random, processes=5, bias=0.1, drift=0.02)]
    found = interval(rates)
    return Held(low=found.low, high=found.high, truth=1e3 / LATENCY, level=found.level)


def _rounds(random: Random, count: int) -> tuple[list[float], list[float]]:
    """Medians of two models' processes in rounds; what the machine does in a round is in both."""
    machine = random.lognormal(0, 0.1, count)
    first, second = (
        [median(group) for group in run_of(random, processes=count, bias=0.03, drift=0.02, scale=scale)]
        for scale in (1.0, SLOWER)
    )
    return list(np.array(first) * machine), list(np.array(second) * machine)


def ratio_interval(random: Random) -> Held:
    """`tune`: how many times faster, over seven rounds."""
    fast, slow = _rounds(random, 7)
    times, found = ratio(slow, fast)
    assert found.low <= times <= found.high
    return Held(low=found.low, high=found.high, truth=SLOWER, level=found.level)


def effect_interval(random: Random) -> Held:
    """`compare`: the change of the latency, over twenty rounds."""
    first, second = _rounds(random, 20)
    found = estimate_effect([float(np.log(b / a)) for a, b in zip(first, second, strict=True)])
    return Held(low=found.low, high=found.high, truth=SLOWER - 1, level=found.level)


def recorded_interval(random: Random) -> Held:
    """`bench --baseline RUN`: two runs that did not take turns (the arithmetic of ``compare_runs``)."""
    one, other = (interval(run_of(random, processes=5, bias=0.1, drift=0.02, scale=scale)) for scale in (1.0, SLOWER))
    level = one.level + other.level - 1
    return Held(low=other.low / one.high - 1, high=other.high / one.low - 1, truth=SLOWER - 1, level=level)


def top1_interval(random: Random) -> Held:
    """`evaluate`, top1: a model that loses 6 % of the source's answers and gains 4 %."""
    cell = random.choice(3, SAMPLES, p=(0.06, 0.04, 0.9))
    low, high = paired_interval(int((cell == 0).sum()), int((cell == 1).sum()), SAMPLES)
    return Held(low=low, high=high, truth=0.02, level=LEVEL)


def _sample(label: float) -> Sample:
    return Sample(inputs={}, source_dtypes={}, label=int(label), target=np.array([label]), digest=b"", where="")


def _bootstrapped(name: str, labels: Sequence[float], source: Array, model: Array, truth: float) -> Held:
    metric = metric_of(name)

    def statistic(values: Array) -> Statistic:
        rows = zip(labels, values, strict=True)
        return metric.statistic(
            [
                metric.record(
                    _sample(label),
                    {"out": value.astype(np.float32)},
                )
                for label, value in rows
            ]
        )

    low, high = bootstrap(statistic(source), statistic(model), len(labels)).interval
    return Held(low=low, high=high, truth=truth, level=LEVEL)


def auc_interval(random: Random) -> Held:
    """`evaluate`, auc: normal scores with a distance of 1.5 between the classes, and noise on top."""
    labels = np.arange(SAMPLES) % 2
    source = random.normal(size=SAMPLES) + 1.5 * labels
    model = source + 0.7 * random.normal(size=SAMPLES)
    areas = [NormalDist().cdf(1.5 / sqrt(2 * (1 + noise**2))) for noise in (0, 0.7)]
    return _bootstrapped("auc", labels.tolist(), source[:, None], model[:, None], areas[0] - areas[1])


def mse_interval(random: Random) -> Held:
    """`evaluate`, mse: errors of 0.1, and 0.2 more."""
    source = 0.1 * random.normal(size=(SAMPLES, 1))
    model = source + 0.2 * random.normal(size=(SAMPLES, 1))
    return _bootstrapped("mse", [0.0] * SAMPLES, source, model, -0.04)


INTERVALS: dict[str, Callable[[Random], Held]] = {
    "bench, median latency over 5 processes": latency_interval,
    "bench --streams, inferences/s over 5 processes": rate_interval,
    "tune, speed-up over 7 rounds": ratio_interval,
    "compare, change of the latency over 20 rounds": effect_interval,
    "bench --baseline RUN, change between two runs": recorded_interval,
    f"evaluate, drop of top1, {SAMPLES} samples": top1_interval,
    f"evaluate, drop of auc, {SAMPLES} samples": auc_interval,
    f"evaluate, drop of mse, {SAMPLES} samples": mse_interval,
}
"""What is printed -> one simulated run of it."""


def lower_bound(share: float, count: int) -> float:
    """What a share of ``count`` runs may be by chance alone, in 99 of 100 cases, where the truth is ``share``."""
    return share + NormalDist().inv_cdf(0.01) * sqrt(share * (1 - share) / count)


def cover(what: str, draw: Callable[[Random], Held], runs: int) -> tuple[Row, list[Held]]:
    """The row of one interval: it may miss its level by what chance does, and no more."""
    random = np.random.default_rng(20051215)
    found = [draw(random) for _ in range(runs)]
    share, level = sum(item.holds for item in found) / runs, found[0].level
    width = median([item.high - item.low for item in found])
    row = Row(
        what=what,
        measured=f"{100 * share:.1f} % of {runs} (median width {width:.3g})",
        to_reach=f">= {100 * level:.1f} %, of these {100 * lower_bound(level, runs):.1f} %",
        ok=share >= lower_bound(level, runs),
    )
    return row, found


def main() -> int:
    arguments = parser(__doc__)
    arguments.add_argument("--runs", type=int, default=1000)
    options = arguments.parse_args()
    rows, details = [], {}
    for what, draw in INTERVALS.items():
        say(what)
        row, found = cover(what, draw, options.runs)
        rows.append(row)
        details[what] = [asdict(item) for item in found]
    return finish(rows, details, options.json)


if __name__ == "__main__":
    sys.exit(main())

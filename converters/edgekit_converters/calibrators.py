"""``--calibrator auto``: the range estimator that the finished file shows to be best; and whether the data suffice."""

from collections.abc import Callable
from dataclasses import dataclass

from edgekit_converters.comparison import SURE, Comparison, gain, is_surely_better
from edgekit_converters.estimators import Grid, estimate_ranges
from edgekit_converters.statistics import Statistics
from edgekit_converters.trials import Trials
from edgekit_converters.types import Calibrator, Finding, FloatModel, Ranges, Scheme

PLAINEST: Calibrator = "min-max"
"""What is left only for a better one that is surely better."""
CANDIDATES: tuple[Calibrator, ...] = (PLAINEST, "moving-average", "percentile", "percentile-99.9", "mse")
"""What ``auto`` tries. Not entropy: it is the slowest, and was the best for no model of docs/calibration.md."""
STABLE_DB = 1.0
"""What twice as many samples may change before the data count as too few."""


@dataclass(frozen=True, kw_only=True)
class CalibratorTrial:
    """One range estimator, and what the file made with it is worth."""

    calibrator: Calibrator
    sqnr_db: dict[str, float | None]
    """Output name -> signal to quantization noise ratio over all samples, against the float model."""
    mean_db: float
    """Mean of each sample's own ratio: most samples, where ``sqnr_db`` is the few worst."""


@dataclass(frozen=True, kw_only=True)
class ChosenRanges:
    """The best of all trials."""

    ranges: Ranges
    calibrator: Calibrator
    trials: tuple[CalibratorTrial, ...]
    """In the order in which they were made."""
    samples: int
    """Number of samples that measured."""


def grid_of(scheme: Scheme) -> Grid:
    """The integers that activations become."""
    wide = scheme.precision == "int16x8"
    return Grid(symmetric=wide or scheme.symmetric_activations, bits=16 if wide else 8)


def choose_ranges(
    model: FloatModel,
    statistics: Statistics,
    trials: Trials,
    *,
    on_trial: Callable[[CalibratorTrial], None] | None = None,
) -> ChosenRanges:
    """Quantize once with every candidate, run each file, and keep the best.

    ``statistics`` need histograms; ``trials`` are on the first of their samples, the same that gave the ranges. An
    estimator replaces min-max only if it ``is_surely_better``; why so is in docs/calibration.md. Costs one quantization
    and 128 inferences for each of the five. Raises QuantizationError.
    """
    grid = grid_of(trials.scheme)
    found: dict[Calibrator, Comparison] = {}
    told = []
    for calibrator in CANDIDATES:
        ranges = estimate_ranges(statistics, calibrator, grid=grid)
        found[calibrator] = trials.measure(model, ranges)
        told.append(
            CalibratorTrial(calibrator=calibrator, sqnr_db=found[calibrator].sqnr_db, mean_db=found[calibrator].mean_db)
        )
        if on_trial is not None:
            on_trial(told[-1])
    better = [name for name in found if name != PLAINEST and is_surely_better(found[name], found[PLAINEST])]
    best = max(better, key=lambda name: found[name].mean_db, default=PLAINEST)
    return ChosenRanges(
        ranges=estimate_ranges(statistics, best, grid=grid),
        calibrator=best,
        trials=tuple(told),
        samples=len(trials.reference.samples),
    )


def check_stability(
    model: FloatModel, calibrator: Calibrator, statistics: Statistics, trials: Trials
) -> tuple[Finding, ...]:
    """``calibration-unstable`` where the file from all samples and the one from every second differ in what they lose.

    Both are measured on the same samples. They differ where the mean ratio moves by more than 1 dB and by
    more than two standard errors (paired), up or down: either way, twice as many samples again would move it again.
    Nothing below 2 samples. Raises QuantizationError.
    """
    if statistics.half is None:
        return ()
    grid = grid_of(trials.scheme)
    all_of_them, half = (
        trials.measure(model, estimate_ranges(part, calibrator, grid=grid)) for part in (statistics, statistics.half)
    )
    moved, error = gain(all_of_them, half)
    if abs(moved) <= max(STABLE_DB, SURE * error):
        return ()
    finding = Finding(
        name="calibration-unstable",
        severity="warning",
        message=(
            f"The result still moves with the amount of calibration data: {half.mean_db:.1f} dB signal to "
            f"quantization noise from {statistics.half.samples} of the samples, {all_of_them.mean_db:.1f} dB from all "
            f"{statistics.samples} ({calibrator})."
        ),
        fix="Give more samples, of every kind that the model will meet; a few hundred are usual.",
    )
    return (finding,)

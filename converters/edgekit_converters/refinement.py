"""From statistics to what is quantized: ranges, and equalized weights or corrected biases where they surely help.

The order of Nagel et al. 2019: equalize, estimate ranges, correct biases. Each step is kept only if the file made with
it is surely better on the calibration samples than the one without (``comparison.is_surely_better``), or if it is on.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from edgekit_converters.bias_correction import correct_biases
from edgekit_converters.calibrators import CalibratorTrial, choose_ranges, grid_of
from edgekit_converters.comparison import Comparison, gain, is_surely_better, mean
from edgekit_converters.equalize import equalize
from edgekit_converters.estimators import estimate_ranges
from edgekit_converters.statistics import Samples, Statistics, collect_statistics
from edgekit_converters.trials import Trials
from edgekit_converters.types import Calibrator, Finding, FloatModel, Ranges

Switch = Literal["auto", "on", "off"]
"""``auto``: where the measured file is surely better."""


@dataclass(frozen=True, kw_only=True)
class Refined:
    """What ``quantize`` takes."""

    model: FloatModel
    """For quantizing only, and by this scheme: its biases may already be off by what its weights lose."""
    ranges: Ranges
    calibrator: Calibrator
    trials: tuple[CalibratorTrial, ...]
    """Of ``auto``; none for a calibrator that was named."""
    findings: tuple[Finding, ...]


def refine(
    model: FloatModel,
    statistics: Statistics,
    samples: Samples,
    trials: Trials,
    *,
    calibrator: Calibrator | Literal["auto"] = "auto",
    equalization: Switch = "auto",
    bias_correction: Switch = "auto",
    on_trial: Callable[[CalibratorTrial], None] | None = None,
) -> Refined:
    """Choose what gives the best file of ``trials.scheme``; ``samples`` are those of ``statistics``.

    ``auto`` equalization is tried only where a scheme has one scale for all channels of a convolution: with one for
    each it never helped (docs/calibration.md). Needs statistics with histograms for ``auto`` and for estimators that
    do. Raises QuantizationError, ConversionError.
    """
    findings: tuple[Finding, ...] = ()
    scheme, prepared = trials.scheme, model
    tried: tuple[CalibratorTrial, ...] = ()
    if equalization == "on" or (equalization == "auto" and not scheme.per_channel):
        prepared, statistics, findings = _equalized(model, statistics, samples, trials, equalization)
    if calibrator == "auto":
        chosen = choose_ranges(prepared, statistics, trials, on_trial=on_trial)
        ranges, calibrator, tried = chosen.ranges, chosen.calibrator, chosen.trials
    else:
        ranges = estimate_ranges(statistics, calibrator, grid=grid_of(scheme))
    if bias_correction != "off":
        prepared, said = _corrected(prepared, ranges, samples, trials, bias_correction)
        findings += said
    return Refined(model=prepared, ranges=ranges, calibrator=calibrator, trials=tried, findings=findings)


def _equalized(
    model: FloatModel, statistics: Statistics, samples: Samples, trials: Trials, switch: Switch
) -> tuple[FloatModel, Statistics, tuple[Finding, ...]]:
    """The equalized model with statistics of its own, or what was given."""
    candidate, findings = equalize(model)
    if candidate is model:
        return model, statistics, findings if switch == "on" else ()
    histograms = any(tensor.histogram is not None for tensor in statistics.tensors.values())
    fresh = collect_statistics(candidate.tflite, samples, histograms=histograms)
    grid = grid_of(trials.scheme)
    before = trials.measure(model, estimate_ranges(statistics, "min-max", grid=grid))
    after = trials.measure(candidate, estimate_ranges(fresh, "min-max", grid=grid))
    kept = switch == "on" or is_surely_better(after, before)
    findings = (_finding(findings[0], before, after, option="equalize", kept=kept),)
    return (candidate, fresh, findings) if kept else (model, statistics, findings)


def _corrected(
    model: FloatModel, ranges: Ranges, samples: Samples, trials: Trials, switch: Switch
) -> tuple[FloatModel, tuple[Finding, ...]]:
    candidate, findings = correct_biases(model, trials.make(model, ranges), samples)
    if candidate is model:
        return model, findings if switch == "on" else ()
    before, after = (trials.measure(either, ranges) for either in (model, candidate))
    kept = switch == "on" or is_surely_better(after, before)
    said = _finding(findings[0], before, after, option="correct-biases", kept=kept)
    return candidate if kept else model, (said,)


def _finding(done: Finding, before: Comparison, after: Comparison, *, option: str, kept: bool) -> Finding:
    """What was done, what it brought, and whether it stayed; ``option`` of `edgekit build` decides otherwise."""
    moved, error = gain(after, before)
    return replace(
        done,
        message=(
            f"{'' if kept else 'Tried and not kept: '}{done.message} A sample's signal to quantization noise moves "
            f"by {moved:+.1f} dB (standard error {error:.1f}), that of all together from {mean(before.sqnr_db):.1f} to "
            f"{mean(after.sqnr_db):.1f} dB."
        ),
        fix=f"Nothing to do; --{'no-' if kept else ''}{option} builds {'without' if kept else 'with'} it, to compare.",
    )

"""From statistics to what is quantized: ranges, and equalized weights or corrected biases where they surely help.

The order of Nagel et al. 2019: equalize, estimate ranges, correct biases. Each step is kept only if the file made with
it is surely better on the calibration samples than the one without (``comparison.is_surely_better``), or if it is on.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from edgekit_converters.bias_correction import correct_biases
from edgekit_converters.calibrators import MOST_SAMPLES, CalibratorTrial, choose_ranges, grid_of
from edgekit_converters.comparison import (
    Comparison,
    Reference,
    compare,
    gain,
    is_surely_better,
    mean,
    take_reference,
)
from edgekit_converters.equalize import equalize
from edgekit_converters.estimators import estimate_ranges
from edgekit_converters.quantize import quantize
from edgekit_converters.statistics import Samples, Statistics, collect_statistics
from edgekit_converters.types import Calibrator, Finding, FloatModel, Ranges, Scheme

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
    scheme: Scheme,
    statistics: Statistics,
    samples: Samples,
    *,
    calibrator: Calibrator | Literal["auto"] = "auto",
    equalization: Switch = "auto",
    bias_correction: Switch = "auto",
    on_trial: Callable[[CalibratorTrial], None] | None = None,
) -> Refined:
    """Choose what gives the best file; ``samples`` are those of ``statistics``.

    ``auto`` equalization is tried only where a scheme has one scale for all channels of a convolution: with one for
    each it never helped (docs/calibration.md). Needs statistics with histograms for ``auto`` and for estimators that
    do. Raises QuantizationError, ConversionError.
    """
    findings: tuple[Finding, ...] = ()
    reference = take_reference(model, samples(), most=MOST_SAMPLES)
    prepared = model
    if equalization == "on" or (equalization == "auto" and not scheme.per_channel):
        prepared, statistics, findings = _equalized(model, scheme, statistics, samples, reference, equalization)
    if calibrator == "auto":
        chosen = choose_ranges(prepared, scheme, statistics, samples, on_trial=on_trial)
        ranges, calibrator, trials = chosen.ranges, chosen.calibrator, chosen.trials
    else:
        ranges, trials = estimate_ranges(statistics, calibrator, grid=grid_of(scheme)), ()
    if bias_correction != "off":
        prepared, said = _corrected(prepared, scheme, ranges, samples, reference, bias_correction)
        findings += said
    return Refined(model=prepared, ranges=ranges, calibrator=calibrator, trials=trials, findings=findings)


def _equalized(
    model: FloatModel,
    scheme: Scheme,
    statistics: Statistics,
    samples: Samples,
    reference: Reference,
    switch: Switch,
) -> tuple[FloatModel, Statistics, tuple[Finding, ...]]:
    """The equalized model with statistics of its own, or what was given."""
    candidate, findings = equalize(model)
    if candidate is model:
        return model, statistics, findings if switch == "on" else ()
    histograms = any(tensor.histogram is not None for tensor in statistics.tensors.values())
    fresh = collect_statistics(candidate.tflite, samples, histograms=histograms)
    before = _measure(model, scheme, estimate_ranges(statistics, "min-max", grid=grid_of(scheme)), reference)
    after = _measure(candidate, scheme, estimate_ranges(fresh, "min-max", grid=grid_of(scheme)), reference)
    kept = switch == "on" or is_surely_better(after, before)
    findings = (_finding(findings[0], before, after, option="equalize", kept=kept),)
    return (candidate, fresh, findings) if kept else (model, statistics, findings)


def _corrected(
    model: FloatModel, scheme: Scheme, ranges: Ranges, samples: Samples, reference: Reference, switch: Switch
) -> tuple[FloatModel, tuple[Finding, ...]]:
    candidate, findings = correct_biases(model, scheme, ranges, samples)
    if candidate is model:
        return model, findings if switch == "on" else ()
    before, after = (_measure(either, scheme, ranges, reference) for either in (model, candidate))
    kept = switch == "on" or is_surely_better(after, before)
    said = _finding(findings[0], before, after, option="correct-biases", kept=kept)
    return candidate if kept else model, (said,)


def _measure(model: FloatModel, scheme: Scheme, ranges: Ranges, reference: Reference) -> Comparison:
    return compare(quantize(model, scheme=scheme, ranges=ranges).tflite, reference)


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

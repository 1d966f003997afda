"""From a candidate of the ladder to its file."""

from dataclasses import dataclass, field, replace

from edgekit.errors import foreign_errors
from edgekit.ladder import Candidate
from edgekit_converters.refinement import Refined
from edgekit_converters.statistics import Samples, Statistics
from edgekit_converters.types import Calibrator, FloatModel, QuantizedModel

CALIBRATED = frozenset({"int8", "int16x8"})
"""Precisions that need ranges."""


@dataclass(frozen=True, kw_only=True)
class CandidateFile:
    """A candidate, made."""

    quantized: QuantizedModel
    """As it would be written."""
    float_model: FloatModel
    """What its layers are compared with: the source, equalized where the candidate says so."""
    calibrator: Calibrator | None = None
    """The estimator of its ranges; None where there are none."""


@dataclass(kw_only=True)
class Maker:
    """Makes candidates; the same candidate gives the same file."""

    float_model: FloatModel
    statistics: Statistics
    """With histograms where a candidate's estimator needs them."""
    samples: Samples
    """Those of ``statistics``."""
    refined: list[tuple[Candidate, Refined]] = field(default_factory=list)
    """Ranges and equalized weights found so far."""

    def __call__(self, candidate: Candidate) -> CandidateFile:
        """Make the file; raises ModelError."""
        with foreign_errors():
            return self._make(candidate)

    def _make(self, candidate: Candidate) -> CandidateFile:
        from edgekit_converters.bias_correction import correct_biases
        from edgekit_converters.quantize import quantize

        scheme = candidate.scheme
        if scheme.precision not in CALIBRATED:
            return CandidateFile(quantized=quantize(self.float_model, scheme=scheme), float_model=self.float_model)
        found = self._refine(candidate)
        model, findings = found.model, found.findings
        if candidate.correct_bias:
            # By the scheme itself: the weights of a layer that is rescued to float lose nothing.
            model, said = correct_biases(model, quantize(model, scheme=scheme, ranges=found.ranges), self.samples)
            findings += said
        quantized = quantize(model, scheme=scheme, ranges=found.ranges)
        return CandidateFile(
            quantized=replace(quantized, findings=(*quantized.findings, *findings)),
            float_model=found.model,
            calibrator=found.calibrator,
        )

    def _refine(self, candidate: Candidate) -> Refined:
        """Ranges and equalization: the same however many layers are rescued."""
        from edgekit_converters.refinement import refine
        from edgekit_converters.trials import start_trials

        scheme = replace(candidate.scheme, layers={})
        key = replace(candidate, label="", correct_bias=False, scheme=scheme)
        for other, known in self.refined:
            if other == key:
                return known
        found = refine(
            self.float_model,
            self.statistics,
            self.samples,
            start_trials(self.float_model, scheme, self.samples),
            calibrator=candidate.calibrator or "min-max",
            equalization="on" if candidate.equalize else "off",
            bias_correction="off",
        )
        self.refined.append((key, found))
        return found

"""What can be told from calibration and evaluation data before it does harm: an observer of streamed samples.

Memory is constant but for eight bytes a sample. Shapes and dtypes that do not fit raise DataError when the sample is
read (``calibration.py``); everything here ends as a ``Finding``.
"""

import hashlib
from array import array
from collections.abc import Mapping
from typing import Any, Literal

from edgekit_converters.calibration import Sample
from edgekit_converters.targets import target_bytes
from edgekit_converters.types import Finding, Severity, TensorSpec

Role = Literal["calibration", "evaluation"]
Span = tuple[float, float]
"""(smallest, largest) value."""

ENOUGH = 100
"""Fewer samples than this leave ranges to chance."""
OUTSIDE = 0.05
"""Share of the declared width by which data may lie outside it."""
RATIO = 8.0
"""Spans that differ by more than this were scaled differently (0..1 against 0..255 is 255)."""
MIN_FOR_PREDICTION = 20
UINT8_LEVELS = 32.0
"""uint8 data that reaches this and arrives unscaled holds raw pixels, not flags or small counts."""


class Checks:
    """Sees every sample of one pass, then tells its findings."""

    def __init__(
        self, inputs: tuple[TensorSpec, ...], *, declared: Mapping[str, Span] | None = None, role: Role = "calibration"
    ) -> None:
        """``declared`` is ``[input.NAME] range`` of edgekit.toml: what the model takes, after preprocessing."""
        self._inputs = inputs
        self._declared = dict(declared or {})
        self._role = role
        self._digests = array("Q")
        self._content = hashlib.sha256()
        self._spans: dict[str, Span] = {}
        self._source_dtypes: dict[str, str] = {}
        self._not_finite: list[int] = []
        self._constant = 0
        self._predictions: dict[str, set[int]] = {}

    @property
    def count(self) -> int:
        """Samples seen."""
        return len(self._digests)

    @property
    def spans(self) -> dict[str, Span]:
        """Input name -> (smallest, largest) value seen, finite ones only."""
        return dict(self._spans)

    def digests(self) -> "array[int]":
        """64 bits of each sample's content, for ``overlap``."""
        return self._digests

    def sha256(self) -> str:
        """Digest of all samples and labels in their order."""
        return self._content.hexdigest()

    def see(self, sample: Sample) -> None:
        """Look at one sample."""
        import numpy as np

        number = self.count
        self._digests.append(int.from_bytes(sample.digest[:8], "little"))
        self._content.update(sample.digest + target_bytes(sample.target))
        self._source_dtypes.update(sample.source_dtypes)
        constant = True
        for name, values in sample.inputs.items():
            if values.dtype.kind == "f" and not np.isfinite(values).all():
                self._not_finite.append(number)
                constant = False
                continue
            low, high = float(values.min()), float(values.max())
            constant = constant and low == high and values.size > 1
            known = self._spans.get(name, (low, high))
            self._spans[name] = (min(low, known[0]), max(high, known[1]))
        self._constant += constant

    def see_outputs(self, outputs: Mapping[str, Any]) -> None:
        """Look at what the float model made of a sample (output name -> array); for ``constant-prediction``."""
        for name, values in outputs.items():
            if values.ndim == 2 and values.shape[0] == 1 and values.shape[1] > 1:  # noqa: PLR2004 - (1, classes)
                self._predictions.setdefault(name, set()).add(int(values.argmax()))

    def findings(self) -> tuple[Finding, ...]:
        """Everything worth saying, errors first."""
        found = [*self._count(), *self._values(), *self._repeats()]
        for spec in self._inputs:
            if spec.name in self._spans:
                found.extend(self._range(spec, self._spans[spec.name]))
        found.extend(self._prediction())
        order: tuple[Severity, ...] = ("error", "warning", "info")
        return tuple(sorted(found, key=lambda finding: order.index(finding.severity)))

    def _finding(self, name: str, severity: Severity, message: str, fix: str) -> Finding:
        return Finding(name=f"{self._role}-{name}", severity=severity, message=message, fix=fix)

    def _count(self) -> list[Finding]:
        if self.count == 0:
            return [self._finding("count", "error", f"The {self._role} data holds no sample.", "Give some samples.")]
        if self.count < ENOUGH:
            message = f"There are only {self.count} {self._role} samples; {ENOUGH} or more make the result stable."
            return [self._finding("count", "warning", message, "Add samples from what the device will really see.")]
        return []

    def _values(self) -> list[Finding]:
        found = []
        if self._not_finite:
            shown = ", ".join(map(str, self._not_finite[:5]))
            message = f"{len(self._not_finite)} {self._role} samples hold NaN or infinity (number {shown})."
            found.append(self._finding("not-finite", "error", message, "Remove them or repair their source."))
        if self._constant:
            severity: Severity = "error" if self._constant == self.count else "warning"
            message = f"{self._constant} of {self.count} {self._role} samples have one value everywhere."
            found.append(
                self._finding("constant", severity, message, "Remove black frames, silence and failed recordings.")
            )
        return found

    def _repeats(self) -> list[Finding]:
        import numpy as np

        repeated = self.count - np.unique(np.frombuffer(self._digests, np.uint64)).size if self.count else 0
        if not repeated:
            return []
        message = f"{repeated} of {self.count} {self._role} samples repeat another one."
        return [
            self._finding("duplicates", "warning", message, "Remove the copies: they add weight but no information.")
        ]

    def _range(self, spec: TensorSpec, span: Span) -> list[Finding]:
        declared = self._declared.get(spec.name)
        if declared is not None:
            return self._against_declared(spec.name, span, declared)
        raw = self._source_dtypes.get(spec.name) == "uint8" and spec.dtype.startswith("float")
        if raw and span[0] >= 0 and span[1] >= UINT8_LEVELS:
            message = (
                f"uint8 data goes unscaled into the float input {spec.name!r} ({_show(span)}). That is right only for "
                "a model trained on 0..255."
            )
            fix = (
                f"Set [input.{spec.name}.preprocessing] scale = 0.00392156862745098 for a model trained on 0..1, or "
                f"confirm with [input.{spec.name}] range = [0, 255]."
            )
            return [self._finding("range", "warning", message, fix)]
        return []

    def _against_declared(self, name: str, span: Span, declared: Span) -> list[Finding]:
        slack = OUTSIDE * (declared[1] - declared[0])
        outside = span[0] < declared[0] - slack or span[1] > declared[1] + slack
        narrow = _width(span) * RATIO < _width(declared)
        if not outside and not narrow:
            return []
        how = "lies outside" if outside else "covers only a small part of"
        message = (
            f"The {self._role} data of input {name!r} is {_show(span)}, which {how} the declared {_show(declared)}."
        )
        fix = (
            f"Scale the data as in training: correct [input.{name}.preprocessing] (scale, mean, std), the data, or "
            f"[input.{name}] range."
        )
        return [self._finding("range", "error", message, fix)]

    def _prediction(self) -> list[Finding]:
        return [
            self._finding(
                "prediction",
                "warning",
                f"The float model gives class {next(iter(classes))} for all {self.count} {self._role} samples "
                f"(output {name!r}). Data that is scaled differently than in training does that.",
                "Compare the preprocessing with the training's; give samples of every class.",
            )
            for name, classes in self._predictions.items()
            if len(classes) == 1 and self.count >= MIN_FOR_PREDICTION
        ]


def overlap(calibration: "array[int]", evaluation: "array[int]") -> tuple[Finding, ...]:
    """Samples that are in both sets, by their digests: an accuracy measured on them is too good."""
    import numpy as np

    shared = int(np.isin(np.frombuffer(evaluation, np.uint64), np.frombuffer(calibration, np.uint64)).sum())
    if not shared:
        return ()
    share = 100 * shared / len(evaluation)
    return (
        Finding(
            name="evaluation-overlap",
            severity="warning",
            message=f"{shared} of {len(evaluation)} evaluation samples ({share:.2g} %) are also calibration samples.",
            fix="Evaluate on held-out data; otherwise the measured drop is too small.",
        ),
    )


def contradiction(calibration: Mapping[str, Span], evaluation: Mapping[str, Span]) -> tuple[Finding, ...]:
    """Inputs whose calibration and evaluation data were scaled differently."""
    return tuple(
        Finding(
            name="evaluation-range",
            severity="error",
            message=(
                f"Input {name!r} is {_show(calibration[name])} in the calibration data and "
                f"{_show(span)} in the evaluation data: one of them is scaled differently."
            ),
            fix="Prepare both in the same way; scaling belongs into [input.NAME.preprocessing], which both go through.",
        )
        for name, span in evaluation.items()
        if name in calibration
        and max(_width(span), _width(calibration[name])) > RATIO * min(_width(span), _width(calibration[name]))
    )


def _width(span: Span) -> float:
    """Extent with zero included: 0..1 and 0..255 differ by 255, wherever the data begins."""
    return max(span[1], 0.0) - min(span[0], 0.0)


def _show(span: Span) -> str:
    return f"{span[0]:.4g}..{span[1]:.4g}"

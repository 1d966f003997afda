"""Files of one scheme, each quantized and measured once however often it is asked for."""

from dataclasses import dataclass, field

from edgekit_converters.comparison import MOST_BYTES, Comparison, Reference, compare, take_reference
from edgekit_converters.quantize import quantize
from edgekit_converters.statistics import Samples
from edgekit_converters.types import FloatModel, QuantizedModel, Ranges, Scheme

MOST_SAMPLES = 128
"""On which a file is measured."""

Key = tuple[bytes, tuple[tuple[str, tuple[float, float]], ...]]


@dataclass(frozen=True, kw_only=True)
class Trials:
    """What calibrators, bias correction and the stability check make; the same file is often wanted by several."""

    scheme: Scheme
    reference: Reference
    """Samples, and what the float model gives for them."""
    _files: dict[Key, QuantizedModel] = field(default_factory=dict, repr=False)
    _measured: dict[Key, Comparison] = field(default_factory=dict, repr=False)

    def make(self, model: FloatModel, ranges: Ranges) -> QuantizedModel:
        """As ``quantize``; files are kept up to 64 MiB together. Raises QuantizationError."""
        key = _key(model, ranges)
        if key in self._files:
            return self._files[key]
        made = quantize(model, scheme=self.scheme, ranges=ranges)
        if len(made.tflite) + sum(len(file.tflite) for file in self._files.values()) <= MOST_BYTES:
            self._files[key] = made
        return made

    def measure(self, model: FloatModel, ranges: Ranges) -> Comparison:
        """What the file loses against the reference. Raises QuantizationError."""
        key = _key(model, ranges)
        if key not in self._measured:
            self._measured[key] = compare(self.make(model, ranges).tflite, self.reference)
        return self._measured[key]


def start_trials(model: FloatModel, scheme: Scheme, samples: Samples) -> Trials:
    """Trials on the first 128 of the samples, fewer where they would not fit in 64 MiB."""
    return Trials(scheme=scheme, reference=take_reference(model, samples(), most=MOST_SAMPLES))


def _key(model: FloatModel, ranges: Ranges) -> Key:
    return model.tflite, tuple(ranges.items())

"""A quantized file against its float model on the same samples: signal to quantization noise ratio of each output."""

import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgekit_converters.errors import QuantizationError
from edgekit_converters.runtime import open_interpreter, signature_of, to_real, to_steps
from edgekit_converters.types import FloatModel

MOST_BYTES = 64 * 2**20
"""Of samples and float outputs that are held at a time, whatever their number."""
CLEAR_DB = 60.0
"""What a sample's error counts as at most: below a thousandth of the signal, differences say nothing."""
LOUDEST_DB = 200.0
"""What an output that is the same to the last bit counts as."""
TIE_DB = 0.05
"""Less is no reason to change anything."""
SURE = 2.0
"""Standard errors that an improvement must exceed."""

Arrays = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Reference:
    """Samples, and what the float model gives for them."""

    samples: tuple[Arrays, ...]
    outputs: tuple[Arrays, ...]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What a file loses against a reference."""

    sqnr_db: dict[str, float | None]
    """Output name -> signal to noise ratio over all elements of all samples; None for an output that is always 0."""
    sample_db: Any
    """(samples,) float64: the same for each sample (its own noise, the mean signal), averaged over the outputs."""

    @property
    def mean_db(self) -> float:
        """Mean over the samples; a ratio over all elements is that of the few worst ones, whatever the others say."""
        return float(self.sample_db.mean()) if len(self.sample_db) else 0.0


def take_reference(model: FloatModel, samples: Iterable[Arrays], *, most: int) -> Reference:
    """Run the float model over the first ``most`` samples, or fewer where they would not fit in ``MOST_BYTES``."""
    run = runner(model.tflite)
    kept: list[tuple[Arrays, Arrays]] = []
    size = 0
    for sample in itertools.islice(samples, most):
        outputs = run(sample)
        size += sum(array.nbytes for side in (sample, outputs) for array in side.values())
        if kept and size > MOST_BYTES:
            break
        kept.append((sample, outputs))
    return Reference(samples=tuple(pair[0] for pair in kept), outputs=tuple(pair[1] for pair in kept))


def compare(tflite: bytes, reference: Reference) -> Comparison:
    """Run a file over the samples of a reference."""
    run = runner(tflite)
    return compare_outputs(reference, [run(sample) for sample in reference.samples])


def compare_outputs(reference: Reference, found: Sequence[Arrays]) -> Comparison:
    """The same of outputs that are there already, in the order of the samples."""
    import numpy as np

    ratios: dict[str, float | None] = {}
    columns = []
    for name in reference.outputs[0] if reference.outputs else ():
        pairs = [(np.asarray(w[name], np.float64), f[name]) for w, f in zip(reference.outputs, found, strict=True)]
        signal = float(sum(np.square(wanted).sum() for wanted, _ in pairs))
        noise = np.array([np.square(wanted - got).sum() for wanted, got in pairs])
        ratios[name] = (
            10 * math.log10(signal / max(float(noise.sum()), signal * _share(LOUDEST_DB))) if signal else None
        )
        if signal:
            mean = signal / len(pairs)
            columns.append(10 * np.log10(mean / np.maximum(noise, mean * _share(CLEAR_DB))))
    return Comparison(sqnr_db=ratios, sample_db=np.mean(columns, axis=0) if columns else np.zeros(len(found)))


def mean(ratios: Mapping[str, float | None]) -> float:
    """Mean dB over the outputs that have a signal; 0 where none has."""
    known = [ratio for ratio in ratios.values() if ratio is not None]
    return sum(known) / len(known) if known else 0.0


def gain(candidate: Comparison, base: Comparison) -> tuple[float, float]:
    """(mean difference of the samples' dB, its standard error): paired, positive where the candidate is better.

    The error is infinite for a single sample.
    """
    difference = candidate.sample_db - base.sample_db
    count = len(difference)
    return float(difference.mean()), float(difference.std(ddof=1)) / math.sqrt(count) if count > 1 else math.inf


def is_surely_better(candidate: Comparison, base: Comparison) -> bool:
    """Better for most samples, and no worse for the worst.

    The samples' mean is higher by 0.05 dB and by two standard errors of the paired difference, and the ratio over all
    elements is not lower. Without the first, chance chooses: a ratio over 100 samples is good to 1 dB only. Without
    the second, a few samples could be given up for the others.
    """
    difference, error = gain(candidate, base)
    return difference >= max(TIE_DB, SURE * error) and mean(candidate.sqnr_db) >= mean(base.sqnr_db)


def _share(decibels: float) -> float:
    return float(10 ** (-decibels / 10))


def runner(tflite: bytes) -> Callable[[Arrays], dict[str, Any]]:
    """Real-valued inputs by name -> real-valued float32 outputs by name, whatever the file's own dtypes.

    Raises QuantizationError when the runtime refuses the file.
    """
    interpreter = open_interpreter(tflite, _refused)
    signature = signature_of(interpreter)
    inputs, outputs = signature.get_input_details(), signature.get_output_details()

    def run(sample: Arrays) -> dict[str, Any]:
        for name, details in inputs.items():
            interpreter.set_tensor(details["index"], to_steps(sample[name], details))
        interpreter.reset_all_variables()  # samples are independent of each other
        interpreter.invoke()
        return {name: to_real(interpreter.get_tensor(details["index"]), details) for name, details in outputs.items()}

    return run


def _refused(why: str) -> QuantizationError:
    return QuantizationError(
        f"The quantized model does not load in the TFLite runtime: {why}",
        hint="Build it with --precision float16 or float32, and report the model.",
    )

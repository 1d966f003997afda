"""Does the float .tflite compute what its source does? Compared on a few inputs before anything is quantized.

A converter can drop a layer's padding mode, an epsilon or a transposition and still give a file that runs; only
the source's own answer on the same inputs shows it.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from edgekit_converters.errors import MismatchError
from edgekit_converters.runtime import float_model_refused, open_interpreter, signature_of
from edgekit_converters.types import Fidelity, Finding, FloatModel, OutputFidelity

SAMPLES = 4
"""Enough: a conversion is wrong for every input or, at an edge case of an op, for few; real data decides which."""
BROKEN_BELOW_DB = 60.0
"""A thousandth of the signal: float arithmetic in another order stays above 100 dB, a wrong op below 40."""
DRIFT_BELOW_DB = 80.0
NOTHING = 1e-6
"""What an output may be where the source's is all zero."""
SEED = 20261101

Arrays = Mapping[str, Any]


def random_samples(model: FloatModel, declared: Mapping[str, tuple[float, float]]) -> list[dict[str, Any]]:
    """Seeded inputs in the declared range (else 0..1; integers 0 or 1), in the .tflite's shapes and dtypes."""
    import numpy as np

    generator = np.random.default_rng(SEED)
    return [
        {
            spec.name: generator.uniform(*declared.get(spec.name, (0.0, 1.0)), spec.shape).astype(spec.dtype)
            if np.issubdtype(spec.dtype, np.floating)
            else generator.integers(0, 2, spec.shape).astype(spec.dtype)
            for spec in model.inputs
        }
        for _ in range(SAMPLES)
    ]


def measure_fidelity(
    model: FloatModel,
    samples: Sequence[Arrays],
    references: Sequence[Arrays],
    kind: Literal["calibration", "evaluation", "random"],
) -> Fidelity:
    """Largest error and SQNR of each output; ``references`` are the source's outputs in the .tflite's layout."""
    import numpy as np

    answers = [_run(model, sample) for sample in samples]
    outputs = []
    for spec in model.outputs:
        got = np.stack([np.asarray(answer[spec.name], np.float64) for answer in answers])
        wanted = np.stack([_in_shape(reference[spec.name], spec.shape, spec.name) for reference in references])
        outputs.append(compare(spec.name, got, wanted))
    return Fidelity(kind=kind, samples=len(samples), outputs=tuple(outputs))


def check_fidelity(fidelity: Fidelity, route: str) -> tuple[Finding, ...]:
    """Raise MismatchError for an output that is wrong; a finding for one that drifts."""
    findings = []
    for output in fidelity.outputs:
        said = (
            f"Output {output.name!r} of the float .tflite differs from the source's by up to {output.max_error:.3g} "
            f"({_decibels(output)}) on {fidelity.samples} {fidelity.kind} samples"
        )
        if math.isnan(output.max_error) or (output.sqnr_db is not None and output.sqnr_db < BROKEN_BELOW_DB):
            raise MismatchError(
                f"{said}: the conversion ({route}) is wrong.",
                hint="Report the model; meanwhile another export of it (ONNX, PyTorch, Keras) may convert truly.",
            )
        if output.sqnr_db is not None and output.sqnr_db < DRIFT_BELOW_DB:
            findings.append(
                Finding(
                    name="conversion-drift",
                    severity="warning",
                    message=f"{said}; float arithmetic alone stays above {DRIFT_BELOW_DB:.0f} dB.",
                    fix="Measure the accuracy with --evaluate; the source may compute an op in lower precision.",
                )
            )
    return tuple(findings)


def _decibels(output: OutputFidelity) -> str:
    return "no signal" if output.sqnr_db is None else f"{output.sqnr_db:.1f} dB"


def _run(model: FloatModel, sample: Arrays) -> dict[str, Any]:
    # A fresh interpreter a sample: a stateful model starts from its initial state, as its source does.
    runner = signature_of(open_interpreter(model.tflite, float_model_refused))
    answer: dict[str, Any] = runner(**{spec.name: sample[spec.name] for spec in model.inputs})
    return answer


def _in_shape(array: Any, shape: tuple[int, ...], name: str) -> Any:
    import numpy as np

    wide = np.asarray(array, np.float64)
    if wide.size != math.prod(shape):
        raise MismatchError(
            f"Output {name!r} has the shape {shape} in the .tflite and {wide.shape} in the source.",
            hint="Report the model: the conversion is wrong.",
        )
    return wide.reshape(shape)


def compare(name: str, got: Any, wanted: Any) -> OutputFidelity:
    """Error of one output: float64 arrays of the same shape."""
    import numpy as np

    with np.errstate(invalid="ignore", over="ignore"):  # infinity - infinity, looked at below
        error = got - wanted
    # Both may be infinite or NaN in the same places (a masked logit): that is agreement.
    error[(got == wanted) | (np.isnan(got) & np.isnan(wanted))] = 0.0
    largest = float(np.abs(error).max(initial=0.0))
    noise, signal = float(np.square(error).sum()), float(np.square(np.nan_to_num(wanted, posinf=0, neginf=0)).sum())
    if noise == 0:
        return OutputFidelity(name=name, max_error=largest, sqnr_db=None)
    if not math.isfinite(noise) or (signal == 0 and largest > NOTHING):
        return OutputFidelity(name=name, max_error=math.nan, sqnr_db=None)
    return OutputFidelity(name=name, max_error=largest, sqnr_db=10 * math.log10(signal / noise) if signal else None)

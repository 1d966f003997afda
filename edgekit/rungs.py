"""The rungs of ``--precision auto`` for a target: which candidates there are, fastest first. Pure.

By rule, where latency is not measured: int8, whatever its range estimator and corrections; int8 with ever more layers
rescued; all of it int16x8 where the target has fast int16 kernels; float16, which computes in float32 from half the
bytes; float32. XNNPACK takes float layers and no int16 ones, so behind it layers are rescued to float32.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from edgekit.ladder import Candidate, Rung, Trial
from edgekit.target import Target
from edgekit_converters.layer_errors import LayerError
from edgekit_converters.rescue import rescue_steps
from edgekit_converters.types import Calibrator, IoDtype, LayerPrecision, Precision, Scheme

MOST_RESCUED = 0.5
"""Share of the layers; beyond it the file is a float one with conversions."""
XNNPACK = "xnnpack"

WHOLE_IO: dict[Precision, IoDtype] = {"int16x8": "int16", "float16": "float32", "float32": "float32"}
"""Inputs and outputs of the rungs above int8, where those of the int8 scheme are integers."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the ladder is made from."""

    scheme: Scheme
    """int8, by the rules of the target and the wishes of the user."""
    calibrator: Calibrator | Literal["auto"]
    equalize: bool
    correct_bias: bool
    precisions: tuple[Precision, ...]
    """What the target takes."""
    rescues: tuple[LayerPrecision, ...]
    """What single layers may become, the fastest on the target first."""
    choices: Mapping[str, Sequence[LayerPrecision]] = field(default_factory=dict)
    """Layer -> what it can be rescued to (``recipes.layer_choices``)."""


def rescues_of(target: Target) -> tuple[LayerPrecision, ...]:
    """What single layers may become on a target, the fastest first."""
    taken = target.quantization.precisions
    if "int8" not in taken:
        return ()
    order: tuple[LayerPrecision, ...] = ("float32", "int16x8")
    if target.delegate != XNNPACK:
        order = ("int16x8", "float32")
    return tuple(precision for precision in order if precision in taken)


def int8_candidates(options: Options) -> tuple[Candidate, ...]:
    """Files of the same speed: as asked for first, then with each correction that was not asked for.

    Empty for a target that takes no int8.
    """
    if "int8" not in options.precisions:
        return ()
    first = Candidate(
        label="int8",
        scheme=options.scheme,
        calibrator=options.calibrator,
        equalize=options.equalize,
        correct_bias=options.correct_bias,
    )
    found = [first]
    if options.calibrator != "auto":
        found.append(replace(first, label="int8, best range estimator", calibrator="auto"))
    if not options.correct_bias:
        found.append(replace(found[-1], label="int8, bias correction", correct_bias=True))
    if not options.equalize:
        found.append(replace(found[-1], label="int8, equalized, bias correction", equalize=True, correct_bias=True))
    return tuple(found)


def rescue_candidates(
    options: Options, base: Candidate, errors: Sequence[LayerError], precision: LayerPrecision
) -> tuple[Candidate, ...]:
    """``base`` with one more group of layers rescued each time, the most sensitive group first."""
    total = len(options.choices)
    steps = rescue_steps(
        errors,
        precision,
        options.choices,
        float_io=options.scheme.io == "float32",
        max_layers=max(2, int(MOST_RESCUED * total)),
    )
    found = []
    layers: dict[str, LayerPrecision] = dict(base.scheme.layers)
    for step in steps:
        layers = {**layers, **dict.fromkeys(step.layers, precision)}
        scheme = replace(base.scheme, layers=layers)
        found.append(replace(base, label=f"{base.label}, {len(layers)} of {total} layers {precision}", scheme=scheme))
    return tuple(found)


def whole_candidates(options: Options) -> tuple[Candidate, ...]:
    """The precisions above int8 that the target takes, fastest first by rule; the last one is the safest."""
    order: list[Precision] = ["float16", "float32"]
    if "int16x8" in options.rescues[:1]:
        order.insert(0, "int16x8")
    return tuple(
        Candidate(
            label=precision,
            scheme=replace(
                options.scheme,
                precision=precision,
                io="float32" if options.scheme.io == "float32" else WHOLE_IO[precision],
                weight_bits=8,
                layers={},
            ),
            calibrator=options.calibrator if precision == "int16x8" else None,
        )
        for precision in order
        if precision in options.precisions
    )


def best_int8(trials: Sequence[Trial]) -> Trial | None:
    """The smallest drop among the int8 files without a rescue, the plainest of equals; None where none was made."""
    made = [
        (trial.drop, place, trial)
        for place, trial in enumerate(trials)
        if trial.drop is not None and trial.candidate.scheme.precision == "int8" and not trial.candidate.scheme.layers
    ]
    return min(made, key=lambda item: item[:2])[2] if made else None


def wide_weights(options: Options) -> tuple[Candidate, ...]:
    """int8 weights where int4 ones were asked for: as fast as they are, and the whole precisions are slower."""
    return tuple(
        replace(candidate, label="int8, int8 weights", scheme=replace(candidate.scheme, weight_bits=8))
        for candidate in int8_candidates(options)[:1]
        if candidate.scheme.weight_bits != 8  # noqa: PLR2004 - int8
    )


def make_rungs(
    options: Options,
    corrected: Callable[[Sequence[Trial]], Sequence[Candidate]],
    rescued: Callable[[Sequence[Trial]], Sequence[Candidate]],
    *,
    floors_ms: Mapping[str, float],
) -> tuple[Rung, ...]:
    """int8, int8 corrected, int8 weights instead of int4, int8 with rescued layers, then each whole precision.

    ``corrected`` and ``rescued`` are asked only when plain int8 did not do: what they find out takes time.
    ``floors_ms``: label of int8 and of each whole precision -> its measured latency.
    """
    rungs = [
        Rung(name="int8", candidates=lambda _trials: int8_candidates(options)[:1], floor_ms=floors_ms.get("int8")),
        Rung(name="int8 corrected", candidates=corrected, floor_ms=floors_ms.get("int8")),
        Rung(
            name="int8 with int8 weights",
            candidates=lambda _trials: wide_weights(options),
            floor_ms=floors_ms.get("int8"),
        ),
        # A rescue only adds work to the int8 file.
        Rung(name="int8 with rescued layers", candidates=rescued, ordered=True, floor_ms=floors_ms.get("int8")),
    ]
    rungs.extend(_single(whole, floors_ms.get(whole.label)) for whole in whole_candidates(options))
    return tuple(rungs)


def _single(candidate: Candidate, floor_ms: float | None) -> Rung:
    return Rung(name=candidate.label, candidates=lambda _trials: (candidate,), floor_ms=floor_ms)

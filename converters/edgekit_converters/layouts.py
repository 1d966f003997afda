"""How a converter transposed inputs and outputs, found by comparing shapes and, where they leave a doubt, values.

onnx2tf computes in NHWC and says nowhere which tensors it turned; equal dimensions (1, 8, 8, 8) hide it.
"""

import itertools
import math
from collections.abc import Callable, Mapping
from typing import Any

from edgekit_converters.converter import Permutation

MAX_TRIALS = 64
"""Combinations of input layouts that are tried; a network has one or two inputs in doubt."""

Shape = tuple[int, ...]
Candidates = dict[str, list[Permutation]]
Run = Callable[[Mapping[str, Any]], Mapping[str, Any]]


def identity(rank: int) -> Permutation:
    """Axes as they are."""
    return tuple(range(rank))


def channels_last(rank: int) -> Permutation:
    """NCHW -> NHWC, and the same for other ranks of 3 and more."""
    return (0, *range(2, rank), 1)


def candidates(source: Shape, converted: Shape) -> list[Permutation]:
    """Transpositions that turn one shape into the other, the likeliest first; of those with the same effect, one.

    All permutations are considered only where neither the identity nor
    channels-last fits.
    """
    rank = len(converted)
    if len(source) != rank:
        return []
    usual = dict.fromkeys((identity(rank), *((channels_last(rank),) if rank > 2 else ())))  # noqa: PLR2004
    fitting = [axes for axes in usual if _fits(source, axes, converted)]
    if not fitting:
        fitting = [axes for axes in itertools.permutations(range(rank)) if _fits(source, axes, converted)]
    effects = {tuple(axis for axis in axes if source[axis] != 1): axes for axes in reversed(fitting)}
    return list(reversed(effects.values()))


def choose(
    inputs: Candidates, outputs: Candidates, *, probe: Mapping[str, Any], wanted: Mapping[str, Any], converted: Run
) -> tuple[dict[str, Permutation], dict[str, Permutation]]:
    """The transpositions under which the converted model gives what its source gave for ``probe``.

    ``inputs`` and ``outputs`` hold what fits by shape; ``probe`` and the source's outputs ``wanted`` are in its layout.
    Without a doubt nothing is run. The first candidates win ties, so symmetric data cannot turn a likely layout into
    an unlikely one.
    """
    if all(len(fitting) <= 1 for fitting in (*inputs.values(), *outputs.values())):
        return _first(inputs), _first(outputs)
    best: tuple[float, dict[str, Permutation], dict[str, Permutation]] | None = None
    for chosen in itertools.islice(itertools.product(*inputs.values()), MAX_TRIALS):
        axes = dict(zip(inputs, chosen, strict=True))
        answer = converted({name: probe[name].transpose(axes[name]) for name in probe})
        found, error = {}, 0.0
        for name, fitting in outputs.items():
            errors = {each: _error(wanted[name].transpose(each), answer[name]) for each in fitting}
            if errors:
                found[name] = min(errors, key=errors.__getitem__)
                error = max(error, errors[found[name]])
        if best is None or error < best[0]:
            best = (error, axes, found)
    assert best is not None  # noqa: S101 - every input has a candidate, so one combination was tried
    return best[1], best[2]


def _first(fitting: Candidates) -> dict[str, Permutation]:
    return {name: found[0] for name, found in fitting.items() if found}


def _fits(source: Shape, axes: Permutation, converted: Shape) -> bool:
    return all(source[axis] == size for axis, size in zip(axes, converted, strict=True))


def _error(wanted: Any, found: Any) -> float:
    """Largest difference relative to the signal, coarse enough that rounding does not decide."""
    import numpy as np

    if wanted.shape != found.shape:
        return math.inf
    difference = np.abs(wanted.astype(np.float64) - found).max(initial=0.0)
    scale = np.abs(wanted).max(initial=0.0) or 1.0
    error = float(difference / scale)
    return math.inf if math.isnan(error) else round(error, 3)

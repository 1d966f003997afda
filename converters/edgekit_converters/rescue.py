"""Which layers to compute in a higher precision, in which order: pure, from the errors of the layers.

Rescuing one layer alone brings little: its result is still rounded for the layer that reads it. What is taken away is
the noise of an activation, when what makes it *and* all that read it are rescued, and the noise of a layer's weights,
when the layer is and computes in float (int16x8 keeps int8 weights). So layers are taken in groups, the group with the
most noise a layer first.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from edgekit_converters.layer_errors import MOVERS, LayerError
from edgekit_converters.probes import INPUT
from edgekit_converters.types import LayerPrecision

WORTH = 1e-3
"""A group that takes away less than this share of the noise ends the order."""


@dataclass(frozen=True, kw_only=True)
class RescueStep:
    """One more group."""

    layers: tuple[str, ...]
    """Names as ``Scheme.layers`` takes them, in the order of execution; those of earlier steps are not repeated."""
    share: float
    """Of all own noises, what is gone with this step and all before it, 0..1."""


@dataclass(frozen=True, kw_only=True)
class _Source:
    """A noise and the layers that take it away together."""

    noise: float
    layers: frozenset[str]


def rescue_steps(
    errors: Sequence[LayerError],
    precision: LayerPrecision,
    choices: Mapping[str, Sequence[LayerPrecision]],
    *,
    float_io: bool,
    max_layers: int,
) -> tuple[RescueStep, ...]:
    """Groups of layers, the one that takes away most noise a layer first (greedy, ties by order of execution).

    At most ``max_layers`` in all.

    ``choices``: layer -> what it can be rescued to (``recipes.layer_choices``). ``float_io``: the file's inputs are
    float, so a layer that reads them is rescued from their rounding too.
    """
    sources = [
        source
        for source in _sources(errors, precision, float_io=float_io)
        if all(precision in choices.get(name, ()) for name in source.layers)
    ]
    place = {error.name: number for number, error in enumerate(errors)}
    total = sum(error.own_noise for error in errors)
    steps: list[RescueStep] = []
    chosen: frozenset[str] = frozenset()
    gone = 0.0
    while True:
        groups = {group for source in sources if 0 < len(group := source.layers - chosen) <= max_layers - len(chosen)}
        gains = {group: _taken_away(sources, chosen | group) - gone for group in groups}
        best = max(
            gains, key=lambda group: (gains[group] / len(group), -min(place[name] for name in group)), default=None
        )
        if best is None or gains[best] <= WORTH * total:
            return tuple(steps)
        chosen, gone = chosen | best, gone + gains[best]
        steps.append(RescueStep(layers=tuple(sorted(best, key=place.__getitem__)), share=gone / total))


def _sources(errors: Sequence[LayerError], precision: LayerPrecision, *, float_io: bool) -> Iterator[_Source]:
    for error in errors:
        own = frozenset() if error.op == INPUT else frozenset({error.name})
        if precision == "float32" and error.weight_noise > 0:
            yield _Source(noise=error.weight_noise, layers=own)
        if error.activation_noise > 0 and (error.op != INPUT or float_io):
            readers = {name for output in error.outputs for name in _readers(errors, output)}
            yield _Source(noise=error.activation_noise, layers=own | readers)


def _readers(errors: Sequence[LayerError], tensor: str) -> Iterator[str]:
    """Layers that compute with the tensor, and those that only move it, with what reads it from them."""
    for error in errors:
        if tensor in error.inputs:
            yield error.name
            if error.op in MOVERS:
                for output in error.outputs:
                    yield from _readers(errors, output)


def _taken_away(sources: Sequence[_Source], layers: frozenset[str]) -> float:
    return sum(source.noise for source in sources if source.layers <= layers)

"""Open dimensions of a source model's inputs -> the static shapes it is converted with."""

from collections.abc import Mapping
from dataclasses import dataclass

from edgekit_converters.errors import SourceError
from edgekit_converters.types import Finding

OpenShape = tuple[int | None, ...]
"""A source's own shape, batch first; None is an open dimension."""


@dataclass(frozen=True, kw_only=True)
class InputHint:
    """What is known of an input besides the model: from edgekit.toml, or else from the first calibration sample."""

    shape: tuple[int, ...] | None
    """With the batch; None where nobody said."""
    dtype: str | None
    """numpy name of the source's input; None where nobody said."""
    declared: bool
    """Whether edgekit.toml says so: then a contradiction is an error; a guess from data only fills gaps."""


def static_shapes(
    inputs: Mapping[str, OpenShape], *, batch: int, hints: Mapping[str, InputHint]
) -> tuple[dict[str, tuple[int, ...]], list[Finding]]:
    """Static shape per input name, and what a user should know about them.

    A declared shape (``[input.NAME] shape`` of edgekit.toml) wins over ``batch``; one seen in the data fills what is
    open. Raises SourceError for a dimension that stays open, a shape that contradicts the model, or an unknown input.
    """
    given = {name: hint.shape for name, hint in hints.items() if hint.declared and hint.shape is not None}
    unknown = sorted(set(given) - set(inputs))
    if unknown:
        raise SourceError(
            f"edgekit.toml describes an input {unknown[0]!r} that the model does not have.",
            hint=f"Inputs of the model: {', '.join(inputs)}.",
        )
    shapes = {
        name: _static_shape(name, _filled(shape, hints.get(name)), batch, given.get(name))
        for name, shape in inputs.items()
    }
    findings = [
        Finding(
            name="fixed-batch",
            severity="info",
            message=f"Input {name!r} has a fixed batch of {shape[0]}; the batch {batch} asked for is not used.",
            fix="Save the model with an open batch dimension to choose it here.",
        )
        for name, shape in inputs.items()
        if shape and name not in given and shape[0] not in {None, batch}
    ]
    return shapes, findings


def _filled(shape: OpenShape, hint: InputHint | None) -> OpenShape:
    """Open dimensions behind the batch from what the data has, where it fits the fixed ones."""
    if hint is None or hint.declared or hint.shape is None or len(hint.shape) != len(shape):
        return shape
    seen = (None, *hint.shape[1:])
    if any(own not in {None, other} for own, other in zip(shape[1:], seen[1:], strict=True)):
        return shape
    return tuple(other if own is None else own for own, other in zip(shape, seen, strict=True))


def _static_shape(name: str, shape: OpenShape, batch: int, given: tuple[int, ...] | None) -> tuple[int, ...]:
    if given is not None:
        if len(given) != len(shape) or any(own not in {None, wanted} for own, wanted in zip(shape, given, strict=True)):
            raise SourceError(
                f"Input {name!r} has shape {show(shape)}; edgekit.toml says {show(given)}.",
                hint=f"Set [input.{name}] shape to {len(shape)} numbers, the batch first, that keep the fixed ones.",
            )
        return given
    if not shape:
        return ()
    static = (batch if shape[0] is None else shape[0], *shape[1:])
    for axis, size in enumerate(static):
        if size is None:
            example = ", ".join("?" if item is None else str(item) for item in static)
            raise SourceError(
                f"Dimension {axis} of input {name!r} is open: its shape is {show(shape)}. "
                "A deployed model needs a fixed shape.",
                hint=f"Set it in edgekit.toml: [input.{name}] shape = [{example}], with a number for each `?`.",
            )
    return tuple(size for size in static if size is not None)


def show(shape: OpenShape) -> str:
    """``(1, None, 3)`` -> ``(1, ?, 3)``, as messages spell it."""
    return "(" + ", ".join("?" if size is None else str(size) for size in shape) + ")"

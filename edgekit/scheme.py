"""What a precision means in detail for a target: flags over edgekit.toml over the target's rules. Pure."""

from typing import Literal

from edgekit.errors import ProjectError, TargetError
from edgekit.project import Build
from edgekit.target import IoName, PrecisionName, Target
from edgekit_converters.recipes import IO_DTYPES
from edgekit_converters.types import Scheme


def decide_precision(asked: PrecisionName | Literal["auto"] | None, target: Target) -> PrecisionName | Literal["auto"]:
    """The precision asked for, or the target's default; raises TargetError for one the target does not take."""
    precision = asked or target.quantization.default_precision
    if precision != "auto" and precision not in target.quantization.precisions:
        raise TargetError(
            f"{target.name} takes {', '.join(target.quantization.precisions)}; {precision} was asked for.",
            hint=f"Use --precision {target.quantization.default_precision}.",
        )
    return precision


def decide_scheme(precision: PrecisionName | Literal["auto"], wishes: Build, target: Target) -> Scheme:
    """The scheme of ``precision`` (of int8, where a search starts from, for ``auto``).

    ``wishes`` is edgekit.toml's [build] with the flags laid over it. Raises ProjectError for wishes that contradict
    each other, TargetError for what the target's runtime does not take.
    """
    start: PrecisionName = "int8" if precision == "auto" else precision
    rules = target.quantization
    if wishes.weight_bits == 4 and not rules.int4_weights:  # noqa: PLR2004 - int4
        raise TargetError(
            f"The runtime of {target.name} has no kernels for int4 weights.", hint="Leave weight_bits = 4 away."
        )
    per_channel = _per_channel(wishes, target)
    return Scheme(
        precision=start,
        io=_io(wishes.io, start, target),
        weight_bits=wishes.weight_bits,
        per_channel=per_channel,
        per_channel_fully_connected=per_channel and rules.per_channel_fully_connected,
        symmetric_activations=_symmetric(wishes, target),
    )


def _per_channel(wishes: Build, target: Target) -> bool:
    if wishes.granularity == "per-channel" and not target.quantization.per_channel:
        raise TargetError(
            f"The runtime of {target.name} knows one scale per tensor only; per-channel weights were asked for.",
            hint="Leave the granularity away.",
        )
    return target.quantization.per_channel and wishes.granularity != "per-tensor"


def _symmetric(wishes: Build, target: Target) -> bool:
    if wishes.activations == "affine" and target.quantization.symmetric_activations:
        raise TargetError(
            f"The runtime of {target.name} needs symmetric activations; affine ones were asked for.",
            hint="Leave the activations away.",
        )
    return target.quantization.symmetric_activations or wishes.activations == "symmetric"


def _io(asked: IoName | None, precision: PrecisionName, target: Target) -> IoName:
    possible = IO_DTYPES[precision]
    if asked is not None and asked not in possible:
        raise ProjectError(
            f"{precision} models take and give {' or '.join(possible)}; io {asked} was asked for.",
            hint="Leave --io away, or use --precision int8." if asked != "int16" else "Use --precision int16x8.",
        )
    if possible == ("float32",):
        return "float32"
    taken = target.quantization.io_dtypes
    both = tuple(dtype for dtype in taken if dtype in possible)
    io = asked or (both[0] if both else None)
    if io is None or io not in taken:
        raise TargetError(
            f"{target.name} takes inputs and outputs of {', '.join(taken)}; "
            f"{asked or ' or '.join(possible)} was asked for.",
            hint=f"Use --io {both[0]}." if both else f"Use --precision {target.quantization.default_precision}.",
        )
    return io

"""What a precision means in detail for a target: flags over edgekit.toml over the target's rules. Pure."""

from typing import Literal

from edgekit.errors import ProjectError, TargetError
from edgekit.project import Build
from edgekit.target import IoName, PrecisionName, Target
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
    per_channel = wishes.granularity != "per-tensor"
    return Scheme(
        precision=start,
        io=_io(wishes.io, start, target),
        weight_bits=wishes.weight_bits,
        per_channel=per_channel,
        per_channel_fully_connected=per_channel and rules.per_channel_fully_connected,
        symmetric_activations=wishes.activations == "symmetric",
    )


def _io(asked: IoName | None, precision: PrecisionName, target: Target) -> IoName:
    if precision not in {"int8", "int16x8"}:
        if asked not in {None, "float32"}:
            raise ProjectError(
                f"io {asked} needs an int8 model; a {precision} model takes and gives float32.",
                hint="Leave --io away, or use --precision int8.",
            )
        return "float32"
    io = asked or target.quantization.io_dtypes[0]
    if io not in target.quantization.io_dtypes:
        raise TargetError(
            f"{target.name} takes inputs and outputs of {', '.join(target.quantization.io_dtypes)}; "
            f"{io} was asked for.",
            hint=f"Use --io {target.quantization.io_dtypes[0]}.",
        )
    return io

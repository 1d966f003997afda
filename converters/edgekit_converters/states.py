"""State that a streaming model hands out and takes back: an output of one frame is an input of the next.

The application copies raw bytes from one to the other, so both must have one type, one shape, one scale and one zero
point. A model that keeps its state inside, in variables, cannot be quantized to integers: no pass sees the range of a
variable.
"""

from collections.abc import Mapping
from typing import Any

from edgekit_converters.errors import QuantizationError, SourceError
from edgekit_converters.flatbuffer import builtin_name, read, signature_specs, text
from edgekit_converters.types import FloatModel, Precision, Ranges, TensorSpec

VARIABLES = frozenset({"VAR_HANDLE", "READ_VARIABLE", "ASSIGN_VARIABLE"})
INTEGERS = {"int8": (-128, 127), "uint8": (0, 255), "int16": (-32767, 32767)}
"""Ends of each grid; int16 is symmetric."""


def check_states(model: FloatModel, states: Mapping[str, str]) -> None:
    """Raise SourceError unless each name is an input, its value an output of the same shape and dtype, used once."""
    inputs, outputs = ({spec.name: spec for spec in side} for side in (model.inputs, model.outputs))
    for taken, given in states.items():
        for side, names, name in (("input", inputs, taken), ("output", outputs, given)):
            if name not in names:
                raise SourceError(
                    f"[stream] state of edgekit.toml names an {side} {name!r} that the model does not have.",
                    hint=f"Its {side}s are: {', '.join(names)}.",
                )
        before, after = inputs[taken], outputs[given]
        if (before.shape, before.dtype) != (after.shape, after.dtype):
            raise SourceError(
                f"The state {taken!r} is {before.dtype} {before.shape}, and {given!r}, which becomes it, is "
                f"{after.dtype} {after.shape}.",
                hint="Both must be the same; correct the model, or [stream] state.",
            )
    if len(set(states.values())) < len(states):
        raise SourceError(
            "Two states of [stream] are fed by the same output.", hint="Give each state input an output of its own."
        )
    if set(inputs) == set(states):
        raise SourceError(
            "Every input of the model is a state: nothing is left for the frames.",
            hint="Name under [stream] state only what the model itself hands out.",
        )


def frame_inputs(model: FloatModel) -> tuple[TensorSpec, ...]:
    """The inputs that an application fills: all but the states."""
    return tuple(spec for spec in model.inputs if spec.name not in model.states)


def refuse_variables(model: Any, precision: Precision) -> None:
    """Raise QuantizationError for a parsed model whose state is kept inside."""
    found = sorted(VARIABLES & {builtin_name(code) for code in model.operatorCodes})
    if found:
        raise QuantizationError(
            f"The model keeps its state in variables ({', '.join(found)}), which cannot be brought to {precision}: "
            "no calibration sees their ranges.",
            hint="Make the state explicit (an input and an output of the model, named under [stream] state of "
            "edgekit.toml), or use --precision float16 or float32, which keep the variables.",
        )


def tie_ranges(model: FloatModel, ranges: Ranges) -> Ranges:
    """One range for the two tensors of each state: what covers both."""
    tied = dict(ranges)
    for taken, given in _tensors(model):
        known = [ranges[name] for name in (taken, given) if name in ranges]
        if known:
            tied[taken] = tied[given] = (min(low for low, _ in known), max(high for _, high in known))
    return tied


def follow_outputs(model: FloatModel, ranges: Ranges, quantized: Any, *, symmetric: bool) -> Ranges | None:
    """Ranges in which each state's input has the grid that its output got; None where all are equal already.

    A kernel may dictate its output's grid (TANH: 1/128, 0), whatever its range was. ``symmetric``: scales are those of
    the larger end.
    """
    # Quantization keeps the order of inputs and outputs, not their names.
    inputs, outputs = (
        {own.name: spec for own, spec in zip(before, side, strict=True)}
        for before, side in zip((model.inputs, model.outputs), signature_specs(quantized), strict=True)
    )
    followed = dict(ranges)
    for (taken, given), (tensor, _) in zip(model.states.items(), _tensors(model), strict=True):
        before, after = inputs[taken], outputs[given]
        if after.scale is None or (before.scale, before.zero_point) == (after.scale, after.zero_point):
            continue
        low, high = INTEGERS[after.dtype]
        low = -high if symmetric and low < 0 else low
        point = after.zero_point or 0
        followed[tensor] = ((low - point) * after.scale, (high - point) * after.scale)
    return None if followed == ranges else followed


def _tensors(model: FloatModel) -> list[tuple[str, str]]:
    """The tensors' own names, of input and output of each state: two tensors never share one, a signature's may."""
    if not model.states:
        return []
    parsed = read(model.tflite, what="the float model")
    graph = parsed.subgraphs[0]
    inputs, outputs = (
        {spec.name: text(graph.tensors[int(index)].name) for spec, index in zip(specs, indices, strict=True)}
        for specs, indices in zip(signature_specs(parsed), (graph.inputs, graph.outputs), strict=True)
    )
    return [(inputs[taken], outputs[given]) for taken, given in model.states.items()]

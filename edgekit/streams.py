"""A streaming model, evaluated as it is used: frame after frame, with its own state, its own errors in it."""

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from edgekit.agent.runtime import Model, ModelRefused, dequantize, quantize
from edgekit.errors import ModelError
from edgekit.precision import broken
from edgekit.project import Stream
from edgekit_converters.structure import Structure
from edgekit_converters.types import Finding

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]
    Arrays = Mapping[str, Array]
    Run = Callable[[Arrays], Arrays]


def stream_runner(tflite: bytes, stream: Stream, *, num_threads: int = 1) -> "Run":
    """A .tflite as ``measure`` takes it, whose samples are sequences: (N, T, ...) by input name, without the states.

    Each sequence starts from state 0. The file's own bytes go from state output to state input, as on the device; what
    comes back are the real values (float32) of the other outputs at the last frame, or their mean over all frames.
    Raises ModelError when it does not load or run.
    """
    try:
        model = Model(tflite, num_threads=num_threads)
    except ModelRefused as err:
        raise _refused(err) from err

    def run(inputs: "Arrays") -> "Arrays":
        frames = _frames(model, stream, inputs)
        try:
            return _last(frames) if stream.output == "last" else _mean(frames)
        except ModelRefused as err:
            raise _refused(err) from err

    return run


def check_states(structure: Structure, states: Mapping[str, str]) -> Iterator[Finding]:
    """Can the bytes of each state's output be handed back as they are? Pure."""
    inputs, outputs = ({spec.name: spec for spec in side} for side in (structure.inputs, structure.outputs))
    for taken, given in states.items():
        before, after = (
            (spec.dtype, spec.shape, spec.scale, spec.zero_point) for spec in (inputs[taken], outputs[given])
        )
        if before != after:
            yield broken(
                "state-differs",
                f"The state {taken!r} is {_show(before)}, and {given!r}, which becomes it, is {_show(after)}.",
                "Use --io float32 or --precision float16, and report the model.",
            )


def _frames(model: Model, stream: Stream, inputs: "Arrays") -> "Iterator[Arrays]":
    import numpy as np

    from edgekit_converters.streams import split_frames

    model.reset()
    tensors = {tensor.name: tensor for tensor in model.inputs}
    read = [tensor for tensor in model.outputs if tensor.name not in stream.state.values()]
    states = {name: quantize(np.zeros(tensors[name].shape, np.float32), tensors[name]) for name in stream.state}
    for frame in split_frames(inputs):
        found = model.run({**{name: quantize(array, tensors[name]) for name, array in frame.items()}, **states})
        states = {taken: found[given] for taken, given in stream.state.items()}
        yield {tensor.name: dequantize(found[tensor.name], tensor) for tensor in read}


def _last(frames: "Iterator[Arrays]") -> "Arrays":
    last: Arrays = {}
    for last in frames:  # noqa: B007 - only the last one counts
        pass
    return last


def _mean(frames: "Iterator[Arrays]") -> "Arrays":
    import numpy as np

    sums: dict[str, Any] = {}
    count = 0
    for outputs in frames:
        count += 1
        sums = {name: sums.get(name, 0.0) + values.astype(np.float64) for name, values in outputs.items()}
    return {name: (total / count).astype(np.float32) for name, total in sums.items()}


def _show(described: tuple[Any, ...]) -> str:
    dtype, shape, scale, point = described
    return f"{dtype} {shape}" + ("" if scale is None else f" of scale {scale:g} and zero point {point}")


def _refused(err: ModelRefused) -> ModelError:
    return ModelError(
        f"The model does not run here: {str(err).rstrip('.')}.", hint="`edgekit inspect` shows what is in it."
    )

"""The TFLite runtime as the converters use it: a file is opened without noise, and spoken to in real numbers."""

import warnings
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from edgekit_converters.errors import ConversionError, ConverterError
from edgekit_converters.quiet import without_notes

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

MOST_SAID = 300
"""Characters of what the runtime says about a file that it refuses."""


def open_interpreter(
    tflite: bytes, refused: Callable[[str], ConverterError], *, num_threads: int = 1, keep_tensors: bool = False
) -> Any:
    """An interpreter of the file, with its memory allocated.

    ``keep_tensors``: every tensor keeps its own memory, so that results between ops can be read. Where the runtime does
    not take the file, the error that ``refused`` makes of its reason is raised.
    """
    from ai_edge_litert.interpreter import Interpreter

    try:
        with warnings.catch_warnings(), without_notes():
            # It warns that all tensors are kept, which is what is asked for.
            warnings.filterwarnings("ignore", message=".*experimental_preserve_all_tensors", category=UserWarning)
            interpreter = Interpreter(
                model_content=tflite, experimental_preserve_all_tensors=keep_tensors, num_threads=num_threads
            )
            interpreter.allocate_tensors()
    except (RuntimeError, ValueError) as err:
        raise refused(" ".join(str(err).split())[:MOST_SAID]) from err
    return interpreter


def float_model_refused(why: str) -> ConversionError:
    """For ``open_interpreter``: what a conversion made does not load."""
    return ConversionError(
        f"The float model does not load in the TFLite runtime: {why}",
        hint="This is a defect of the conversion; report the model.",
    )


def signature_of(interpreter: Any) -> Any:
    """The runner of its first signature, which every file of ours has; called with arrays, it returns arrays."""
    return interpreter.get_signature_runner(next(iter(interpreter.get_signature_list())))


def to_steps(values: "Array", details: Mapping[str, Any]) -> "Array":
    """Real values -> the tensor's dtype: round(x / scale) + zero_point, clipped; float tensors are only cast."""
    import numpy as np

    scales, points = _quantization(details)
    if len(scales) != 1 or values.dtype == details["dtype"]:
        return np.ascontiguousarray(values, dtype=details["dtype"])
    limits = np.iinfo(details["dtype"])
    steps: Array = np.clip(np.rint(values.astype(np.float64) / scales[0]) + points[0], limits.min, limits.max)
    return steps.astype(details["dtype"])


def to_real(values: "Array", details: Mapping[str, Any]) -> "Array":
    """The tensor's dtype -> real values, float32."""
    import numpy as np

    scales, points = _quantization(details)
    if len(scales) != 1:
        return np.asarray(values, dtype=np.float32)
    real: Array = ((values.astype(np.float32) - points[0]) * scales[0]).astype(np.float32)
    return real


def _quantization(details: Mapping[str, Any]) -> tuple[Any, Any]:
    parameters = details["quantization_parameters"]
    return parameters["scales"], parameters["zero_points"]

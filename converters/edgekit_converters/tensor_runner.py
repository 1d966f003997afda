"""A .tflite in the runtime, with its tensors read and written in real numbers by name."""

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from edgekit_converters.errors import ConversionError
from edgekit_converters.flatbuffer import read, signature_specs
from edgekit_converters.quiet import without_notes

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]


class TensorRunner:
    """Runs one sample at a time."""

    def __init__(self, tflite: bytes, *, like: bytes) -> None:
        """``like``: the model whose inputs and outputs these begin with, in its signature's names.

        Every tensor keeps its own memory: results can be read, and inputs stay as they were set. Raises
        ConversionError.
        """
        from ai_edge_litert.interpreter import Interpreter

        try:
            with warnings.catch_warnings(), without_notes():
                # It warns that all tensors are kept, which is what is wanted here.
                warnings.filterwarnings("ignore", message=".*experimental_preserve_all_tensors", category=UserWarning)
                self._interpreter = Interpreter(model_content=tflite, experimental_preserve_all_tensors=True)
                self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as err:
            raise ConversionError(
                f"The model cannot be run layer by layer: {str(err).strip()}",
                hint="This is a defect of the conversion; report the model.",
            ) from err
        original_inputs, original_outputs = signature_specs(read(like))
        inputs, outputs = self._interpreter.get_input_details(), self._interpreter.get_output_details()
        self._inputs = {spec.name: inputs[position] for position, spec in enumerate(original_inputs)}
        self._extra = {str(item["name"]): item for item in inputs[len(original_inputs) :]}
        self._outputs = outputs[: len(original_outputs)]
        self._tensors = {str(item["name"]): item for item in self._interpreter.get_tensor_details()}
        for name in self._extra:
            self._clear(name)

    def run(self, sample: "Mapping[str, Array]", extra: "Mapping[str, Array] | None" = None) -> None:
        """One inference on real values by input name; ``extra`` inputs that are not given are 0."""
        self._interpreter.reset_all_variables()
        for name, details in self._inputs.items():
            self._interpreter.set_tensor(details["index"], _to_steps(sample[name], details))
        for name, values in (extra or {}).items():
            self._interpreter.set_tensor(self._extra[name]["index"], values)
        self._interpreter.invoke()
        for name in extra or ():
            self._clear(name)

    def _clear(self, name: str) -> None:
        import numpy as np

        item = self._extra[name]
        self._interpreter.set_tensor(item["index"], np.zeros(item["shape"], item["dtype"]))

    def outputs(self) -> "list[Array]":
        """Real values of the model's own outputs, in its order."""
        return [_to_real(self._interpreter.get_tensor(item["index"]), item) for item in self._outputs]

    def has(self, name: str) -> bool:
        """Whether the tensor can be read."""
        return name in self._tensors

    def value(self, name: str) -> "Array":
        """A copy of a tensor's real values, float32."""
        item = self._tensors[name]
        return _to_real(self._interpreter.get_tensor(item["index"]), item)


def _to_steps(values: "Array", details: Mapping[str, Any]) -> "Array":
    import numpy as np

    scales, points = _quantization(details)
    if len(scales) != 1 or values.dtype == details["dtype"]:
        return np.ascontiguousarray(values, dtype=details["dtype"])
    limits = np.iinfo(details["dtype"])
    steps: Array = np.clip(np.rint(values.astype(np.float64) / scales[0]) + points[0], limits.min, limits.max)
    return steps.astype(details["dtype"])


def _to_real(values: "Array", details: Mapping[str, Any]) -> "Array":
    import numpy as np

    scales, points = _quantization(details)
    if len(scales) != 1:
        return np.asarray(values, dtype=np.float32)
    real: Array = ((values.astype(np.float32) - points[0]) * scales[0]).astype(np.float32)
    return real


def _quantization(details: Mapping[str, Any]) -> tuple[Any, Any]:
    parameters = details["quantization_parameters"]
    return parameters["scales"], parameters["zero_points"]

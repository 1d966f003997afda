"""A .tflite in the runtime, with its tensors read and written in real numbers by name."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from edgekit_converters.errors import ConversionError
from edgekit_converters.flatbuffer import read, signature_specs
from edgekit_converters.runtime import open_interpreter, to_real, to_steps

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
        self._interpreter = open_interpreter(tflite, _refused, keep_tensors=True)
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
            self._interpreter.set_tensor(details["index"], to_steps(sample[name], details))
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
        return [to_real(self._interpreter.get_tensor(item["index"]), item) for item in self._outputs]

    def has(self, name: str) -> bool:
        """Whether the tensor can be read."""
        return name in self._tensors

    def value(self, name: str) -> "Array":
        """A copy of a tensor's real values, float32."""
        item = self._tensors[name]
        return to_real(self._interpreter.get_tensor(item["index"]), item)


def _refused(why: str) -> ConversionError:
    return ConversionError(
        f"The model cannot be run layer by layer: {why}",
        hint="This is a defect of the conversion; report the model.",
    )

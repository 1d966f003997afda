"""Float models for tests that need no framework: real .tflite files, given a signature."""

from pathlib import Path

from edgekit_converters.flatbuffer import add_signature, read, signature_specs, write
from edgekit_converters.types import FloatModel


def float_model(path: Path) -> FloatModel:
    model = read(path.read_bytes())
    inputs, outputs = signature_specs(model)
    add_signature(
        model,
        inputs={f"in{position}": "" for position in range(len(inputs))},
        outputs={f"out{position}": "" for position in range(len(outputs))},
    )
    inputs, outputs = signature_specs(model)
    return FloatModel(tflite=write(model), inputs=inputs, outputs=outputs, source_format="test", route="none", tools={})

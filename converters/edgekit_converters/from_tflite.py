"""A float .tflite as a source: nothing is converted, so no framework and no child process is needed."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from edgekit_converters.errors import SourceError
from edgekit_converters.flatbuffer import add_signature, dtype_name, read, signature_specs, write
from edgekit_converters.shapes import InputHint, OpenShape, static_shapes
from edgekit_converters.sources import ModelSource
from edgekit_converters.types import FloatModel, TensorSpec

ROUTE = "as-it-is"
QUANTIZED = frozenset({"int4", "int8", "uint8", "int16"})


def read_float_model(source: ModelSource, *, batch: int, hints: Mapping[str, InputHint]) -> FloatModel:
    """The file with one signature, ``serving_default``; raises SourceError for one that is quantized already."""
    model = _read(source)
    inputs, outputs = signature_specs(model)
    _, findings = static_shapes({spec.name: spec.shape for spec in inputs}, batch=batch, hints=hints)
    add_signature(
        model,
        inputs={spec.name: "" for spec in inputs},
        outputs={spec.name: "" for spec in outputs},
    )
    return FloatModel(
        tflite=write(model),
        inputs=inputs,
        outputs=outputs,
        source_format=source.format,
        route=ROUTE,
        tools={},
        findings=tuple(findings),
    )


Described = dict[str, tuple[OpenShape, str]]


def describe_float_model(source: ModelSource) -> tuple[Described, Described]:
    """Inputs and outputs: name -> shape and dtype."""
    inputs, outputs = signature_specs(_read(source))
    return _described(inputs), _described(outputs)


def _described(specs: tuple[TensorSpec, ...]) -> Described:
    return {spec.name: (spec.shape, spec.dtype) for spec in specs}


def _read(source: ModelSource) -> Any:
    path = source.directory / source.spec
    model = read(path.read_bytes(), what=str(path))
    counts = Counter(
        dtype_name(tensor.type)
        for graph in model.subgraphs
        for tensor in graph.tensors
        if tensor.quantization is not None and tensor.quantization.scale is not None and len(tensor.quantization.scale)
    )
    found = {name: count for name, count in counts.items() if name in QUANTIZED}
    if found:
        which = ", ".join(f"{count} tensors are {name}" for name, count in found.items())
        raise SourceError(
            f"{path} is quantized already: {which}.",
            hint="Build from the float model it was made from; `edgekit inspect`, `run` and `bench` take it as it is.",
        )
    return model

"""A float .tflite as a source: nothing is converted, so no framework and no child process is needed.

What is asked of it is what every other source becomes: float32, one entry, static shapes, names of its own. A file that
is quantized already is refused, because quantizing twice loses twice; and so is one that holds an op or an entry that
nothing here could keep a promise about.
"""

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgekit_converters.dead_outputs import drop_dead_ops
from edgekit_converters.errors import SourceError
from edgekit_converters.flatbuffer import (
    add_signature,
    damaged,
    read,
    shorten_names,
    signature_specs,
    text,
    write,
)
from edgekit_converters.quantized_kind import quantized_kind
from edgekit_converters.shapes import InputHint, OpenShape, static_shapes
from edgekit_converters.sources import ModelSource
from edgekit_converters.static_batch import make_static
from edgekit_converters.structure import structure_of
from edgekit_converters.types import FloatModel

ROUTE = "as-it-is"
MAX_BYTES = 2**31 - 1
"""Offsets of a flatbuffer are signed 32-bit numbers."""
MAX_ELEMENTS = 2**28
"""Of an input or output: a damaged shape must not make the runtime ask for all memory there is."""
KEPT_METADATA = "min_runtime_version"

Described = dict[str, tuple[OpenShape, str]]


def read_float_model(source: ModelSource, *, batch: int, hints: Mapping[str, InputHint]) -> FloatModel:
    """The file with static shapes and one signature, ``serving_default``.

    Raises SourceError for a file that cannot be read, is quantized already, has several entries, or does not run.
    """
    path, model = _read(source)
    names = _interface(model)
    shapes, findings = static_shapes(
        dict(zip(names[0], _open_shapes(model, model.subgraphs[0].inputs, path), strict=True)), batch=batch, hints=hints
    )
    _set_interface(model, names)
    findings.extend(make_static(model, list(shapes.values()), what=str(path)))
    drop_dead_ops(model)
    inputs, outputs = signature_specs(model)
    return FloatModel(
        tflite=write(model),
        inputs=inputs,
        outputs=outputs,
        source_format=source.format,
        route=ROUTE,
        tools={},
        findings=tuple(findings),
    )


def describe_float_model(source: ModelSource) -> tuple[Described, Described]:
    """Inputs and outputs: name -> shape with open dimensions as None, and dtype; raises SourceError."""
    path, model = _read(source)
    graph = model.subgraphs[0]
    sides = zip(_interface(model), signature_specs(model), (graph.inputs, graph.outputs), strict=True)
    inputs, outputs = (
        {
            name: (shape, spec.dtype)
            for name, spec, shape in zip(names, specs, _open_shapes(model, indices, path), strict=True)
        }
        for names, specs, indices in sides
    )
    return inputs, outputs


def _read(source: ModelSource) -> tuple[Path, Any]:
    path = source.directory / source.spec
    if source.layout is not None:
        raise SourceError(
            f"--layout {source.layout} was asked for, and {path} is a .tflite: its layout is what it is.",
            hint="Leave --layout away; transpose in your preprocessing, or build from the model it was made from.",
        )
    model = read(_bytes(path), what=str(path))
    kind = quantized_kind(structure_of(model, path.stat().st_size, what=str(path)))
    if kind is not None:
        raise SourceError(
            f"{path} is quantized already ({kind}); quantizing it again would lose twice.",
            hint="Build from the float model it was made from; `edgekit inspect`, `run` and `bench` take it as it is.",
        )
    _check_entries(model, path)
    return path, model


def _bytes(path: Path) -> bytes:
    try:
        size = path.stat().st_size
        data = path.read_bytes() if size <= MAX_BYTES else b""
    except OSError as err:
        raise SourceError(
            f"The model {path} cannot be read: {err.strerror}.", hint="Check the path of the model."
        ) from err
    if size > MAX_BYTES:
        raise SourceError(f"{path} has {size:,} bytes: no flatbuffer is that large.", hint="Give a .tflite file.")
    return data


def _check_entries(model: Any, path: Path) -> None:
    """Raise SourceError unless there is one way in, through the first subgraph."""
    signatures = {text(item.signatureKey): int(item.subgraphIndex) for item in model.signatureDefs or ()}
    if len(signatures) > 1 or any(signatures.values()):
        entries = ", ".join(signatures)
        raise SourceError(
            f"{path} has {len(signatures)} entry points ({entries}); edgekit builds a model with one."
            if len(signatures) > 1
            else f"The entry point {entries} of {path} is not its first subgraph.",
            hint="Export it with one: TFLiteConverter.from_saved_model(folder, signature_keys=['serving_default']).",
        )
    graph = model.subgraphs[0]
    for side, indices in (("input", graph.inputs), ("output", graph.outputs)):
        known = [int(index) for index in (() if indices is None else indices)]
        if not known:
            raise SourceError(f"{path} has no {side}.", hint="Export the whole model again.")
        if len(set(known)) < len(known):
            raise SourceError(
                f"Two {side}s of {path} are the same tensor.",
                hint="Export it with each of them once, or made distinct.",
            )


def _open_shapes(model: Any, indices: Sequence[int], path: Path) -> list[OpenShape]:
    """Shapes with None where the file says -1: ``shape`` then holds a stand-in of 1."""
    shapes = []
    for index in indices:
        tensor = model.subgraphs[0].tensors[int(index)]
        own = [int(size) for size in (() if tensor.shape is None else tensor.shape)]
        says = own if tensor.shapeSignature is None else [int(size) for size in tensor.shapeSignature]
        if len(says) != len(own) or any(said not in {size, -1} for said, size in zip(says, own, strict=True)):
            raise damaged(str(path), f"{text(tensor.name)!r} has two shapes, {own} and {says}")
        if math.prod(own) > MAX_ELEMENTS:
            raise damaged(str(path), f"{text(tensor.name)!r} has the shape {own}")
        shapes.append(tuple(None if size < 0 else size for size in says))
    return shapes


def _interface(model: Any) -> tuple[list[str], list[str]]:
    """Names of inputs and outputs: the signature's, else the tensors', without what exporters wrap around them."""
    sides = []
    for side, specs in zip(("input", "output"), signature_specs(model), strict=True):
        names: list[str] = []
        for position, spec in enumerate(specs):
            clean = re.sub(r"^(?:serving_default_)+|:\d+$", "", spec.name).strip()
            base = f"{side}_{position}" if not clean or "PartitionedCall" in clean else clean
            numbered = (f"{base}_{number}" for number in range(1, len(specs) + 1))
            names.append(base if base not in names else next(name for name in numbered if name not in names))
        sides.append(names)
    return sides[0], sides[1]


def _set_interface(model: Any, names: tuple[list[str], list[str]]) -> None:
    """One signature with these names, tensors called after them, and no metadata of whoever made the file."""
    model.signatureDefs = None
    inputs, outputs = (dict.fromkeys(side, "") for side in names)
    add_signature(model, inputs=inputs, outputs=outputs)
    shorten_names(model)
    model.metadata = [entry for entry in model.metadata or () if text(entry.name) == KEPT_METADATA] or None
    model.metadataBuffer = None

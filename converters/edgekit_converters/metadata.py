"""TFLite metadata: labels and normalization inside the file, for Android's code generation and other tools.

Written by hand after tensorflow_lite_support/metadata/metadata_schema.fbs 1.1.0 (tensorflow/tflite-support), because
the package that ships the schema ends at Python 3.10. Field numbers below are its vtable slots.
"""

import io
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgekit_converters.flatbuffer import read, signature_specs, text, write
from edgekit_converters.types import TensorSpec

NAME = "TFLITE_METADATA"
IDENTIFIER = b"M001"
LABELS_FILE = "labels.txt"
PARSER_VERSION = "1.0.0"

_TENSOR_AXIS_LABELS = 2
_FEATURE_PROPERTIES, _IMAGE_PROPERTIES = 1, 2
_NORMALIZATION_OPTIONS = 1
_COLOR_SPACES = {3: 1, 1: 2}
"""Channels -> ColorSpaceType: RGB, GRAYSCALE."""
_IMAGE_RANK = 4
# A fixed time: the same build gives the same bytes.
_EPOCH = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True, kw_only=True)
class Normalization:
    """``(x - mean) / std`` on the application's values, one number or one per channel."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


def embed_metadata(
    tflite: bytes,
    *,
    name: str,
    version: str = "",
    labels: Sequence[str] = (),
    normalization: Mapping[str, Normalization] | None = None,
) -> bytes:
    """The model with metadata inside and, with ``labels``, ``labels.txt`` zipped behind it.

    ``labels`` belong to the first output; ``normalization`` is by input name. Metadata that is there is replaced. The
    same arguments give the same bytes. Raises SourceError for a damaged model.
    """
    from ai_edge_litert import schema_py_generated as schema

    model = read(tflite)
    inputs, outputs = signature_specs(model)
    data = _pack(name, version, inputs, outputs, labels=bool(labels), normalization=normalization or {})
    model.metadata = [entry for entry in model.metadata or () if text(entry.name) != NAME]
    buffer, entry = schema.BufferT(), schema.MetadataT()
    buffer.data = list(data)
    entry.name, entry.buffer = NAME, len(model.buffers)
    model.buffers.append(buffer)
    model.metadata.append(entry)
    written = write(model)
    return written + _labels_zip(labels, len(written)) if labels else written


def read_labels(tflite: bytes) -> tuple[str, ...]:
    """The labels behind a model, empty where there are none."""
    try:
        with zipfile.ZipFile(io.BytesIO(tflite)) as archive:
            return tuple(archive.read(LABELS_FILE).decode().splitlines())
    except (zipfile.BadZipFile, KeyError):
        return ()


def _labels_zip(labels: Sequence[str], offset: int) -> bytes:
    # Offsets in a zip count from the start of the file that holds it, so it is written behind a hole of that size.
    stream = io.BytesIO()
    stream.seek(offset)
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(zipfile.ZipInfo(LABELS_FILE, _EPOCH), "".join(f"{label}\n" for label in labels))
    return stream.getvalue()[offset:]


def _pack(
    name: str,
    version: str,
    inputs: tuple[TensorSpec, ...],
    outputs: tuple[TensorSpec, ...],
    *,
    labels: bool,
    normalization: Mapping[str, Normalization],
) -> bytes:
    import flatbuffers

    builder = flatbuffers.Builder(1024)
    packed_inputs = [_input(builder, spec, normalization.get(spec.name)) for spec in inputs]
    packed_outputs = [
        _tensor(builder, spec, files=[_labels_file(builder)] if labels and position == 0 else [])
        for position, spec in enumerate(outputs)
    ]
    graph = _table(builder, 7, {2: _vector(builder, packed_inputs), 3: _vector(builder, packed_outputs)})
    fields = {
        0: builder.CreateString(name),
        2: builder.CreateString(version) if version else 0,
        3: _vector(builder, [graph]),
        7: builder.CreateString(PARSER_VERSION),
    }
    builder.Finish(_table(builder, 8, fields), file_identifier=IDENTIFIER)
    return bytes(builder.Output())


def _input(builder: Any, spec: TensorSpec, normalization: Normalization | None) -> int:
    units = []
    if normalization is not None:
        options = _table(builder, 2, {0: _floats(builder, normalization.mean), 1: _floats(builder, normalization.std)})
        units.append(_union(builder, _NORMALIZATION_OPTIONS, options))
    channels = spec.shape[-1] if len(spec.shape) == _IMAGE_RANK else None
    if channels in _COLOR_SPACES:
        builder.StartObject(2)
        builder.PrependInt8Slot(0, _COLOR_SPACES[channels], 0)
        return _tensor(builder, spec, content=(_IMAGE_PROPERTIES, builder.EndObject()), units=units)
    return _tensor(builder, spec, units=units)


def _tensor(
    builder: Any,
    spec: TensorSpec,
    *,
    content: tuple[int, int] | None = None,
    units: Sequence[int] = (),
    files: Sequence[int] = (),
) -> int:
    kind, properties = content or (_FEATURE_PROPERTIES, _table(builder, 0, {}))
    fields = {
        0: builder.CreateString(spec.name),
        3: _union(builder, kind, properties),
        4: _vector(builder, units) if units else 0,
        6: _vector(builder, files) if files else 0,
    }
    return _table(builder, 7, fields)


def _labels_file(builder: Any) -> int:
    name = builder.CreateString(LABELS_FILE)
    builder.StartObject(4)
    builder.PrependUOffsetTRelativeSlot(0, name, 0)
    builder.PrependInt8Slot(2, _TENSOR_AXIS_LABELS, 0)
    return int(builder.EndObject())


def _union(builder: Any, kind: int, value: int) -> int:
    """``Content`` and ``ProcessUnit`` begin alike: the union's type, then its value."""
    builder.StartObject(3)
    builder.PrependUint8Slot(0, kind, 0)
    builder.PrependUOffsetTRelativeSlot(1, value, 0)
    return int(builder.EndObject())


def _table(builder: Any, slots: int, fields: Mapping[int, int]) -> int:
    builder.StartObject(slots)
    for slot, offset in fields.items():
        builder.PrependUOffsetTRelativeSlot(slot, offset, 0)
    return int(builder.EndObject())


def _vector(builder: Any, offsets: Sequence[int]) -> int:
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return int(builder.EndVector())


def _floats(builder: Any, values: Sequence[float]) -> int:
    builder.StartVector(4, len(values), 4)
    for value in reversed(values):
        builder.PrependFloat32(value)
    return int(builder.EndVector())

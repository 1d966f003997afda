"""Small real artifacts for tests: a model of the cases folder, golden vectors of this machine's runtime."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from edgekit.agent.runtime import Model, Tensor
from edgekit.artifact import GOLDEN, MODEL, Artifact, write_artifact
from edgekit.documents import write_json
from edgekit.entries import AuditEntry, Golden, Manifest, Quantization, Source, TensorEntry
from edgekit.golden import golden_files
from edgekit_converters.types import Scheme


def make_artifact(folder: Path, model: bytes, **changes: Any) -> Artifact:
    """An artifact of these model bytes; ``changes`` override fields of the manifest (such as ``labels``)."""
    precision = changes.get("precision", "int8")
    return write_artifact(folder, {MODEL: model, **golden_files(model, precision, [], {})}, _manifest(model, **changes))


def with_wrong_golden(artifact: Artifact, folder: Path) -> Artifact:
    """The same artifact, whose first expected output is far from what any runtime computes."""
    files = {path: (artifact.path / path).read_bytes() for path in artifact.manifest.files}
    golden = msgspec.json.decode(files[GOLDEN], type=Golden)
    for path in golden.vectors[0].outputs.values():
        files[path] = bytes(byte ^ 0x55 for byte in files[path])
    return write_artifact(folder, {**files, GOLDEN: write_json(golden)}, artifact.manifest)


def _manifest(model: bytes, **changes: Any) -> Manifest:
    loaded = Model(model)
    fields: Mapping[str, Any] = {
        "schema_version": 1,
        "name": "demo",
        "target": "rpi4",
        "precision": "int8",
        "io": "int8",
        "delegate": "xnnpack",
        "files": {},
        "source": Source(name="m.tflite", format="tflite", sha256="0" * 64, route="as it is"),
        "tools": {"edgekit": "0"},
        "inputs": tuple(map(_entry, loaded.inputs)),
        "outputs": tuple(map(_entry, loaded.outputs)),
        "scheme": Scheme(precision="int8", io="int8"),
        "audit": AuditEntry(ops={}, custom_ops={}, tensor_dtypes={}, weights="none", macs=None, model_bytes=len(model)),
        **changes,
    }
    return Manifest(**fields)


def _entry(tensor: Tensor) -> TensorEntry:
    import numpy as np

    quantized = None
    if tensor.scale is not None and tensor.zero_point is not None:
        quantized = Quantization(scale=tensor.scale, zero_point=tensor.zero_point)
    return TensorEntry(name=tensor.name, shape=tensor.shape, dtype=np.dtype(tensor.dtype).name, quantization=quantized)

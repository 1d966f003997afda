"""An artifact as what the templates of the source package show. Reads the artifact's files, decides nothing else."""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from edgekit.artifact import GOLDEN, Artifact
from edgekit.bundle.mcu.names import comment, float_literal, identifier, string_literal
from edgekit.documents import parse_json
from edgekit.entries import Golden, Manifest, TensorEntry, Tolerance
from edgekit.errors import BundleError, IntegrityError
from edgekit.micro.examine import ETHOS_U
from edgekit.micro.limits import Limit, limits_of
from edgekit.micro.memory import KIB, least_arena
from edgekit.micro.resolver import resolver_methods
from edgekit_converters.structure import Structure, read_structure

C_TYPES = {
    "int8": "int8_t", "uint8": "uint8_t", "int16": "int16_t", "int32": "int32_t", "uint32": "uint32_t",
    "int64": "int64_t", "bool": "bool", "float32": "float",
}  # fmt: skip
TFLITE_TYPES = {
    "int8": "kTfLiteInt8", "uint8": "kTfLiteUInt8", "int16": "kTfLiteInt16", "int32": "kTfLiteInt32",
    "uint32": "kTfLiteUInt32", "int64": "kTfLiteInt64", "bool": "kTfLiteBool", "float32": "kTfLiteFloat32",
}  # fmt: skip
MARGIN = 0.25
"""Over the estimate: a firmware starts with it, asks for the bytes in use, and is built again with less."""


@dataclass(frozen=True, kw_only=True)
class TensorView:
    """An input or output."""

    index: int
    name: str
    """As a C string literal."""
    c_type: str
    tflite_type: str
    shape: tuple[int, ...]
    elements: int
    rows: int
    """Of the first dimension, which ``same_top1`` looks at one by one."""
    data_bytes: int
    scale: str | None
    """As a C literal; None where the tensor is not quantized."""
    zero_point: int | None


@dataclass(frozen=True, kw_only=True)
class ToleranceView:
    """How far an output may be from the golden one; the meaning of ``entries.Tolerance``."""

    max_steps: int
    max_error: str
    same_top1: bool


@dataclass(frozen=True, kw_only=True)
class ArenaView:
    """Bytes of the arena."""

    estimate: int | None
    """None where nobody knows: built without the check in TFLite Micro."""
    default: int | None
    least: int
    """Of the tensors of one operator: no arena can be smaller."""
    source: str
    """Where the estimate comes from."""


@dataclass(frozen=True, kw_only=True)
class VectorView:
    """One golden vector: raw little-endian tensors."""

    inputs: tuple[bytes, ...]
    outputs: tuple[bytes, ...]


@dataclass(frozen=True, kw_only=True)
class PackageView:
    """Everything the templates know."""

    id: str
    """Namespace, file names, targets of CMake."""
    macro: str
    """The same in capitals."""
    name: str
    """Of the model, printable ASCII."""
    version: str
    artifact_sha256: str
    model_sha256: str
    model_file: str
    model: bytes
    target: str
    precision: str
    inputs: tuple[TensorView, ...]
    outputs: tuple[TensorView, ...]
    labels: tuple[str, ...]
    """As C string literals."""
    methods: tuple[str, ...]
    """Of ``MicroMutableOpResolver``."""
    ethos_u: str | None
    """``u55``, ``u65`` or ``u85``; None without an NPU."""
    arena: ArenaView
    vectors: tuple[VectorView, ...]
    tolerances: tuple[ToleranceView, ...]
    """One for each output."""


def view_of(artifact: Artifact, version: str) -> PackageView:
    """What the package says of ``artifact``, released as ``version``.

    Raises BundleError for an artifact that TFLite Micro does not run, IntegrityError for golden vectors of another one.
    """
    manifest = artifact.manifest
    _check_runs_on_micro(manifest)
    structure = read_structure(artifact.model.read_bytes())
    reference = read_structure(artifact.reference.read_bytes())
    golden = parse_json((artifact.path / GOLDEN).read_bytes(), Golden, IntegrityError, where=GOLDEN)
    name = identifier(manifest.name)
    return PackageView(
        id=name,
        macro=name.upper(),
        name=comment(manifest.name),
        version=comment(version),
        artifact_sha256=artifact.digest,
        model_sha256=manifest.files[manifest.model].sha256,
        model_file=comment(manifest.model),
        model=artifact.model.read_bytes(),
        target=comment(manifest.target),
        precision=manifest.precision,
        inputs=tuple(_tensors(manifest.inputs, structure.inputs)),
        outputs=tuple(_tensors(manifest.outputs, structure.outputs)),
        labels=tuple(map(string_literal, manifest.labels or ())),
        methods=_methods(manifest, structure),
        ethos_u=_ethos_u(manifest, structure),
        arena=_arena(manifest, structure),
        vectors=tuple(_vectors(artifact, golden)),
        tolerances=tuple(_tolerance(_golden_tolerance(golden, manifest), limit) for limit in limits_of(reference)),
    )


def _check_runs_on_micro(manifest: Manifest) -> None:
    """TFLite Micro's check of the build leaves its record, or the finding that it was left out."""
    if manifest.micro is None and not any(finding.name == "micro-not-checked" for finding in manifest.findings):
        raise BundleError(
            f"The artifact was built for {manifest.target}, which is no microcontroller: TFLite Micro does not run it.",
            hint="Build it for a target without a system (`edgekit target list`, such as nucleo-f446re), or choose "
            "another --format.",
        )


def _methods(manifest: Manifest, structure: Structure) -> tuple[str, ...]:
    """Those of the file; the manifest says the same, and would be code in ops.h if it were just believed."""
    methods = resolver_methods(structure)
    if manifest.micro is not None and manifest.micro.resolver != methods:
        raise IntegrityError(
            f"The manifest names other operators for TFLite Micro than {manifest.model} has.",
            hint="Build the artifact again.",
        )
    return methods


def _tensors(entries: Sequence[TensorEntry], specs: Sequence[object]) -> Iterator[TensorView]:
    if len(entries) != len(specs):
        raise BundleError(
            f"The model file has {len(specs)} inputs or outputs where the manifest has {len(entries)}.",
            hint="Build the artifact again.",
        )
    for index, entry in enumerate(entries):
        if entry.dtype not in C_TYPES:
            raise BundleError(
                f"{entry.name} is {entry.dtype}, which TFLite Micro has no tensors of.",
                hint="Build it with --precision int8, int16x8 or float32.",
            )
        elements = math.prod(entry.shape)
        yield TensorView(
            index=index,
            name=string_literal(entry.name),
            c_type=C_TYPES[entry.dtype],
            tflite_type=TFLITE_TYPES[entry.dtype],
            shape=entry.shape,
            elements=elements,
            rows=entry.shape[0] if len(entry.shape) > 1 and entry.shape[0] else 1,
            data_bytes=elements * _item_bytes(entry.dtype),
            scale=float_literal(entry.quantization.scale) if entry.quantization else None,
            zero_point=entry.quantization.zero_point if entry.quantization else None,
        )


def _item_bytes(dtype: str) -> int:
    import numpy as np

    return np.dtype(dtype).itemsize


def _ethos_u(manifest: Manifest, structure: Structure) -> str | None:
    """Which NPU the compiled file is for, from Vela's accelerator such as ``ethos-u55-128``."""
    if ETHOS_U not in structure.custom_counts:
        return None
    settings = manifest.compilation.settings if manifest.compilation else {}
    found = re.match(r"ethos-(u55|u65|u85)-", settings.get("accelerator_config", ""))
    if found is None:
        raise BundleError(
            "The model was compiled for an Ethos-U, and its manifest does not say for which.",
            hint="Build it with edgekit for a target with that NPU, such as ethos-u55-128.",
        )
    return found[1]


def _arena(manifest: Manifest, structure: Structure) -> ArenaView:
    estimate, source = _estimate(manifest)
    least = least_arena(structure)
    default = None if estimate is None else max(least, math.ceil(estimate * (1 + MARGIN) / KIB) * KIB)
    return ArenaView(estimate=estimate, default=default, least=least, source=source)


def _estimate(manifest: Manifest) -> tuple[int | None, str]:
    micro = manifest.micro
    sram_kib = manifest.compilation.figures.get("sram_used_kib") if manifest.compilation else None
    structs = micro.arena.persistent_bytes if micro and micro.arena else 0
    if sram_kib is not None:
        return math.ceil(sram_kib * KIB) + structs, "what Vela planned in SRAM, and structs as on the host"
    if micro is not None and micro.arena is not None:
        return micro.arena.bytes, f"tflite-micro {comment(micro.version)} with its reference kernels on a 64-bit host"
    return None, "unknown: it was built without the check in TFLite Micro"


def _vectors(artifact: Artifact, golden: Golden) -> Iterator[VectorView]:
    manifest = artifact.manifest
    for vector in golden.vectors:
        try:
            inputs = tuple(vector.inputs[tensor.name] for tensor in manifest.inputs)
            outputs = tuple(vector.outputs[tensor.name] for tensor in manifest.outputs)
        except KeyError as err:
            raise _golden_differs(f"there is no tensor {err}") from err
        view = VectorView(
            inputs=tuple((artifact.path / path).read_bytes() for path in inputs),
            outputs=tuple((artifact.path / path).read_bytes() for path in outputs),
        )
        for tensor, data in zip((*manifest.inputs, *manifest.outputs), (*view.inputs, *view.outputs), strict=True):
            if len(data) != math.prod(tensor.shape) * _item_bytes(tensor.dtype):
                raise _golden_differs(f"{tensor.name} has {len(data)} bytes")
        yield view


def _golden_differs(why: str) -> IntegrityError:
    return IntegrityError(f"The golden vectors do not fit the model: {why}.", hint="Build the artifact again.")


def _golden_tolerance(golden: Golden, manifest: Manifest) -> Tolerance:
    """Of kernels without a delegate, where the artifact has it."""
    found = golden.tolerance.get(manifest.delegate) or golden.tolerance.get("none") or golden.tolerance.get("default")
    return found or Tolerance(max_steps=0, max_error=0.0)


def _tolerance(golden: Tolerance, limit: Limit) -> ToleranceView:
    """What a right board keeps.

    Golden outputs are XNNPACK's. From there to TFLite's plain kernels it is the artifact's own tolerance, and from
    those to TFLite Micro's what the build allowed (``micro/limits.py``): the sum of both.
    """
    return ToleranceView(
        max_steps=(golden.max_steps or 0) + (limit.max_steps or 0),
        max_error=float_literal((golden.max_error or 0.0) + (limit.max_error or 0.0)),
        same_top1=golden.same_top1 and limit.same_top1,
    )

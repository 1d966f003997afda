"""What manifest.json and golden/golden.json hold."""

from typing import Annotated, Literal

import msgspec

from edgekit.compilers.entries import CompilationEntry
from edgekit.documents import Document
from edgekit.metrics.entries import EvaluationEntry
from edgekit.micro.entries import MicroEntry
from edgekit.project import Classification, Detection, ModelName, Preprocessing, Stream
from edgekit.target import IoName, PrecisionName
from edgekit_converters.types import Calibrator, Fidelity, Scheme

Sha256 = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$(?!\n)")]
RelativePath = Annotated[
    str, msgspec.Meta(pattern=r"^[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*){0,3}$(?!\n)")
]


class FileEntry(Document, frozen=True, kw_only=True):
    """One file of the artifact."""

    sha256: Sha256
    bytes: Annotated[int, msgspec.Meta(ge=0)]


class Quantization(Document, frozen=True, kw_only=True):
    """real = (quantized - zero_point) * scale, as in the TFLite quantization specification."""

    scale: float
    zero_point: int


class TensorEntry(Document, frozen=True, kw_only=True):
    """An input or output of the model."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    quantization: Quantization | None = None
    """None where the tensor is float."""
    range: tuple[float, float] | None = None
    """Declared or calibrated range of the real values; None where it is not known."""
    permutation: tuple[int, ...] | None = None
    """Where conversion changed the layout: this tensor = the source's, transposed by these axes."""
    preprocessing: Preprocessing | None = None
    """What the application's data goes through before it is quantized; None where it is used as it is."""


class DetectionEntry(Detection, frozen=True, kw_only=True, tag_field="kind", tag="detection"):
    """A detector's outputs as boxes in the pixels of the application's image."""


Postprocessing = Classification | DetectionEntry
"""What ``edgekit/agent/postprocess.py`` makes of the outputs, on this machine and on the device."""


class Source(Document, frozen=True, kw_only=True):
    """The model it was made from."""

    name: str
    """File or folder name, without its path."""
    format: str
    sha256: Sha256
    route: str
    """How it was converted."""


class FindingEntry(Document, frozen=True, kw_only=True):
    """Something a user should know about this artifact."""

    name: str
    severity: Literal["info", "warning", "error"]
    message: str
    fix: str


class CalibratorEntry(Document, frozen=True, kw_only=True):
    """One range estimator that was tried."""

    calibrator: Calibrator
    mean_db: float
    """Signal to quantization noise of the outputs, mean over the samples."""


class CalibrationEntry(Document, frozen=True, kw_only=True):
    """The representative dataset the ranges come from."""

    sha256: Sha256
    """Over the samples as the model saw them, in order."""
    samples: int
    calibrator: Calibrator | None
    """How the ranges were estimated; None where the precision needs none."""
    trials: tuple[CalibratorEntry, ...] = ()
    """Every estimator that was measured, for ``--calibrator auto``."""


class TrialEntry(Document, frozen=True, kw_only=True):
    """One file that ``--precision auto`` measured on the samples that choose."""

    candidate: str
    drop: float | None
    """None where it could not be made."""
    refuted: bool
    """Beyond the budget on the samples that confirm."""
    keeps: bool
    """Within the budget, with a margin."""
    bytes: int | None
    failure: str | None


class SearchEntry(Document, frozen=True, kw_only=True):
    """How ``--precision auto`` found the file."""

    candidate: str
    confirmed: bool
    """The evaluation is on samples that had no part in the choice."""
    looks: int
    """Times those samples were looked at."""
    trials: tuple[TrialEntry, ...]


class AuditEntry(Document, frozen=True, kw_only=True):
    """What was found in the reference."""

    ops: dict[str, int]
    """Builtin operator -> count."""
    custom_ops: dict[str, int]
    tensor_dtypes: dict[str, int]
    """dtype -> number of tensors."""
    weights: Literal["per-channel", "per-tensor", "mixed", "none"]
    """Granularity of the quantized weights."""
    macs: int | None
    """Multiply-accumulates of one inference; None where an op's count is not known."""
    model_bytes: int


class Manifest(Document, frozen=True, kw_only=True):
    """``manifest.json``."""

    schema_version: Literal[1]
    name: ModelName
    target: str
    precision: PrecisionName
    io: IoName
    delegate: str
    """Delegate the model was made for: ``xnnpack``, ``none`` or an external library."""
    delegate_options: dict[str, str] = msgspec.field(default_factory=dict)
    """What an external library is loaded with."""
    files: dict[RelativePath, FileEntry]
    """Every other file of the folder."""
    source: Source
    tools: dict[str, str]
    """Package -> version of everything that shaped the bytes."""
    inputs: tuple[TensorEntry, ...]
    outputs: tuple[TensorEntry, ...]
    labels: tuple[str, ...] | None = None
    postprocessing: Postprocessing | None = None
    """What an application makes of the outputs; None: nothing, or the labels of a single output."""
    stream: Stream | None = None
    """How an application runs it frame after frame; None where samples are independent."""
    scheme: Scheme
    """How it is quantized, layer by layer where layers differ."""
    fidelity: Fidelity | None = None
    """The float model against its source; None where nothing was converted."""
    search: SearchEntry | None = None
    """None where the precision was given."""
    calibration: CalibrationEntry | None = None
    """None where no data was needed."""
    model: RelativePath = "model.tflite"
    """The file that runs on the target."""
    reference: RelativePath = "model.tflite"
    """The quantized model that any TFLite runtime runs: what golden outputs and accuracy come from. Another file than
    ``model`` where a compiler made that one from it."""
    compilation: CompilationEntry | None = None
    """None where nothing was compiled."""
    micro: MicroEntry | None = None
    """On TFLite Micro; None for other runtimes."""
    audit: AuditEntry
    evaluation: EvaluationEntry | None = None
    """None: accuracy was not measured."""
    findings: tuple[FindingEntry, ...] = ()


class Tolerance(Document, frozen=True, kw_only=True):
    """How far a device may be from the golden outputs."""

    max_steps: Annotated[int, msgspec.Meta(ge=0)] | None = None
    """Quantized outputs: largest difference in steps of the output's scale."""
    max_error: Annotated[float, msgspec.Meta(ge=0)] | None = None
    """Float outputs: largest difference relative to the largest absolute expected value of the output."""
    same_top1: bool = False
    """The largest element must be the same, where the expected one leads by more than the tolerance."""


class Vector(Document, frozen=True, kw_only=True):
    """One golden vector: raw little-endian tensors, in the model's own dtype, C order."""

    inputs: dict[str, RelativePath]
    outputs: dict[str, RelativePath]


class Golden(Document, frozen=True, kw_only=True):
    """``golden/golden.json``."""

    schema_version: Literal[1]
    kind: Literal["calibration", "random"]
    """Real samples, or seeded random ones in the declared range because there were none."""
    seed: int | None
    vectors: tuple[Vector, ...]
    tolerance: dict[str, Tolerance]
    """Delegate (or ``default``) -> tolerance."""

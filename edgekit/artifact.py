"""The artifact: a folder with model.tflite, manifest.json and golden/, named by the digest of its manifest.

The manifest holds the sha256 of every other file, so the sha256 of manifest.json is the digest of the whole.
Nothing in it depends on when, where or by whom it was made: two builds of the same inputs are byte-identical.
"""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal

import msgspec

from edgekit.documents import Document, parse_json, read_bounded, write_json
from edgekit.errors import ArtifactError, IntegrityError
from edgekit.metrics.entries import EvaluationEntry
from edgekit.project import ModelName, Preprocessing, Stream
from edgekit.target import IoName, PrecisionName
from edgekit_converters.types import Calibrator, Fidelity, Scheme

MANIFEST = "manifest.json"
MODEL = "model.tflite"
GOLDEN = "golden/golden.json"
MAX_FILES = 1000
Sha256 = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$")]
RelativePath = Annotated[
    str, msgspec.Meta(pattern=r"^[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*){0,3}$")
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
    """An input or output of model.tflite."""

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
    """What was found in model.tflite."""

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
    files: dict[RelativePath, FileEntry]
    """Every other file of the folder."""
    source: Source
    tools: dict[str, str]
    """Package -> version of everything that shaped the bytes."""
    inputs: tuple[TensorEntry, ...]
    outputs: tuple[TensorEntry, ...]
    labels: tuple[str, ...] | None = None
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


class Artifact(Document, frozen=True, kw_only=True):
    """A verified artifact on this machine."""

    path: Path
    digest: Sha256
    manifest: Manifest

    @property
    def model(self) -> Path:
        """The file that runs."""
        return self.path / MODEL

    @property
    def files(self) -> dict[str, FileEntry]:
        """Every file of the folder with the manifest itself."""
        size = (self.path / MANIFEST).stat().st_size
        return {**self.manifest.files, MANIFEST: FileEntry(sha256=self.digest, bytes=size)}


def is_artifact(path: Path) -> bool:
    """Whether ``path`` looks like an artifact's folder."""
    return (path / MANIFEST).is_file()


def read_artifact(path: Path) -> Artifact:
    """Read and verify a folder.

    Raises:
        ArtifactError: no artifact, or a manifest of another schema.
        IntegrityError: a file is missing, added or changed (exit code 8).
    """
    if not path.exists():
        raise ArtifactError(f"{path} does not exist.", hint="Build it first: edgekit build --target NAME.")
    if not is_artifact(path):
        raise ArtifactError(
            f"{path} holds no {MANIFEST}: it is no artifact.", hint="Give a folder that `edgekit build` made."
        )
    if (path / MANIFEST).is_symlink():
        raise IntegrityError(f"{path / MANIFEST} is a link.", hint="Build the artifact again.")
    data = read_bounded(path / MANIFEST, ArtifactError)
    manifest = parse_json(data, Manifest, IntegrityError, where=str(path / MANIFEST))
    _verify_files(path, manifest)
    return Artifact(path=path, digest=hashlib.sha256(data).hexdigest(), manifest=manifest)


def _verify_files(path: Path, manifest: Manifest) -> None:
    if len(manifest.files) > MAX_FILES or MODEL not in manifest.files or GOLDEN not in manifest.files:
        raise IntegrityError(
            f"{path / MANIFEST} lists {len(manifest.files)} files, and must list {MODEL} and {GOLDEN}.",
            hint="Build the artifact again.",
        )
    present = {
        PurePosixPath(file.relative_to(path)).as_posix()
        for file in path.rglob("*")
        if file.is_symlink() or not file.is_dir()
    }
    for name in sorted(present - set(manifest.files) - {MANIFEST}):
        raise IntegrityError(f"{path / name} is not in the manifest.", hint="Remove it, or build the artifact again.")
    for name, entry in sorted(manifest.files.items()):
        file = path / name
        if file.is_symlink() or not file.is_file():
            raise IntegrityError(f"{file} is missing or a link.", hint="Build the artifact again.")
        if file.stat().st_size != entry.bytes or sha256_file(file) != entry.sha256:
            raise IntegrityError(
                f"{file} no longer matches the manifest: it was changed after the build.",
                hint="Build the artifact again; do not edit its files.",
            )


def write_artifact(path: Path, files: Mapping[str, bytes], manifest: Manifest) -> Artifact:
    """Write a folder whole or not at all; an artifact that stood there is replaced by one rename.

    ``manifest.files`` is filled in here. Raises ArtifactError when the place holds something else or cannot be
    written.
    """
    if path.exists() and not is_artifact(path) and (not path.is_dir() or any(path.iterdir())):
        raise ArtifactError(
            f"{path} exists and is no artifact; it is left as it is.",
            hint="Choose another --output, or remove it.",
        )
    entries = {
        name: FileEntry(sha256=hashlib.sha256(data).hexdigest(), bytes=len(data)) for name, data in files.items()
    }
    manifest = msgspec.structs.replace(manifest, files=dict(sorted(entries.items())))
    document = write_json(manifest)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    except OSError as err:
        raise _cannot_write(path, err) from err
    try:
        for name, data in {**files, MANIFEST: document}.items():
            (staging / name).parent.mkdir(parents=True, exist_ok=True)
            (staging / name).write_bytes(data)
        staging.chmod(0o755)
        _swap(staging, path)
    except OSError as err:
        raise _cannot_write(path, err) from err
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return read_artifact(path)


def _swap(staging: Path, path: Path) -> None:
    """Put ``staging`` in the place of ``path``; what stood there is gone only when the new one is in place."""
    if not path.exists():
        staging.rename(path)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{path.name}.old.", dir=path.parent))
    try:
        os.rename(path, old / "artifact")  # noqa: PTH104 - mirrors the line below
        staging.rename(path)
    finally:  # after a signal, too
        if (old / "artifact").exists() and not path.exists():
            (old / "artifact").rename(path)
        shutil.rmtree(old, ignore_errors=True)


def _cannot_write(path: Path, err: OSError) -> ArtifactError:
    return ArtifactError(
        f"{path} cannot be written: {err.strerror or err}.",
        hint="Free some space, or choose another --output.",
    )


def sha256_file(path: Path) -> str:
    """sha256 of a file's bytes, read in pieces."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sha256_source(path: Path) -> str:
    """sha256 of a model file, or of a folder's relative paths and contents in sorted order."""
    if path.is_file():
        return sha256_file(path)
    total = hashlib.sha256()
    for file in sorted(item for item in path.rglob("*") if item.is_file()):
        total.update(f"{file.relative_to(path).as_posix()}\0{sha256_file(file)}\n".encode())
    return total.hexdigest()


def sha256_files(paths: Sequence[Path]) -> str:
    """sha256 over the names and contents of some files, in the order given."""
    total = hashlib.sha256()
    for path in paths:
        total.update(f"{path.name}\0{sha256_file(path)}\n".encode())
    return total.hexdigest()

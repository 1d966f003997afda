"""What to measure and how: options and a model -> the agent's request and the files it may ask for."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import msgspec

from edgekit.artifact import GOLDEN, Artifact, read_artifact
from edgekit.device import Device, choose_delegate
from edgekit.digests import sha256_file
from edgekit.documents import Document, read_json
from edgekit.entries import FileEntry, Golden, Sha256
from edgekit.errors import ArtifactError, ModelError

Positive = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
MAX_CPUS = 1024
COOLDOWN_TIMEOUT_S = 900.0
"""What is not cool after this long has no cooling, or something else to do."""
XNNPACK = "xnnpack"
IDENTIFIER = slice(4, 8)
"""Where a flatbuffer says what it is; ``TFL3`` for TFLite (lite/schema/schema.fbs: file_identifier)."""


class BenchOptions(Document, frozen=True, kw_only=True):
    """How to measure; the names are benchmark_model's where it has the same thing."""

    num_runs: Positive = 50
    """Timed inferences in each process, at least."""
    warmup_runs: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)] = 10
    """Inferences before them in each process, at least; 0 leaves the warm-up out."""
    min_secs: Annotated[float, msgspec.Meta(ge=0, le=3600)] = 1.0
    """Timed seconds in each process, at least."""
    num_threads: tuple[Positive, ...] = (1,)
    """Thread counts, each measured in processes of its own, in turns."""
    processes: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 5
    """Fresh processes for each thread count: the unit of resampling."""
    delegate: str | None = None
    """``xnnpack``, ``none`` or a library's path on the device; None: the device's, else the artifact's."""
    delegate_options: dict[str, str] = msgspec.field(default_factory=dict)
    """Handed to the delegate library when it is loaded, over the device's and the artifact's."""
    cpus: tuple[int, ...] | None = None
    """CPUs the processes are bound to; None: the scheduler's choice."""
    governor: str | None = None
    """CPU governor for the time of the run; None leaves it alone."""
    cooldown_c: Annotated[float, msgspec.Meta(ge=-50, le=150)] | None = None
    """Before the run the device cools down to this, degrees Celsius; None: it is not waited for."""


class Subject(Document, frozen=True, kw_only=True):
    """The model that is measured."""

    name: str
    model: Path
    entry: FileEntry
    """Digest and size of the model file."""
    inputs: dict[str, tuple[Path, FileEntry]]
    """Input name -> the first golden vector's tensor; empty: the agent draws seeded random values."""
    artifact_digest: Sha256 | None
    """None for a bare .tflite."""
    delegate: str
    """The one it was made for."""
    delegate_options: dict[str, str] = msgspec.field(default_factory=dict)


def read_subject(model: Artifact | Path) -> Subject:
    """An artifact (verified), its folder, or a bare .tflite.

    Raises:
        ArtifactError, IntegrityError: a folder that is no artifact, or one that was changed (exit code 8).
        ModelError: no file, or no TFLite flatbuffer.
    """
    if isinstance(model, Artifact):
        return _from_artifact(model)
    if model.is_dir():
        return _from_artifact(read_artifact(model))
    if model.exists() and not model.is_file():  # a pipe or a device may never end
        raise ModelError(f"{model} is no file.", hint="Give an artifact's folder or a .tflite.")
    try:
        with model.open("rb") as stream:
            head = stream.read(IDENTIFIER.stop)
        entry = FileEntry(sha256=sha256_file(model), bytes=model.stat().st_size)
    except OSError as err:
        raise ModelError(f"{model} cannot be read: {err.strerror}.", hint="Check the path.") from err
    if head[IDENTIFIER] != b"TFL3":
        raise ModelError(
            f"{model} is no TFLite model: it does not carry the identifier TFL3.",
            hint="Give an artifact's folder or a .tflite; `edgekit build` makes both from other formats.",
        )
    return Subject(name=model.stem, model=model, entry=entry, inputs={}, artifact_digest=None, delegate=XNNPACK)


def read_reference(model: Artifact | Path) -> Subject:
    """The model as every TFLite runtime can run it: a compiled artifact's reference, else the model itself.

    Raises as ``read_subject``.
    """
    artifact = read_artifact(model) if isinstance(model, Path) and model.is_dir() else model
    return _from_artifact(artifact, artifact.reference) if isinstance(artifact, Artifact) else read_subject(artifact)


def _from_artifact(artifact: Artifact, model: Path | None = None) -> Subject:
    model = model or artifact.model
    files = artifact.manifest.files
    golden = read_json(artifact.path / GOLDEN, Golden, ArtifactError)
    names = golden.vectors[0].inputs if golden.vectors else {}
    return Subject(
        name=artifact.manifest.name,
        model=model,
        entry=files[model.relative_to(artifact.path).as_posix()],
        inputs={name: (artifact.path / file, _golden_entry(files, file)) for name, file in names.items()},
        artifact_digest=artifact.digest,
        delegate=artifact.manifest.delegate,
        delegate_options=artifact.manifest.delegate_options,
    )


def _golden_entry(files: Mapping[str, FileEntry], name: str) -> FileEntry:
    if name not in files:
        raise ArtifactError(f"{GOLDEN} names {name}, which the manifest does not.", hint="Build it again.")
    return files[name]


class Configuration(Document, frozen=True, kw_only=True):
    """One thing to measure, in fresh processes of its own."""

    subject: Subject
    delegate: str
    delegate_options: dict[str, str] = msgspec.field(default_factory=dict)
    num_threads: Positive


def configurations(subject: Subject, options: BenchOptions, device: Device) -> tuple[Configuration, ...]:
    """One for each thread count; the delegate is the option's, else the device's, else the model's own."""
    delegate, chosen = choose_delegate(
        device.table,
        own=subject.delegate,
        own_options=subject.delegate_options,
        asked=options.delegate,
        asked_options=options.delegate_options,
    )
    return tuple(
        Configuration(subject=subject, delegate=delegate, delegate_options=chosen, num_threads=threads)
        for threads in options.num_threads
    )


def request(
    asked: Sequence[Configuration], options: BenchOptions, *, root: str, keep_going: bool = False
) -> dict[str, Any]:
    """What ``edgekit.agent.bench`` takes; ``num_threads`` and ``delegate`` are the configurations' own."""
    entries = [entry for item in asked for entry in _entries(item.subject)]
    return {
        "root": root,
        "files": [{"sha256": digest, "bytes": size} for digest, size in _unique(entries).items()],
        "configurations": [
            {
                "model": item.subject.entry.sha256,
                "inputs": {name: entry.sha256 for name, (_, entry) in item.subject.inputs.items()},
                "delegate": item.delegate,
                "delegate_options": item.delegate_options,
                "num_threads": item.num_threads,
            }
            for item in asked
        ],
        "keep_going": keep_going,
        "processes": options.processes,
        "num_runs": options.num_runs,
        "warmup_runs": options.warmup_runs,
        "min_secs": options.min_secs,
        "cpus": None if options.cpus is None else list(options.cpus),
        "governor": options.governor,
        "cooldown": None
        if options.cooldown_c is None
        else {"temperature_c": options.cooldown_c, "timeout_s": COOLDOWN_TIMEOUT_S},
    }


def _entries(subject: Subject) -> list[FileEntry]:
    return [subject.entry, *(entry for _, entry in subject.inputs.values())]


def _unique(entries: list[FileEntry]) -> dict[str, int]:
    return {entry.sha256: entry.bytes for entry in entries}


def payload(asked: Sequence[Configuration]) -> dict[str, Path]:
    """sha256 -> the file here that has it."""
    subjects = [item.subject for item in asked]
    inputs = {entry.sha256: path for subject in subjects for path, entry in subject.inputs.values()}
    return {**{subject.entry.sha256: subject.model for subject in subjects}, **inputs}


def parse_threads(text: str) -> tuple[int, ...]:
    """``1,2,4`` -> (1, 2, 4); raises ValueError."""
    counts = tuple(int(part) for part in text.split(",")) if re.fullmatch(r"\d{1,4}(,\d{1,4})*", text) else ()
    if not counts or min(counts) < 1 or len(set(counts)) != len(counts):
        raise ValueError(f"{text!r} is no list of different thread counts such as 1,2,4")
    return counts


def parse_cpu_mask(text: str) -> tuple[int, ...]:
    """A mask as taskset takes it, hexadecimal with or without 0x: ``f0`` -> (4, 5, 6, 7); raises ValueError."""
    if not re.fullmatch(r"(0x)?[0-9a-fA-F]+", text) or not 0 < int(text, 16) < 1 << MAX_CPUS:
        raise ValueError(f"{text!r} is no hexadecimal CPU mask such as f0 (CPUs 4 to 7)")
    mask = int(text, 16)
    return tuple(cpu for cpu in range(MAX_CPUS) if mask >> cpu & 1)

"""The whole way of a sample: preprocessing, inference and postprocessing, timed apart on the device."""

import hashlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec

from edgekit.artifact import Artifact, read_artifact
from edgekit.bench.latency import Latency, summarize_latency
from edgekit.bench.plan import BenchOptions, configurations, payload, read_subject, request
from edgekit.bench.samples import Duration, Measurement, ProcessSamples
from edgekit.bench.statistics import median
from edgekit.bench.turns import OnProgress, machine_findings, take_turns
from edgekit.bench.whole_way_sample import ApplicationSample, application_sample
from edgekit.documents import Document
from edgekit.entries import FindingEntry, Manifest
from edgekit.transport import Connection
from edgekit.transport.agent import prepare_agent

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]


MUCH = 0.5
"""Share of the whole from which a stage beside inference is worth a word."""
FASTER = {
    "preprocess": "Have the camera give the model's size, or an image scaler of the board; then leave `resize` out.",
    "postprocess": "Raise score_threshold or lower max_detections under [postprocessing], or have the graph do it.",
}

StageName = Literal["preprocess", "inference", "postprocess", "whole"]
Durations = Annotated[tuple[Duration, ...], msgspec.Meta(min_length=1)]


class Stage(Document, frozen=True, kw_only=True):
    """One part of the way."""

    name: StageName
    latency_ms: Latency
    share: float
    """Of the whole, by the medians."""


class StagesReport(Document, frozen=True, kw_only=True):
    """The way of one sample."""

    sample: str
    """What was given, such as ``photo.jpg (480, 640, 3) uint8``, or how it was drawn."""
    stages: tuple[Stage, ...]
    """In order; ``whole`` last, timed as one."""
    num_threads: int = 1
    processes: int = 1
    """Fresh processes."""


class StagesSamples(ProcessSamples, frozen=True, kw_only=True):
    """What one fresh process measured; ``samples_ns`` is of the whole way."""

    preprocess_ns: Durations
    inference_ns: Durations
    postprocess_ns: Durations

    @property
    def stages(self) -> Mapping[StageName, tuple[int, ...]]:
        """Name -> durations in ns, in order."""
        return {
            "preprocess": self.preprocess_ns,
            "inference": self.inference_ns,
            "postprocess": self.postprocess_ns,
            "whole": self.samples_ns,
        }


def measure_stages(
    model: Artifact | Path,
    connection: Connection,
    options: BenchOptions,
    *,
    sample: Path | None = None,
    on_progress: OnProgress = lambda _done, _total: None,
) -> tuple[StagesReport, tuple[FindingEntry, ...]]:
    """Time the way of ``sample`` (an image, .npy or .npz as the application has it) through a model on a device.

    Without a sample seeded random data of the application's shape is used. The first of ``options.num_threads`` counts.

    Raises:
        ModelError, ArtifactError, IntegrityError: the model is none, or was changed after the build.
        DataError: the sample cannot be read, or is needed: the shape before ``resize`` is the application's.
        DeviceFaultError: what ``bench`` raises, and a sample or postprocessing that does not fit the model.
        TransportError: connection lost.
    """
    artifact, given = read_way(model, sample)
    manifest = artifact.manifest if isinstance(artifact, Artifact) else None
    measurement = _measure(artifact, connection, options, given, _facts(manifest), on_progress)
    processes = [item for item in measurement.processes if isinstance(item, StagesSamples)]
    report = summarize_stages(processes, given.text)
    return report, (*machine_findings(measurement), *_own_findings(manifest), *_shares(report))


def read_way(model: Artifact | Path, sample: Path | None) -> tuple[Artifact | Path, ApplicationSample]:
    """The model and what goes in; raises ModelError, ArtifactError, IntegrityError and DataError as measuring does."""
    artifact = read_artifact(model) if isinstance(model, Path) and model.is_dir() else model
    return artifact, application_sample(artifact, sample)


def summarize_stages(processes: Sequence[StagesSamples], sample: str) -> StagesReport:
    """The latency of each stage, over fresh processes, and its share of the whole. Pure."""
    names = tuple(processes[0].stages)
    found = {name: summarize_latency([process.stages[name] for process in processes]) for name in names}
    shares = {
        name: median([median(item.stages[name]) / max(1, median(item.samples_ns)) for item in processes])
        for name in names
    }
    return StagesReport(
        sample=sample,
        stages=tuple(Stage(name=name, latency_ms=found[name], share=shares[name]) for name in names),
        num_threads=processes[0].num_threads,
        processes=len(processes),
    )


def _measure(
    model: Artifact | Path,
    connection: Connection,
    options: BenchOptions,
    sample: ApplicationSample,
    facts: dict[str, Any],
    on_progress: OnProgress,
) -> Measurement:
    subject = msgspec.structs.replace(read_subject(model), inputs={})
    asked = configurations(subject, options, connection.device)[:1]
    agent = prepare_agent(connection)
    message = request(asked, options, root=agent.root)
    contents = {name: _raw(array) for name, array in sample.arrays.items()}
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in contents.items()}
    message["files"] += [{"sha256": digests[name], "bytes": len(contents[name])} for name in _unique(digests)]
    (entry,) = message["configurations"]
    entry["inputs"] = digests
    entry["arrays"] = {
        name: {"shape": list(array.shape), "dtype": array.dtype.name} for name, array in sample.arrays.items()
    }
    entry["manifest"] = facts
    with tempfile.TemporaryDirectory() as folder:
        files = payload(asked)
        for name, data in contents.items():
            files[digests[name]] = Path(folder) / digests[name]
            files[digests[name]].write_bytes(data)
        return take_turns(agent, "stages", message, files, StagesSamples, on_progress)


def _raw(array: "Array") -> bytes:
    """C order, little-endian."""
    return array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()


def _unique(digests: Mapping[str, str]) -> list[str]:
    """A name for each content."""
    return list({digest: name for name, digest in digests.items()}.values())


def _facts(manifest: Manifest | None) -> dict[str, Any]:
    """What of a manifest the agent's pipeline reads."""
    if manifest is None:
        return {}
    inputs = [{"name": item.name, "preprocessing": msgspec.to_builtins(item.preprocessing)} for item in manifest.inputs]
    return {
        "inputs": inputs,
        "labels": None if manifest.labels is None else list(manifest.labels),
        "postprocessing": msgspec.to_builtins(manifest.postprocessing),
    }


def _shares(report: StagesReport) -> Iterator[FindingEntry]:
    """Where the time goes, when it is not into the model."""
    for stage in report.stages:
        if stage.name in {"preprocess", "postprocess"} and stage.share >= MUCH:
            yield FindingEntry(
                name=f"{stage.name}-share",
                severity="info",
                message=f"{stage.name} takes {100 * stage.share:.0f} % of the whole way: a faster model alone gains "
                "little.",
                fix=FASTER[stage.name],
            )


def _own_findings(manifest: Manifest | None) -> Iterator[FindingEntry]:
    if manifest is None:
        yield FindingEntry(
            name="stages-of-a-file",
            severity="info",
            message="A .tflite declares no preprocessing or postprocessing: quantizing its inputs and dequantizing its "
            "outputs are what is timed before and after inference.",
            fix="Measure the artifact that `edgekit build` makes.",
        )
    elif manifest.postprocessing is None and manifest.labels is None:
        yield FindingEntry(
            name="no-postprocessing",
            severity="info",
            message="The artifact declares no postprocessing: after inference its outputs are dequantized, no more.",
            fix="Declare it under [postprocessing] or [detection] in edgekit.toml, and build again.",
        )

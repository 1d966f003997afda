"""Held-out samples of a finished file: what it is evaluated on, with the preprocessing that its artifact keeps."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgekit.agent.runtime import Model
from edgekit.artifact import Artifact
from edgekit.metrics import metric_of
from edgekit.metrics.protocol import Metric
from edgekit.project import Project
from edgekit_converters.types import Finding, TensorSpec

if TYPE_CHECKING:
    from edgekit_converters.calibration import Dataset


@dataclass(frozen=True, kw_only=True)
class Data:
    """Held-out samples and how they are judged."""

    spec: str
    """A path relative to ``base``, or ``package.module:function``."""
    metric: Metric
    base: Path = Path()
    limit: int | None = None
    """Use at most this many samples; None is all."""


def held_out(project: Project, spec: str | None, metric: str | None) -> Data | None:
    """What the command line says, else [evaluation] of edgekit.toml; None where neither names data.

    Raises ProjectError for an unknown metric.
    """
    table = project.evaluation
    chosen = spec or (table.data if table else None)
    if chosen is None:
        return None
    return Data(
        spec=chosen,
        metric=metric_of(metric or (table.metric if table else "top1"), detection=project.detection),
        limit=table.samples if table and spec is None else None,
    )


def open_held_out(data: Data, model: Artifact | Path, here: Model) -> "Dataset":
    """The samples as real values in the file's own shapes; raises the converters' DataError."""
    from msgspec import to_builtins

    from edgekit.agent.preprocess import apply
    from edgekit_converters.calibration import open_dataset

    entries = model.manifest.inputs if isinstance(model, Artifact) else ()
    steps = {entry.name: to_builtins(entry.preprocessing) for entry in entries if entry.preprocessing}
    # The manifest's preprocessing ends in the file's own layout; data without any is in the source's.
    permutations = {entry.name: entry.permutation for entry in entries if entry.preprocessing is None}
    specs = tuple(
        TensorSpec(
            name=tensor.name,
            shape=tensor.shape,
            dtype="float32" if tensor.scale is not None else tensor.dtype.name,
            permutation=permutations.get(tensor.name),
        )
        for tensor in here.inputs
    )
    return open_dataset(
        data.spec,
        specs,
        transform=lambda name, array: apply(steps[name], array) if name in steps else array,
        limit=data.limit,
        base=data.base,
        targets=data.metric.targets,
    )


def declared_ranges(model: Artifact | Path) -> dict[str, tuple[float, float]]:
    """Input name -> range after preprocessing, where the artifact knows it."""
    entries = model.manifest.inputs if isinstance(model, Artifact) else ()
    return {entry.name: entry.range for entry in entries if entry.range is not None}


def calibrated_on(model: Artifact | Path, sha256: str) -> tuple[Finding, ...]:
    """A finding where the samples, by their sha256, are those of the file's own calibration."""
    calibration = model.manifest.calibration if isinstance(model, Artifact) else None
    if calibration is None or calibration.sha256 != sha256:
        return ()
    return (
        Finding(
            name="evaluated-on-calibration",
            severity="warning",
            message="These are the samples that the file was calibrated on: it has seen them.",
            fix="Evaluate on held-out samples.",
        ),
    )

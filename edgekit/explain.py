"""Where the precision of an artifact goes: its file against the float model it was made from, layer by layer."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekit.artifact import GOLDEN, Artifact, of_reference, read_artifact
from edgekit.build import source_digest
from edgekit.documents import parse_json
from edgekit.entries import Golden, Manifest, TensorEntry
from edgekit.errors import ArtifactError, IntegrityError, ProjectError, foreign_errors
from edgekit.plan import BuildOptions, BuildPlan, plan
from edgekit.progress import Progress
from edgekit.project import load_project
from edgekit.reuse import convert_or_reuse
from edgekit.samples import inferences, open_data
from edgekit.target import load_target
from edgekit_converters.layer_names import short_name
from edgekit_converters.types import Finding, FloatModel

if TYPE_CHECKING:
    import numpy as np

    from edgekit.cache import Cache
    from edgekit_converters.layer_errors import LayerError

    Array = np.ndarray[Any, Any]

MOST = 0.8
"""Share of the noise that the layers named in ``advice`` bring together."""
NAMED = 3


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """What was measured."""

    artifact: Artifact
    errors: "tuple[LayerError, ...]"
    samples: int
    advice: str
    """What to do, in a sentence or two."""
    findings: tuple[Finding, ...]


def explain(
    path: Path, *, source: str | None, calibration: str | None, cache: "Cache | None", progress: Progress
) -> Explanation:
    """Measure every layer of an artifact.

    The float model is converted again (or taken from the cache) from ``source``, by default the model of edgekit.toml,
    which must be the one that the artifact was made from. Inputs come from ``calibration``, by default the artifact's
    golden vectors.

    Raises:
        ArtifactError, IntegrityError: no artifact, a changed one, or one of another source.
        ProjectError: there is no source.
        ModelError, DataError: the source cannot be converted, or the data does not fit.
    """
    from edgekit_converters.layer_errors import layer_errors

    artifact = read_artifact(path)
    planned = _plan(artifact.manifest, source, calibration)
    float_model, _ = convert_or_reuse(planned, cache, progress)
    if source_digest(planned, float_model) != artifact.manifest.source.sha256:
        raise ArtifactError(
            f"{path} was made from another model than {planned.source.spec}: their digests differ.",
            hint="Give the model it was made from with --source, or build it again.",
        )
    samples, findings = _samples(planned, artifact, float_model, from_data=calibration is not None)
    done = 0

    def on_sample(count: int) -> None:
        nonlocal done
        done = count
        progress("measure the layers", count)

    with foreign_errors():
        file = artifact.reference.read_bytes()
        errors = layer_errors(_reference(float_model, file).tflite, file, samples, on_sample=on_sample)
    return Explanation(
        artifact=artifact,
        errors=errors,
        samples=done,
        advice=advice(errors),
        findings=(*findings, *of_reference(artifact)),
    )


def advice(errors: "Iterable[LayerError]") -> str:
    """What the table says, and what to do about it."""
    ranked = sorted((error for error in errors if error.own_noise > 0), key=lambda error: -error.share)
    if not ranked:
        return "No layer rounds anything: the file computes what the float model does."
    count, together = 0, 0.0
    while together < MOST and count < len(ranked):
        together += ranked[count].share
        count += 1
    first = ranked[0]
    what = "rounding its weights" if first.weight_noise > first.activation_noise else "rounding or clipping its result"
    names = ", ".join(short_name(error.name) for error in ranked[: min(count, NAMED)])
    names += f" and {count - NAMED} more" if count > NAMED else ""
    said = (
        f"{count} of {len(ranked)} layers bring {together:.0%} of the noise: {names}. The first, {first.share:.0%}, by "
        f"{what}. "
    )
    if count > len(ranked) / 2:
        return said + (
            "The noise is spread: rescuing a few layers would save little. Try --calibrator auto, then float16."
        )
    if first.weight_noise > first.activation_noise:
        return (
            said + "`edgekit build --precision auto --max-drop 1pt` keeps such layers in float where a budget needs it."
        )
    return said + (
        "A wider type helps only where the layers that read the result have it too; "
        "`edgekit build --precision auto --max-drop 1pt` finds the fewest that keep the budget."
    )


def _plan(manifest: Manifest, source: str | None, calibration: str | None) -> BuildPlan:
    """A plan whose conversion gives the float model; what it says of quantization is not used."""
    project = load_project()
    if source is None and project.model is None:
        raise ProjectError(
            "An artifact does not hold the float model it was made from, and layers are compared with that.",
            hint="Give it: `edgekit explain ARTIFACT --source MODEL`, or run it beside the edgekit.toml of the model.",
        )
    known = calibration or (project.calibration.data if project.calibration else None)
    options = BuildOptions(
        model=source,
        precision=manifest.precision,
        calibration=known or GOLDEN,  # int8 is not planned without; taken out again below
    )
    planned = plan(project, load_target(manifest.target), options)
    return planned if known else replace(planned, calibration=None)


def _samples(
    planned: BuildPlan, artifact: Artifact, float_model: FloatModel, *, from_data: bool
) -> "tuple[Iterable[Mapping[str, Array]], tuple[Finding, ...]]":
    if from_data:
        dataset = open_data(planned, planned.calibration, float_model)
        return inferences(planned, float_model, dataset.samples()), ()
    golden = parse_json((artifact.path / GOLDEN).read_bytes(), Golden, IntegrityError, where=GOLDEN)
    if golden.kind == "calibration":
        return _golden_samples(artifact, golden), ()
    finding = Finding(
        name="explain-random",
        severity="warning",
        message="The golden vectors of this artifact are random; real inputs may put the noise elsewhere.",
        fix="Give --calibration DATA.",
    )
    return _golden_samples(artifact, golden), (finding,)


def _golden_samples(artifact: Artifact, golden: Golden) -> "Iterator[dict[str, Array]]":
    """Inputs of the golden vectors as real values."""
    entries = {entry.name: entry for entry in artifact.manifest.inputs}
    for vector in golden.vectors:
        sample = {}
        for name, file in vector.inputs.items():
            sample[name] = _real(artifact, file, entries[name])
        yield sample


def _real(artifact: Artifact, file: str, entry: TensorEntry) -> "Array":
    import numpy as np

    raw = np.frombuffer((artifact.path / file).read_bytes(), np.dtype(entry.dtype).newbyteorder("<"))
    values: Array = raw.reshape(entry.shape)
    steps = entry.quantization
    return (
        values if steps is None else ((values.astype(np.float32) - steps.zero_point) * steps.scale).astype(np.float32)
    )


def _reference(float_model: FloatModel, file: bytes) -> FloatModel:
    """The float model the file was quantized from: equalized, if that is what its weights are like."""
    from edgekit_converters.equalize import equalize
    from edgekit_converters.quantized_tensors import read_quantized, weight_errors

    equalized, _ = equalize(float_model)
    stored = read_quantized(file)
    plain, scaled = (weight_errors(model.tflite, stored) for model in (float_model, equalized))
    return equalized if sum(scaled.values()) > sum(plain.values()) else float_model

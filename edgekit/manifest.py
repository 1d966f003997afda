"""What a build knows, as the manifest says it. Pure."""

import math
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import msgspec

from edgekit.artifact import MODEL, REFERENCE
from edgekit.audit import Audit
from edgekit.compilers.types import Compiled
from edgekit.entries import (
    AuditEntry,
    CalibrationEntry,
    CalibratorEntry,
    DetectionEntry,
    FindingEntry,
    Manifest,
    Quantization,
    SearchEntry,
    Source,
    TensorEntry,
    TrialEntry,
)
from edgekit.evaluate import Evaluation
from edgekit.metrics.entries import ChangedEntry, ClassEntry, EvaluationEntry, HeadEntry
from edgekit.plan import BuildPlan
from edgekit.project import Preprocessing
from edgekit.search_result import SearchResult
from edgekit_converters.structure import Structure
from edgekit_converters.types import Calibrator, Finding, FloatModel, QuantizedModel, Scheme, TensorSpec

if TYPE_CHECKING:
    from edgekit_converters.calibrators import CalibratorTrial

WORST_CLASSES = 10
TO_NHWC = (0, 2, 3, 1)

RUNTIMES = ("ai-edge-litert", "numpy")
"""What shapes the bytes beside the tools that the converters name."""


def make_manifest(
    plan: BuildPlan,
    *,
    source_sha256: str,
    float_model: FloatModel,
    quantized: QuantizedModel,
    audit: Audit,
    labels: tuple[str, ...] | None,
    ranges: Mapping[str, tuple[float, float] | None],
    scheme: Scheme,
    calibration: CalibrationEntry | None,
    evaluation: EvaluationEntry | None,
    search: SearchEntry | None,
    compiled: Compiled | None,
    findings: tuple[Finding, ...],
) -> Manifest:
    """The manifest without its files, which ``write_artifact`` adds."""
    return Manifest(
        schema_version=1,
        name=plan.name,
        target=plan.target.name,
        precision=quantized.precision,
        io=scheme.io,
        delegate=plan.target.delegate,
        delegate_options=plan.target.delegate_options,
        files={},
        source=Source(
            name=PurePosixPath(plan.source.spec).name,
            format=float_model.source_format,
            sha256=source_sha256,
            route=float_model.route,
        ),
        tools=_tools(float_model, quantized),
        inputs=tuple(
            _tensor(plan, spec, ranges, own.permutation)
            for spec, own in zip(quantized.inputs, float_model.inputs, strict=True)
        ),
        outputs=tuple(
            _tensor(plan, spec, {}, own.permutation)
            for spec, own in zip(quantized.outputs, float_model.outputs, strict=True)
        ),
        labels=labels,
        postprocessing=plan.postprocessing,
        stream=plan.stream,
        scheme=scheme,
        fidelity=float_model.fidelity,
        search=search,
        calibration=calibration,
        model=compiled.name if compiled else MODEL,
        reference=REFERENCE if compiled else MODEL,
        compilation=compiled.entry if compiled else None,
        audit=audit_entry(audit.structure),
        evaluation=evaluation,
        findings=tuple(finding_entry(finding) for finding in findings),
    )


def input_ranges(
    plan: BuildPlan, float_model: FloatModel, spans: Mapping[str, tuple[float, float]]
) -> dict[str, tuple[float, float] | None]:
    """Input name -> the declared range, else the one the calibration data has, else None."""
    found = {}
    for spec in float_model.inputs:
        declared = plan.inputs[spec.name].range if spec.name in plan.inputs else None
        found[spec.name] = declared or spans.get(spec.name)
    return found


def build_findings(
    plan: BuildPlan, quantized: QuantizedModel, labels: tuple[str, ...] | None, *, has_samples: bool
) -> Iterator[Finding]:
    """What the build itself has to say."""
    if not has_samples:
        yield Finding(
            name="golden-random",
            severity="info",
            message="Without calibration data the golden vectors are seeded random inputs.",
            fix="Give --calibration DATA; real samples test a device where it matters.",
        )
    if plan.not_compiled_for is not None:
        yield Finding(
            name="not-compiled",
            severity="warning",
            message=f"{plan.not_compiled_for} does not run this file: it was not compiled (--no-compile), and is for "
            f"{plan.target.delegate if plan.target.accelerators else 'the CPU'} alone.",
            fix="Build without the flag on a machine that has the compiler.",
        )
    if plan.evaluation is None:
        yield Finding(
            name="accuracy-not-measured",
            severity="info",
            message="Nobody knows what this file loses against its source.",
            fix="Give --evaluate DATA with held-out labelled samples, and a budget with --max-drop.",
        )
    if plan.detection is not None and plan.postprocessing is None:
        yield Finding(
            name="postprocessing-left-out",
            severity="info",
            message=f"The artifact has no postprocessing: [detection] reads one image, the model takes {plan.batch}.",
            fix="Set [model] batch = 1 for an application that gives images one by one.",
        )
    sizes = {spec.shape[-1] for spec in quantized.outputs if spec.shape}
    fits = labels is None or len(labels) in sizes or isinstance(plan.postprocessing, DetectionEntry)
    if labels is not None and not fits:
        yield Finding(
            name="labels-do-not-fit",
            severity="warning",
            message=f"There are {len(labels)} labels; the outputs have {', '.join(map(str, sorted(sizes)))} elements.",
            fix="Give one label a line in the order of the output.",
        )


def calibration_entry(
    sha256: str, samples: int, calibrator: Calibrator | None, trials: "Sequence[CalibratorTrial]" = ()
) -> CalibrationEntry:
    """A calibration as the manifest says it."""
    return CalibrationEntry(
        sha256=sha256,
        samples=samples,
        calibrator=calibrator,
        trials=tuple(CalibratorEntry(calibrator=trial.calibrator, mean_db=trial.mean_db) for trial in trials),
    )


def search_entry(result: SearchResult) -> SearchEntry:
    """A search as the manifest says it; without latencies, which no second run repeats."""
    return SearchEntry(
        candidate=result.candidate.label,
        confirmed=result.confirmed,
        looks=result.looks,
        trials=tuple(
            TrialEntry(
                candidate=trial.candidate.label,
                drop=trial.drop,
                keeps=trial.keeps,
                refuted=trial.refuted,
                bytes=trial.size_bytes,
                failure=trial.failure,
            )
            for trial in result.trials
        ),
    )


def evaluation_entry(evaluation: Evaluation, sha256: str, max_drop: str | None) -> EvaluationEntry:
    """An evaluation as the manifest says it: where samples lie on this machine is left out."""
    return EvaluationEntry(
        metric=evaluation.metric,
        samples=evaluation.samples,
        sha256=sha256,
        source=evaluation.source,
        model=evaluation.model,
        drop=evaluation.drop,
        drop_interval=evaluation.drop_interval if all(map(math.isfinite, evaluation.drop_interval)) else None,
        level=evaluation.level,
        max_drop=max_drop,
        method=evaluation.method,
        resamples=evaluation.resamples,
        p_value=evaluation.p_value,
        is_fraction=evaluation.is_fraction,
        note=evaluation.note,
        per_class=tuple(
            ClassEntry(**vars(change)) for change in evaluation.per_class[:WORST_CLASSES] if change.drop > 0
        ),
        changed=tuple(
            ChangedEntry(**{name: value for name, value in vars(change).items() if name != "where"})
            for change in evaluation.changed
        ),
        heads=tuple(HeadEntry(**vars(head)) for head in evaluation.heads),
        agreement=dict(evaluation.agreement),
    )


def audit_entry(structure: Structure) -> AuditEntry:
    """A structure as the manifest says it."""
    return AuditEntry(
        ops=structure.builtin_counts,
        custom_ops=structure.custom_counts,
        tensor_dtypes=structure.dtype_counts,
        weights=structure.weight_granularity,
        macs=structure.macs,
        model_bytes=structure.size_bytes,
    )


def finding_entry(finding: Finding) -> FindingEntry:
    """A finding as the manifest says it."""
    return FindingEntry(name=finding.name, severity=finding.severity, message=finding.message, fix=finding.fix)


def _tensor(
    plan: BuildPlan,
    spec: TensorSpec,
    ranges: Mapping[str, tuple[float, float] | None],
    permutation: tuple[int, ...] | None,
) -> TensorEntry:
    table = plan.inputs.get(spec.name)
    quantization = None
    if spec.scale is not None and spec.zero_point is not None:
        quantization = Quantization(scale=spec.scale, zero_point=spec.zero_point)
    return TensorEntry(
        name=spec.name,
        shape=spec.shape,
        dtype=spec.dtype,
        quantization=quantization,
        range=ranges.get(spec.name),
        permutation=permutation,
        preprocessing=_for_the_file(table.preprocessing, permutation) if table and table.preprocessing else None,
    )


def _for_the_file(preprocessing: Preprocessing, permutation: tuple[int, ...] | None) -> Preprocessing:
    """What the application does: an image that was made NCHW for the source and NHWC by its converter stays NHWC."""
    if permutation is None:
        return preprocessing
    return msgspec.structs.replace(preprocessing, layout="nhwc" if permutation == TO_NHWC else "nchw")


def _tools(float_model: FloatModel, quantized: QuantizedModel) -> dict[str, str]:
    ours = {name: metadata.version(name) for name in ("edgekit", *RUNTIMES)}
    return dict(sorted({**ours, **float_model.tools, **quantized.tools}.items()))

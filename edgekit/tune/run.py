"""``tune``: accuracy of every file, then all of them measured in turns on the device, then the decision."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from msgspec import to_builtins
from msgspec.structs import replace

from edgekit.artifact import Artifact
from edgekit.bench.findings import NOISE_TOLERANCE, find, is_emulated
from edgekit.bench.latency import NS_PER_MS, group_processes, summarize_processes
from edgekit.bench.plan import BenchOptions, Configuration, Subject, configurations, read_subject
from edgekit.bench.run import measure
from edgekit.bench.samples import MachineFacts, Measurement, RuntimeFacts
from edgekit.bench.statistics import median
from edgekit.device_evaluation import FileEvaluation, evaluate_file
from edgekit.documents import Document
from edgekit.entries import FindingEntry
from edgekit.errors import AccuracyError, DeviceFaultError, MeasurementInvalidError, ProjectError
from edgekit.evaluate import Evaluation, check_budget, describe_drop
from edgekit.held_out import Data
from edgekit.progress import Progress, silent
from edgekit.transport import Connection
from edgekit.tune.decision import Candidate, Recommendation, Setup, frontier, label_of, recommend

REFERENCE = "float32"
"""The precision that the others are held against."""


@dataclass(frozen=True, kw_only=True)
class File:
    """A file to choose from."""

    name: str
    precision: str | None
    model: Artifact | Path

    @property
    def path(self) -> Path:
        """The .tflite itself."""
        return self.model.model if isinstance(self.model, Artifact) else self.model


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What accuracy is measured on, and how much of it may be lost."""

    data: Data
    max_drop: str | None = None
    source: bytes | None = None
    """A float .tflite; None: the float32 file among those to choose from."""
    on_device: bool = False
    """Run the samples on the device too: its own runtime and delegate decide."""


class FailedSetup(Document, frozen=True, kw_only=True):
    """What does not run on the device."""

    label: str
    message: str


class TuneReport(Document, frozen=True, kw_only=True):
    """Everything that was measured, and what follows."""

    device: str
    machine: MachineFacts
    runtime: RuntimeFacts
    options: BenchOptions
    metric: str | None
    """None: accuracy was not measured."""
    samples: int | None
    max_drop: str | None
    setups: tuple[Setup, ...]
    """Fastest first."""
    frontier: tuple[int, ...]
    """Positions in ``setups`` of those that no other beats in accuracy, latency and size."""
    recommendation: Recommendation | None
    """None: no file keeps the budget."""
    failed: tuple[FailedSetup, ...]
    findings: tuple[FindingEntry, ...]


def tune(
    files: Sequence[File],
    connection: Connection,
    options: BenchOptions,
    *,
    delegates: Sequence[str] = (),
    budget: Budget | None = None,
    findings: Sequence[FindingEntry] = (),
    progress: Progress = silent,
) -> TuneReport:
    """Measure every file x ``options.num_threads`` x delegate on a device, interleaved, and recommend one.

    ``delegates``: empty for the device's, else each file's own. ``findings``: what is known before. Check the report
    with ``require_sound``.

    Raises:
        ProjectError: a budget, and neither a source nor a float32 file to hold the others against.
        DeviceFaultError: nothing of it runs on the device.
        DataError, ModelError, TransportError: as ``evaluate_file`` and ``bench`` do.
    """
    evaluated = {} if budget is None else _evaluate(files, budget, connection, progress)
    candidates = [_candidate(file, evaluated.get(file.name), budget) for file in files]
    subjects = [(candidate, read_subject(file.model)) for candidate, file in zip(candidates, files, strict=True)]
    asked = _configurations(subjects, connection, options, delegates)
    labels = [label_of(candidate.name, item.num_threads, item.delegate) for candidate, item in asked]
    found = measure(
        [item for _, item in asked],
        connection,
        options,
        keep_going=True,
        on_progress=lambda done, total: progress("measure", done, total),
    )
    setups = sorted(_setups(asked, found), key=lambda item: item.latency_ms.median)
    failed = tuple(FailedSetup(label=labels[item.configuration], message=item.message) for item in found.failed)
    if not setups:
        raise DeviceFaultError(
            f"Nothing of this runs on {connection.device.name}; {failed[0].label}: {failed[0].message}",
            hint=found.failed[0].hint,
        )
    first = next(iter(evaluated.values()), None)
    return TuneReport(
        device=connection.device.name,
        machine=found.machine,
        runtime=found.processes[0].runtime,
        options=options,
        metric=None if first is None else first.metric,
        samples=None if first is None else first.samples,
        max_drop=None if budget is None else budget.max_drop,
        setups=tuple(setups),
        frontier=tuple(setups.index(item) for item in frontier(setups)),
        recommendation=recommend(setups, emulated=is_emulated(found)),
        failed=failed,
        findings=(*findings, *_accuracy_findings(evaluated), *_device_findings(found)),
    )


def require_sound(report: TuneReport, *, allow_invalid: bool = False) -> None:
    """Raise AccuracyError (exit 3) where no file keeps the budget, MeasurementInvalidError (6) for bad latencies."""
    if report.recommendation is None:
        lost = {item.candidate.name: item.candidate.lost for item in report.setups if item.candidate.lost is not None}
        drops = ", ".join(f"{name} loses {drop}" for name, drop in sorted(lost.items()))
        raise AccuracyError(
            f"No file keeps the budget of {report.max_drop}: {drops}.",
            hint="Try `edgekit build --precision auto`, other precisions, or a larger --max-drop.",
            details={"report": to_builtins(report)},
        )
    errors = [finding for finding in report.findings if finding.severity == "error"]
    if errors and not allow_invalid:
        raise MeasurementInvalidError(
            "The measurement is invalid: " + " ".join(finding.message for finding in errors),
            hint=f"{errors[0].fix} --allow-invalid accepts the numbers as they are.",
            details={"report": to_builtins(report)},
        )


def _evaluate(
    files: Sequence[File], budget: Budget, connection: Connection, progress: Progress
) -> dict[str, FileEvaluation]:
    source = budget.source or next((file.path.read_bytes() for file in files if file.precision == REFERENCE), None)
    if source is None and budget.max_drop is not None:
        raise ProjectError(
            f"A budget of {budget.max_drop} was asked for, and no float32 file to hold the others against.",
            hint="Add the float32 file, or --precision float32.",
        )
    found = {}
    for file in files:
        found[file.name] = evaluate_file(
            file.model,
            budget.data,
            source=source,
            connection=connection if budget.on_device else None,
            on_sample=partial(progress, f"evaluate {file.name}"),
        )
    return found


def _candidate(file: File, found: FileEvaluation | None, budget: Budget | None) -> Candidate:
    size = file.path.stat().st_size
    if found is None or budget is None:
        return Candidate(name=file.name, precision=file.precision, size_bytes=size)
    judged = found.judged
    return Candidate(
        name=file.name,
        precision=file.precision,
        size_bytes=size,
        metric=found.value if judged is None else judged.model,
        drop=None if judged is None else judged.drop,
        lost=None if judged is None else describe_drop(judged, judged.drop),
        higher_is_better=budget.data.metric.higher_is_better,
        keeps_budget=_keeps(judged, budget.max_drop),
    )


def _keeps(judged: Evaluation | None, max_drop: str | None) -> bool | None:
    if judged is None or max_drop is None:
        return None
    try:
        check_budget(judged, max_drop)
    except AccuracyError:
        return False
    return True


def _configurations(
    subjects: Sequence[tuple[Candidate, Subject]],
    connection: Connection,
    options: BenchOptions,
    delegates: Sequence[str],
) -> list[tuple[Candidate, Configuration]]:
    asked = [replace(options, delegate=delegate) for delegate in delegates] or [options]
    return [
        (candidate, configuration)
        for candidate, subject in subjects
        for item in asked
        for configuration in configurations(subject, item, connection.device)
    ]


def _setups(asked: Sequence[tuple[Candidate, Configuration]], found: Measurement) -> list[Setup]:
    """Those of which every process ended well."""
    failed = {item.configuration for item in found.failed}
    setups = []
    for place, group in enumerate(group_processes(found, len(asked))):
        if place in failed:
            continue
        candidate, item = asked[place]
        numbers = summarize_processes(group)
        setups.append(
            Setup(
                candidate=candidate,
                delegate=item.delegate,
                num_threads=item.num_threads,
                latency_ms=numbers.latency_ms,
                peak_rss_bytes=numbers.peak_rss_bytes,
                rounds_ms=tuple(median(process.samples_ns) / NS_PER_MS for process in group),
            )
        )
    return setups


def _accuracy_findings(evaluated: dict[str, FileEvaluation]) -> list[FindingEntry]:
    """Of the data, which is the same for every file: each finding once."""
    found = {
        (finding.name, finding.message): FindingEntry(
            name=finding.name, severity=finding.severity, message=finding.message, fix=finding.fix
        )
        for file in evaluated.values()
        for finding in file.findings
    }
    return list(found.values())


def _device_findings(found: Measurement) -> list[FindingEntry]:
    """What ``bench`` would say, the noise of all setups in one; tails are not shown here."""
    findings = find(found)
    noisy = [finding for finding in findings if finding.name == "noise"]
    others = [finding for finding in findings if finding.name not in {"noise", "few-runs"}]
    if not noisy:
        return others
    message = f"The processes of {len(noisy)} setups differ by more than {100 * (NOISE_TOLERANCE - 1):.0f} %."
    return [*others, FindingEntry(name="noise", severity="warning", message=message, fix=noisy[0].fix)]

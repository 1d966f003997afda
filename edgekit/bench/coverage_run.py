"""Measure a delegate: which ops it takes, the time without it beside the time with it, and what was predicted."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from msgspec.structs import replace

from edgekit.artifact import Artifact
from edgekit.bench.coverage import (
    NONE,
    UNKNOWN,
    XNNPACK,
    CoverageReport,
    Fallback,
    Seen,
    TimeShare,
    is_external,
    read_coverage,
    read_model,
    summarize_coverage,
)
from edgekit.bench.coverage_findings import compare_prediction, coverage_findings
from edgekit.bench.plan import BenchOptions, Configuration, configurations, read_reference, read_subject
from edgekit.bench.versus.compare import MAX_SECS, measure_rounds, summarize_rounds
from edgekit.bench.versus.comparison import ComparisonReport
from edgekit.delegate_pairs import explain_crash
from edgekit.entries import FindingEntry
from edgekit.errors import DeviceFaultError, TargetError
from edgekit.target import Target, load_target
from edgekit.transport import Connection

OnSeconds = Callable[[float, float], None]


@dataclass(frozen=True, kw_only=True)
class Start:
    """What is measured, once it is known what the device can do."""

    model: Artifact | Path
    options: BenchOptions
    asked: Configuration
    seen: Seen
    fallback: Fallback | None


def start_coverage(
    model: Artifact | Path, connection: Connection, options: BenchOptions, *, allow_fallback: bool = False
) -> Start:
    """Load the delegate on the device, in a process of its own, and ask which ops it takes.

    ``allow_fallback``: where it cannot be used, XNNPACK runs the model instead (the reference of a compiled one).

    Raises:
        DeviceFaultError: the delegate cannot be used.
        ModelError, ArtifactError, IntegrityError: the model is none, or was changed after the build.
        TransportError: connection lost.
    """
    asked = configurations(read_subject(model), options, connection.device)[0]
    try:
        return Start(model=model, options=options, asked=asked, seen=read_coverage(asked, connection), fallback=None)
    except DeviceFaultError as err:
        told = explain_crash(err, asked.delegate) if is_external(asked.delegate) else err
        if not (allow_fallback and is_external(asked.delegate) and _is_delegate_fault(err)):
            raise told from err.__cause__
        instead = read_reference(model).model if is_compiled(model) else model
        plain: BenchOptions = replace(options, delegate=XNNPACK, delegate_options={})
        started = start_coverage(instead, connection, plain)
        return Start(
            model=instead,
            options=plain,
            asked=started.asked,
            seen=started.seen,
            fallback=Fallback(delegate=asked.delegate, reason=told.message),
        )


def is_compiled(model: Artifact | Path) -> bool:
    """Whether only an accelerator can run it."""
    return read_reference(model).entry != read_subject(model).entry


def _is_delegate_fault(err: DeviceFaultError) -> bool:
    """The library was refused, or took its process along."""
    status = err.details.get("status")
    return bool(err.details.get("delegate_refused")) or (isinstance(status, int) and status < 0)


def measure_coverage(
    start: Start,
    connection: Connection,
    *,
    target: Target | None = None,
    secs: float = MAX_SECS,
    on_progress: OnSeconds = lambda _done, _total: None,
) -> tuple[CoverageReport, tuple[FindingEntry, ...]]:
    """The report, and what is to be said of it.

    ``target``: the profile that predicts, where it is known. ``secs``: for the time with and without the delegate.

    Raises:
        DeviceFaultError, TransportError: as ``start_coverage``.
    """
    structure = read_model(start.asked.subject.model)
    time, said = (None, ()) if start.asked.delegate == NONE else _time(start, connection, secs, on_progress)
    name = UNKNOWN if target is None else target.name
    report = summarize_coverage(start.seen, structure, start.asked, target=name, time=time, fallback=start.fallback)
    return report, (*coverage_findings(report, start.seen), *said, *compare_prediction(start.seen, structure, target))


def _time(
    start: Start, connection: Connection, secs: float, on_progress: OnSeconds
) -> tuple[TimeShare | None, tuple[FindingEntry, ...]]:
    asked = start.asked
    without = Configuration(
        subject=read_reference(start.model),
        delegate=XNNPACK if is_external(asked.delegate) else NONE,
        num_threads=asked.num_threads,
    )
    try:
        rounds = measure_rounds([without, asked], connection, start.options, max_secs=secs, on_progress=on_progress)
    except DeviceFaultError as err:
        return None, (
            FindingEntry(
                name="no-time-without",
                severity="warning",
                message=f"The time without {asked.delegate} is not known: {err.message}",
                fix=err.hint,
            ),
        )
    found = summarize_rounds(rounds, [without, asked], options=start.options, device=connection.device.name, margin=0.0)
    return _share(found, without.delegate), tuple(item for item in found.findings if item.severity == "error")


def _share(found: ComparisonReport, without: str) -> TimeShare:
    plain, delegated = found.models
    effect = found.comparisons[0]
    low, high = effect.interval
    return TimeShare(
        delegate_ms=delegated.median_ms,
        without_ms=plain.median_ms,
        without=without,
        gone=-effect.effect,
        interval=(-high, -low),
        level=effect.level,
        verdict=effect.verdict,
        rounds=found.rounds,
    )


def target_of(model: Artifact | Path, connection: Connection) -> Target | None:
    """The profile of the device, else the one the artifact was built for; None where neither is known."""
    name = connection.device.table.target or (model.manifest.target if isinstance(model, Artifact) else None)
    try:
        return None if name is None else load_target(name)
    except TargetError:
        return None  # an artifact from elsewhere may name a target that is not here


def start_if_needed(
    model: Artifact | Path, connection: Connection, options: BenchOptions, *, wanted: bool, allow_fallback: bool
) -> Start | None:
    """``start_coverage`` where it was asked for, and always where a library stands for the CPU; else None."""
    asked = configurations(read_subject(model), options, connection.device)[0]
    if not wanted and not is_external(asked.delegate):
        return None
    return start_coverage(model, connection, options, allow_fallback=allow_fallback)

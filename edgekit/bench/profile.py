"""What each op of a model takes on a device, told by the runtime's own profiler; docs/profile.md."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import msgspec

from edgekit.artifact import Artifact
from edgekit.bench.plan import BenchOptions, configurations, payload, read_subject, request
from edgekit.bench.profile_ops import CALLING, DELEGATE, PlacedRow, RowKey, place_rows
from edgekit.bench.samples import Count, Duration, Failed, ProcessSamples, Text
from edgekit.bench.statistics import choose_rank, estimate, median
from edgekit.bench.turns import OnProgress, machine_findings, take_turns
from edgekit.documents import Document
from edgekit.entries import FindingEntry
from edgekit.errors import DeviceFaultError
from edgekit.transport import Connection
from edgekit.transport.agent import prepare_agent
from edgekit_converters.structure import OpInfo, op_macs, read_structure

MUCH = 0.5
"""Share of the time from which one op is worth a word."""
MAX_NAMED = 4
UNAVAILABLE = "There is no profile of single ops here: "
"""How the agent begins where a runtime, a delegate or a model has no profiler, and nothing went wrong."""
NS_PER_US = 1e3
RESOLUTION_US = 1.0
"""The runtime counts whole microseconds; from less nothing is computed."""
Microseconds = Annotated[float, msgspec.Meta(ge=0, le=1e15)]


class RowSamples(Document, frozen=True, kw_only=True):
    """A row of the runtime's summary in one process."""

    kind: Text
    owner: Text
    place: Count
    calls: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
    first_us: Microseconds
    """The first call of the first inference."""
    us: Annotated[tuple[Microseconds, ...], msgspec.Meta(min_length=1, max_length=10_000)]
    """All calls of each inference."""


class ProfileSamples(ProcessSamples, frozen=True, kw_only=True):
    """What one fresh process measured; ``samples_ns`` is without profiling."""

    profiled_ns: Annotated[tuple[Duration, ...], msgspec.Meta(min_length=1)]
    rows: Annotated[tuple[RowSamples, ...], msgspec.Meta(min_length=1, max_length=20_000)]


class OpProfile(Document, frozen=True, kw_only=True):
    """One op, or an operator that XNNPACK runs for one."""

    order: int
    """Of execution, from 0."""
    kernel: str
    """As the runtime calls it, such as ``Convolution (NHWC, QC8) IGEMM`` or ``CONV_2D``."""
    delegate: bool
    """Inside the delegate; else one of the runtime's own kernels."""
    node: int | None
    """Index of the model's op; None: an operator of the delegate's own, or one of which it is not certain."""
    op: str | None
    """Builtin operator of ``node``."""
    tensor: str | None
    """Name of its first output."""
    calls: int
    """In one inference. More than 1: ops that the runtime's summary adds up."""
    divided: bool
    """One of two ops that the summary adds up, with its part of the time as the first profiled inferences had it."""
    time_us: float
    """Median over the processes of the mean of the middle half of their inferences, as all that follows."""
    interval_us: tuple[float, float] | None
    """Of ``time_us``, over the processes; None from one process alone, and where the time was divided."""
    median_us: float
    """Of all inferences; the runtime counts whole microseconds."""
    mean_us: float
    """Of all inferences."""
    share: float
    """Of the sum of all ops."""
    cumulative: float
    """Of this op and those before it."""
    macs: int | None
    """Multiply-accumulates; None where they are not known."""
    gmac_per_s: float | None
    """None also where an op multiplies nothing, or takes less than a microsecond."""
    processes_us: tuple[float, ...]
    """``time_us`` of each process."""


class ProfileReport(Document, frozen=True, kw_only=True):
    """Every op in the order of execution."""

    ops: tuple[OpProfile, ...]
    num_threads: int
    processes: int
    """Fresh processes."""
    num_runs: int
    """Profiled inferences, over all processes."""
    level: float
    """Chance that an ``interval_us`` holds the long-run value."""
    total_us: float
    """Sum of ``time_us``."""
    plain_us: float
    """Median of a whole inference without profiling, on the profiler's way through the runtime, in turns with the
    profiled ones."""
    profiled_us: float
    """Median of a whole inference with profiling: more than ``plain_us`` by what the profiler costs, mostly between
    ops, where no op is charged with it."""


def measure_profile(
    model: Artifact | Path,
    connection: Connection,
    options: BenchOptions,
    *,
    on_progress: OnProgress = lambda _done, _total: None,
) -> tuple[ProfileReport | None, tuple[FindingEntry, ...]]:
    """Profile a model on a device, with the first of ``options.num_threads``.

    None where there is no profile; the findings say why: another runtime than ai-edge-litert, an external delegate, a
    model that LiteRT's CompiledModel does not take, a crash.

    Raises:
        ModelError, ArtifactError, IntegrityError: the model is none, or was changed after the build.
        DeviceFaultError: an option that the device refuses, an answer that does not fit.
        TransportError: connection lost.
    """
    asked = configurations(read_subject(model), options, connection.device)[:1]
    subject = asked[0].subject
    structure = read_structure(subject.model.read_bytes(), what=subject.name)
    ops = [op for op in structure.ops if op.subgraph == 0]
    calling = sorted({op.name for op in ops} & CALLING)
    if calling:
        return None, (_no_profile_of(calling),)
    agent = prepare_agent(connection)
    message = request(asked, options, root=agent.root, keep_going=True)
    measurement = take_turns(agent, "profile", message, payload(asked), ProfileSamples, on_progress)
    processes = [item for item in measurement.processes if isinstance(item, ProfileSamples)]
    failures = tuple(_failures(measurement.failed, measured=len(processes)))
    if not processes:
        return None, failures
    report = summarize_profile(processes, ops)
    return report, (*machine_findings(measurement), *failures, *find_slow(report, asked[0].delegate))


def summarize_profile(processes: Sequence[ProfileSamples], ops: Sequence[OpInfo]) -> ProfileReport:
    """Every op over fresh processes. ``ops``: of the model's main subgraph, in order. Pure.

    Raises DeviceFaultError where the processes tell of different ops.
    """
    keys = [_keys(process) for process in processes]
    if any(other != keys[0] for other in keys[1:]):
        raise DeviceFaultError(
            "The processes ran different ops of the same model.",
            hint="The delegate is not the same from one process to the next; run it again with -v.",
        )
    placed = place_rows(keys[0], ops)
    times = [_times(item, processes) for item in placed]
    middles = [tuple(map(midmean, groups)) for groups in times]
    total = sum(map(median, middles))
    lines = []
    before = 0.0
    for order, (item, groups, own) in enumerate(zip(placed, times, middles, strict=True)):
        before += median(own)
        lines.append(_line(order, item, groups, own, total=total, so_far=before))
    return ProfileReport(
        ops=tuple(lines),
        num_threads=processes[0].num_threads,
        processes=len(processes),
        num_runs=sum(len(process.profiled_ns) for process in processes),
        level=choose_rank(len(processes))[1],
        total_us=total,
        plain_us=estimate([process.samples_ns for process in processes]) / NS_PER_US,
        profiled_us=estimate([process.profiled_ns for process in processes]) / NS_PER_US,
    )


def midmean(values: Sequence[float]) -> float:
    """Mean of the middle half: an outlier does not move it, and it tells parts of the microseconds that are counted."""
    ordered = sorted(values)
    quarter = len(ordered) // 4
    middle = ordered[quarter : len(ordered) - quarter]
    return sum(middle) / len(middle)


def find_slow(report: ProfileReport, delegate: str) -> Iterator[FindingEntry]:
    """What of a profile is worth a word: an op that takes most of the time beside the delegate, and sums of ops."""
    slow = max(report.ops, key=lambda op: op.share)
    if slow.share > MUCH and not slow.delegate and delegate != "none":
        yield FindingEntry(
            name="slow-op",
            severity="info",
            message=f"{slow.op or slow.kernel}{_which(slow)} takes {100 * slow.share:.0f} % of the time of all ops, "
            f"and {delegate} does not take it.",
            fix="`edgekit inspect MODEL --target NAME` says why, and what to change.",
        )
    joined = [op for op in report.ops if op.calls > 1]
    if joined:
        yield FindingEntry(
            name="ops-added-up",
            severity="info",
            message=f"{len(joined)} lines of the profile stand for several ops each: the runtime adds up what is alike "
            "but for its partition.",
            fix="Their sum is right; a model in fewer partitions has a line for each.",
        )
    divided = [op for op in report.ops if op.divided]
    if divided:
        yield FindingEntry(
            name="ops-divided",
            severity="info",
            message=f"{len(divided)} ops ({', '.join(map(_called, divided[:MAX_NAMED]))}) are, two by two, one line of "
            "the runtime's summary: their sum is measured, and divided as in the first profiled inferences.",
            fix="A model in fewer partitions has a line for each.",
        )


def _called(op: OpProfile) -> str:
    return op.kernel if op.node is None else f"{op.op} {op.node}"


def _which(op: OpProfile) -> str:
    return "" if op.node is None else f" (op {op.node})"


def _no_profile_of(calling: Sequence[str]) -> FindingEntry:
    return FindingEntry(
        name="no-profile",
        severity="info",
        message=f"{UNAVAILABLE}the model has {' and '.join(calling)}, whose ops the runtime would count twice.",
        fix="A conversion that writes loops out step by step has ops that can be told apart.",
    )


def _failures(failed: Sequence[Failed], *, measured: int) -> Iterator[FindingEntry]:
    for item in failed:
        missing = item.message.startswith(UNAVAILABLE)
        so_far = f" {measured} processes were measured before." if measured else ""
        yield FindingEntry(
            name="no-profile" if missing else "profile-failed",
            severity="info" if missing else "warning",
            message=f"{item.message}{so_far}",
            fix=item.hint,
        )


def _keys(process: ProfileSamples) -> list[RowKey]:
    return [RowKey(kind=row.kind, owner=row.owner, place=row.place, calls=row.calls) for row in process.rows]


def _times(item: PlacedRow, processes: Sequence[ProfileSamples]) -> list[tuple[float, ...]]:
    """Microseconds of each inference of each process; of a call among two by the first inferences of all processes."""
    groups = [process.rows[item.row].us for process in processes]
    if item.call is None:
        return groups
    both = sum(group[0] for group in groups)
    first = min(1.0, sum(process.rows[item.row].first_us for process in processes) / both) if both else 0.5
    share = first if item.call == 0 else 1 - first
    return [tuple(share * value for value in group) for group in groups]


def _line(
    order: int,
    item: PlacedRow,
    groups: Sequence[Sequence[float]],
    own: tuple[float, ...],
    *,
    total: float,
    so_far: float,
) -> OpProfile:
    every = sorted(value for group in groups for value in group)
    rank, _ = choose_rank(len(own))
    ordered, time_us = sorted(own), median(own)
    macs = None if item.op is None else op_macs(item.op)
    return OpProfile(
        order=order,
        kernel=item.key.kind.removeprefix(f"{DELEGATE}/"),
        delegate=item.key.owner == DELEGATE,
        node=None if item.op is None else item.op.index,
        op=None if item.op is None else item.op.custom or item.op.name,
        tensor=None if item.op is None or not item.op.outputs else item.op.outputs[0].name,
        calls=item.key.calls,
        time_us=time_us,
        divided=item.call is not None,
        interval_us=(ordered[rank], ordered[-1 - rank]) if len(own) > 1 and item.call is None else None,
        median_us=median(every),
        mean_us=sum(every) / len(every),
        share=time_us / total if total else 0.0,
        cumulative=so_far / total if total else 0.0,
        macs=macs,
        gmac_per_s=macs / time_us / 1e3 if macs and time_us >= RESOLUTION_US else None,
        processes_us=own,
    )

"""What a delegate really did on the device: the ops it took, and the time that went away with it."""

from collections.abc import Collection, Mapping
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal

import msgspec

from edgekit.bench.plan import BenchOptions, Configuration, payload, request
from edgekit.bench.samples import Count, RuntimeFacts, Text
from edgekit.bench.versus.comparison import Verdict
from edgekit.device import PLAIN_DELEGATES
from edgekit.documents import Document, convert, read_bounded
from edgekit.entries import Sha256
from edgekit.errors import DeviceFaultError, ModelError, foreign_errors
from edgekit.placement.entries import Placement
from edgekit.placement.runtime import placed
from edgekit.transport import Connection
from edgekit.transport.agent import call, prepare_agent, result
from edgekit.transport.files import answer_need
from edgekit_converters.structure import Structure, op_macs, read_structure

XNNPACK, NONE = PLAIN_DELEGATES
SILENCE_S = 60.0
"""The agent says something every few seconds."""
UNKNOWN = "unknown"
"""Target of a device that names none."""
MAX_MODEL_BYTES = 512 * 1024 * 1024
Node = Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]
Nodes = Annotated[tuple[Node, ...], msgspec.Meta(max_length=1_000_000)]


class DelegateLibrary(Document, frozen=True, kw_only=True):
    """The file that the loader of the device found."""

    path: Text | None
    """Links resolved; None where the loader does not tell."""
    bytes: Count | None
    sha256: Sha256 | None
    version: Text | None
    """What the library says of itself; None for most."""


class Taken(Document, frozen=True, kw_only=True):
    """What one delegate took of the main subgraph."""

    delegate: Text
    nodes: Nodes
    """Places of the ops."""
    partitions: Count
    """Stretches that it runs in one go, in the run as it always is."""


class Seen(Document, frozen=True, kw_only=True):
    """What the runtime told, see ``edgekit/agent/coverage.py``."""

    runtime: RuntimeFacts
    ops: Annotated[tuple[Text, ...], msgspec.Meta(max_length=1_000_000)]
    """Operators of the main subgraph."""
    taken: Annotated[tuple[Taken, ...], msgspec.Meta(max_length=8)]
    route: Literal["node by node", "walked back"]
    differ: Nodes
    """Ops that the two routes do not agree on; the run as it always is counts."""
    library: DelegateLibrary | None


class TimeShare(Document, frozen=True, kw_only=True):
    """With and without the delegate, in fresh processes that took turns."""

    delegate_ms: float
    without_ms: float
    """The same model on ``without``; of a compiled model its reference, which any runtime runs."""
    without: str
    """``xnnpack`` for an external delegate: the CPU at its best. ``none``, the plain kernels, for XNNPACK itself."""
    gone: float
    """Share of the time without it that went away: 0.6 is 2.5 times as fast; below 0 it got slower."""
    interval: tuple[float, float]
    """Of ``gone``; it holds the true share with at least the chance ``level``."""
    level: float
    verdict: Verdict
    """Of the delegate: ``faster`` or ``slower`` where the whole interval says so."""
    rounds: int


class Fallback(Document, frozen=True, kw_only=True):
    """A delegate that could not be used, where --allow-fallback let the CPU run instead."""

    delegate: str
    reason: str


class CoverageReport(Document, frozen=True, kw_only=True):
    """The proof that a delegate ran, or did not."""

    delegate: str
    """The one that ran."""
    delegate_options: dict[str, str]
    library: DelegateLibrary | None
    """None for the runtime's own delegates."""
    route: Literal["node by node", "walked back"]
    """How it was found out: by a run with a node for each op, or from the run as it always is."""
    placement: Placement
    ops: int
    """Of the main subgraph."""
    taken_ops: int
    by_ops: float
    """Share of them that the delegate took."""
    by_macs: float | None
    """Share of the multiply-accumulates; None where an op's count is not known, or there are none."""
    partitions: int
    """Of the delegate."""
    time: TimeShare | None = None
    """None: it was not measured, see the findings."""
    fallback: Fallback | None = None


def is_external(delegate: str) -> bool:
    """A library, not one of the runtime's own."""
    return delegate not in PLAIN_DELEGATES


def read_coverage(asked: Configuration, connection: Connection) -> Seen:
    """Ask the device which ops the delegate of ``asked`` takes; nothing is timed.

    Raises:
        DeviceFaultError: the delegate cannot be loaded, crashes, or refuses the model; see ``is_delegate_fault``.
        TransportError: connection lost.
    """
    agent, files = prepare_agent(connection), payload([asked])
    device = connection.device.name
    common = request([asked], BenchOptions(), root=agent.root)
    message = {**common["configurations"][0], "root": agent.root, "files": common["files"]}
    events = call(
        agent, "coverage", message, answer=lambda event: answer_need(event, files, device), timeout_s=SILENCE_S
    )
    done = {key: value for key, value in result(events).items() if key != "event"}
    return convert(done, Seen, DeviceFaultError, where=f"{device}: the coverage")


def read_model(path: Path) -> Structure:
    """The ops of a .tflite; raises ModelError."""
    with foreign_errors():
        return read_structure(read_bounded(path, ModelError, limit=MAX_MODEL_BYTES), what=str(path))


def summarize_coverage(
    seen: Seen,
    structure: Structure,
    asked: Configuration,
    *,
    target: str = UNKNOWN,
    time: TimeShare | None,
    fallback: Fallback | None,
) -> CoverageReport:
    """What the runtime said of this model, as a report. Pure.

    Raises:
        DeviceFaultError: the device speaks of another model.
    """
    names = [op.custom or op.name for op in structure.ops if op.subgraph == 0]
    if len(seen.ops) != len(names) or any(node >= len(names) for item in seen.taken for node in item.nodes):
        raise DeviceFaultError(
            f"The device speaks of {len(seen.ops)} ops, the model has {len(names)}.",
            hint="Something else than edgekit's agent answers there; run it again with -v.",
        )
    own = next((item for item in seen.taken if item.delegate == asked.delegate), None)
    nodes: Collection[int] = () if own is None else own.nodes
    return CoverageReport(
        delegate=asked.delegate,
        delegate_options=asked.delegate_options,
        library=seen.library,
        route=seen.route,
        placement=placed(
            structure,
            {processor(item.delegate): item.nodes for item in seen.taken},
            target=target,
            basis="runtime",
            told_by=f"{seen.runtime.name} {seen.runtime.version}",
            in_memory=frozenset({XNNPACK}),
        ),
        ops=len(names),
        taken_ops=len(nodes),
        by_ops=len(nodes) / len(names) if names else 0.0,
        by_macs=share_of_macs(structure, nodes),
        partitions=0 if own is None else own.partitions,
        time=time,
        fallback=fallback,
    )


def processor(delegate: str) -> str:
    """What a delegate is called in a placement: xnnpack, or its library's file name."""
    return PurePosixPath(delegate).name


def share_of_macs(structure: Structure, nodes: Collection[int]) -> float | None:
    """Of the multiply-accumulates of the main subgraph, those of ``nodes``."""
    counts: Mapping[int, int | None] = {op.index: op_macs(op) for op in structure.ops if op.subgraph == 0}
    known = {index: count for index, count in counts.items() if count is not None}
    total = sum(known.values())
    return None if len(known) < len(counts) or not total else sum(known[node] for node in nodes) / total

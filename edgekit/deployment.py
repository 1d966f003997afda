"""What a deployment did, and what the device computed in its self-test, as documents."""

from edgekit.device import PLAIN_DELEGATES
from edgekit.documents import Document
from edgekit.entries import FindingEntry

XNNPACK, NONE = PLAIN_DELEGATES


class OutputCheck(Document, frozen=True, kw_only=True):
    """The worst golden vector of one output."""

    output: str
    vector: int
    unit: str
    """``steps`` of the output's scale, or ``relative`` to its largest expected value."""
    difference: float | None
    """Largest difference in ``unit``; None: NaN or infinity was found."""
    allowed: float
    top1: tuple[int, int] | None
    """Expected and found class; None where none leads clearly, or it is not compared."""
    passed: bool
    at: int
    """Flat index of the largest difference."""
    first_shown: int
    """Flat index of the first element of ``expected`` and ``found``."""
    expected: tuple[float | None, ...]
    found: tuple[float | None, ...]


class TakenNodes(Document, frozen=True, kw_only=True):
    """What one delegate took."""

    delegate: str
    nodes: tuple[int, ...]
    """Places of the ops in the main subgraph."""
    partitions: int


class SelfTest(Document, frozen=True, kw_only=True):
    """The golden vectors, run on the device."""

    passed: bool
    runtime: str
    version: str
    delegate: str
    vectors: int
    kind: str
    """``calibration``: real samples; ``random``: seeded ones."""
    outputs: tuple[OutputCheck, ...]
    ops: int | None = None
    """Of the model, in its main subgraph."""
    taken: tuple[TakenNodes, ...] = ()
    """What delegates took of them, in the run as it was."""
    seconds: float | None = None
    """Start of the runtime included."""


class Deployment(Document, frozen=True, kw_only=True):
    """What a deployment or rollback did."""

    device: str
    name: str
    """Name of the model on the device."""
    digest: str
    """The version that was asked for; for a rollback the one that came back."""
    previous: str | None
    """Digest that was active before."""
    active: bool
    """Whether ``digest`` is the active version now."""
    dry_run: bool = False
    bytes_sent: int
    """Payload bytes; in a dry run those that would be sent."""
    seconds: float
    self_test: SelfTest | None
    """None in a dry run."""
    removed: tuple[str, ...] = ()
    """Old versions that were removed."""
    findings: tuple[FindingEntry, ...] = ()


def delegate_findings(test: SelfTest | None) -> tuple[FindingEntry, ...]:
    """A delegate that passed the self-test without doing anything of it: the CPU did."""
    if test is None or test.delegate == NONE or test.ops is None:
        return ()
    if any(item.delegate == test.delegate for item in test.taken):
        return ()
    fix = "`edgekit inspect MODEL --target NAME` says why; --require-delegate refuses such a deployment."
    return (unused(test.delegate, test.ops, fix),)


def unused(delegate: str, ops: int, fix: str) -> FindingEntry:
    """A delegate took nothing: a warning of a library, a note of XNNPACK, which older runtimes have for float only."""
    if delegate == XNNPACK:
        message = f"XNNPACK took none of the model's {ops} ops: the runtime's plain kernels run it."
        older = "tflite-runtime up to 2.14 has XNNPACK for float alone; a newer runtime is faster on int8. "
        return FindingEntry(name="delegate-unused", severity="info", message=message, fix=f"{older}{fix}")
    message = f"{delegate} was loaded and took none of the model's {ops} ops: the CPU runs it."
    return FindingEntry(name="delegate-unused", severity="warning", message=message, fix=fix)

"""Where each op of a model runs, and what moves between processors: predicted, or told by a compiler or a runtime."""

from typing import Literal

from edgekit.documents import Document

CPU = "cpu"
"""The runtime's plain kernels: what no accelerator took."""


class Refusal(Document, frozen=True, kw_only=True):
    """Why an accelerator does not take an op."""

    accelerator: str
    reason: str
    """Such as ``MEAN over the axes 1 and 3``."""
    change: str
    """What to do to the model; empty where nothing is known."""


class OpPlacement(Document, frozen=True, kw_only=True):
    """One op."""

    index: int
    """In its subgraph, in the order of execution."""
    subgraph: int
    op: str
    """Builtin operator, or a custom one's code."""
    output: str
    """Name of its first output tensor; empty where it has none."""
    processor: str
    """Name of the accelerator of the target, or ``cpu``."""
    macs: int | None
    """Multiply-accumulates; None where they are not known."""
    refusals: tuple[Refusal, ...] = ()
    """Of the accelerators that come before ``processor`` in the target's order."""


class Partition(Document, frozen=True, kw_only=True):
    """Ops that one processor runs in one go."""

    processor: str
    ops: tuple[int, ...]
    """Their indices in subgraph 0; a subgraph that an op such as WHILE calls runs with that op."""


class Transfer(Document, frozen=True, kw_only=True):
    """A tensor that goes into or out of an accelerator with memory of its own, the model's inputs and outputs too.

    An accelerator of the kind ``cpu`` works in the CPU's memory: nothing is copied between the two.
    """

    tensor: str
    bytes: int | None
    """None where its size is not known before it runs."""
    source: str
    destination: str


class Placement(Document, frozen=True, kw_only=True):
    """A model on a target."""

    target: str
    basis: Literal["prediction", "compiler", "runtime"]
    """``prediction``: from the profile's rules; the others report what they did."""
    told_by: str
    """Such as ``rules/edgetpu.toml``, ``vela 5.2.0`` or ``ai-edge-litert 2.3.0``."""
    ops: tuple[OpPlacement, ...]
    """Of every subgraph in a prediction; runtimes and compilers tell of subgraph 0 alone."""
    partitions: tuple[Partition, ...]
    """In the order of execution."""
    transfers: tuple[Transfer, ...]
    not_predicted: tuple[str, ...] = ()
    """Accelerators without rules, which may take ops that are listed here as another processor's."""

    @property
    def counts(self) -> dict[str, int]:
        """Processor -> number of ops, in the order of first use."""
        found: dict[str, int] = {}
        for op in self.ops:
            found[op.processor] = found.get(op.processor, 0) + 1
        return found

"""Two or more models on one device: which is faster, by how much, and how sure that is."""

from typing import Literal

from edgekit.bench.plan import BenchOptions
from edgekit.bench.samples import MachineFacts, MachineState, RuntimeFacts
from edgekit.documents import Document
from edgekit.entries import FindingEntry, Sha256

Verdict = Literal["faster", "slower", "equal", "inconclusive"]


class ComparedModel(Document, frozen=True, kw_only=True):
    """One of the models."""

    name: str
    model_sha256: Sha256
    artifact_digest: Sha256 | None
    delegate: str
    num_threads: int
    median_ms: float
    rounds_ms: tuple[float, ...]
    """Median of the fresh process of each round."""


class Comparison(Document, frozen=True, kw_only=True):
    """The candidate against the baseline."""

    baseline: str
    candidate: str
    verdict: Verdict
    """Of the candidate. ``equal``: the whole interval is within the margin."""
    effect: float
    """Relative change of the median latency: 0.03 is 3 % slower, -0.03 3 % faster."""
    interval: tuple[float, float]
    level: float
    needed_rounds: int | None
    """How many more rounds would probably decide; None where it is decided."""


class ComparisonReport(Document, frozen=True, kw_only=True):
    """One run of ``edgekit compare``."""

    device: str
    machine: MachineFacts
    runtime: RuntimeFacts
    options: BenchOptions
    margin: float
    """Relative: 0.01 is 1 %."""
    rounds: int
    models: tuple[ComparedModel, ...]
    """The baseline first."""
    comparisons: tuple[Comparison, ...]
    """One for each other model."""
    findings: tuple[FindingEntry, ...]
    before: MachineState
    after: MachineState

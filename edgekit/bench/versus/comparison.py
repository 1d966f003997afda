"""Two or more models on one device: which is faster, by how much, and how sure that is."""

from collections.abc import Sequence
from typing import Literal

from edgekit.bench.latency import Result
from edgekit.bench.plan import BenchOptions
from edgekit.bench.samples import MachineFacts, MachineState, RuntimeFacts
from edgekit.documents import Document
from edgekit.entries import FindingEntry, Sha256
from edgekit.errors import InconclusiveError, MeasurementInvalidError

Verdict = Literal["faster", "slower", "equal", "inconclusive"]
MARGIN = 0.01
"""Two models whose latencies differ by less are equal for most purposes."""


class ComparedModel(Document, frozen=True, kw_only=True):
    """One of the models."""

    name: str
    model_sha256: Sha256
    artifact_digest: Sha256 | None
    delegate: str
    num_threads: int
    median_ms: float
    """Of the rounds together: Hodges-Lehmann's estimate from the logarithms, as for the effect."""
    rounds_ms: tuple[float, ...]
    """Latency in the fresh process of each round, see ``edgekit.bench.versus.effect.latency``."""


class Comparison(Document, frozen=True, kw_only=True):
    """The candidate against the baseline."""

    baseline: str
    candidate: str
    verdict: Verdict
    """Of the candidate. ``equal``: the whole interval is within the margin; ``faster``, ``slower``: outside."""
    effect: float
    """Relative change of the latency: 0.03 is 3 % slower, -0.03 3 % faster."""
    interval: tuple[float, float]
    """Of the effect; it holds the true one with at least the chance ``level``."""
    level: float
    needed_rounds: int | None
    """How many more rounds would probably decide; None where it is decided, or where that cannot be foretold."""


class ComparisonReport(Document, frozen=True, kw_only=True):
    """One run of ``edgekit compare``."""

    device: str
    machine: MachineFacts
    runtime: RuntimeFacts
    options: BenchOptions
    """As it ran: one thread count, a process a round, and the runs that every process timed at least."""
    margin: float
    """Relative: 0.01 is 1 %."""
    rounds: int
    """That count; a round is one fresh process of each model."""
    models: tuple[ComparedModel, ...]
    """The baseline first."""
    comparisons: tuple[Comparison, ...]
    """One for each other model."""
    findings: tuple[FindingEntry, ...]
    """Severity ``error``: the numbers mean nothing."""
    before: MachineState
    after: MachineState

    @property
    def valid(self) -> bool:
        """No clock moved and nothing throttled while samples were taken."""
        return not any(finding.severity == "error" for finding in self.findings)


def judge(interval: tuple[float, float], margin: float) -> Verdict:
    """The verdict on a candidate whose effect lies in ``interval``; ``margin`` is the largest effect that is none."""
    low, high = interval
    if low > margin:
        return "slower"
    if high < -margin:
        return "faster"
    return "equal" if -margin <= low and high <= margin else "inconclusive"


def compare_runs(
    baseline: Result, candidate: Result, *, margin: float = MARGIN, names: Sequence[str] = ("baseline", "candidate")
) -> Comparison:
    """Two recorded runs of ``edgekit bench``, which did not take turns: minutes or months may lie between them.

    The interval goes from the candidate's lower bound over the baseline's upper bound to the reverse; by Bonferroni it
    holds the true effect with at least ``level``. Wider than that of ``edgekit compare``, which cancels what the
    machine does meanwhile: a small change between two recorded runs is mostly inconclusive.
    """
    first, second = baseline.latency_ms, candidate.latency_ms
    low = second.median_interval[0] / first.median_interval[1] - 1
    high = second.median_interval[1] / first.median_interval[0] - 1
    return Comparison(
        baseline=names[0],
        candidate=names[1],
        verdict=judge((low, high), margin),
        effect=second.median / first.median - 1,
        interval=(low, high),
        level=max(0.0, first.level + second.level - 1),
        needed_rounds=None,
    )


def require_decided(
    comparisons: Sequence[Comparison], *, margin: float, details: dict[str, object] | None = None
) -> None:
    """Raise InconclusiveError (exit code 7) when a comparison is not decided."""
    open_ones = [item for item in comparisons if item.verdict == "inconclusive"]
    if open_ones:
        needed = [item.needed_rounds for item in open_ones if item.needed_rounds is not None]
        more = (
            f"About {max(needed)} more rounds would probably decide"
            if len(needed) == len(open_ones)
            else "How many more rounds would decide cannot be foretold"
        )
        raise InconclusiveError(
            " ".join(_undecided(item, margin) for item in open_ones),
            hint=f"{more}: use a larger --max-secs, a quieter machine, or a larger --margin.",
            details=details,
        )


def _undecided(item: Comparison, margin: float) -> str:
    low, high = (100 * bound for bound in item.interval)
    return (
        f"{item.candidate} against {item.baseline} is inconclusive: the change of its latency lies between "
        f"{low:+.2f} % and {high:+.2f} %, neither within the margin of {100 * margin:g} % nor outside."
    )


def require_valid(report: ComparisonReport, *, details: dict[str, object] | None = None) -> None:
    """Raise MeasurementInvalidError (exit code 6) when a finding says that the numbers mean nothing."""
    errors = [finding for finding in report.findings if finding.severity == "error"]
    if errors:
        raise MeasurementInvalidError(
            "The comparison is invalid: " + " ".join(finding.message for finding in errors),
            hint=f"{errors[0].fix} --allow-invalid accepts the numbers as they are.",
            details=details,
        )

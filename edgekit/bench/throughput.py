"""Several interpreters at once: how many inferences a second they make together."""

from edgekit.bench.latency import Latency
from edgekit.documents import Document


class Throughput(Document, frozen=True, kw_only=True):
    """One number of streams and threads."""

    streams: int
    """Interpreters that run at the same time."""
    num_threads: int
    """Of each of them."""
    inferences_per_s: float
    """All streams together, by the wall clock."""
    interval: tuple[float, float]
    level: float
    latency_ms: Latency
    """Of one inference while the others run."""
    peak_rss_bytes: int | None


class ThroughputReport(Document, frozen=True, kw_only=True):
    """Every combination that was measured, in turns."""

    results: tuple[Throughput, ...]
    best_throughput: int
    """Place in ``results``."""
    best_latency: int
    reason: str
    """Why these, in words."""

"""Which numbers of streams and threads to try, and which of them is best. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Protocol

from edgekit.bench.statistics import Interval, median, ratio

SCREENING = 3
"""Rounds after which hopeless combinations are left out."""
BEHIND = 1.25
"""A combination that is so many times slower than the best in each of these rounds, by both measures, is hopeless."""
FINE = 4
"""Up to here every count is tried, beyond only powers of two and the number of cores."""


@dataclass(frozen=True, kw_only=True)
class Combination:
    """Interpreters at the same time, and the threads of each."""

    streams: int
    num_threads: int

    @property
    def cores(self) -> int:
        """That it keeps busy at most."""
        return self.streams * self.num_threads

    def __str__(self) -> str:
        return f"{_count(self.streams, 'stream')} of {_count(self.num_threads, 'thread')}"


class Round(Protocol):
    """One fresh process."""

    @property
    def samples_ns(self) -> Sequence[int]: ...

    @property
    def rate_per_s(self) -> float: ...


Rounds = Mapping[Combination, Sequence[Round]]
"""The processes of each combination in the order of their rounds; those that were left out have fewer."""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The best of what was measured."""

    latency: Combination
    throughput: Combination
    reason: str


def thread_grid(cores: int) -> tuple[Combination, ...]:
    """Every number of streams with every number of threads that ``cores`` can run at once; the least cores first."""
    counts = sorted({*range(1, min(cores, FINE) + 1), *(1 << bit for bit in range(cores.bit_length())), cores})
    grid = (Combination(streams=streams, num_threads=threads) for streams, threads in product(counts, counts))
    fitting = [item for item in grid if item.cores <= cores]
    return tuple(sorted(fitting, key=lambda item: (item.cores, item.streams)))


def hopeless(rounds: Rounds) -> frozenset[Combination]:
    """What is ``BEHIND`` the best by latency and by throughput in every round; with fewer than ``SCREENING``, none.

    A combination that is in truth no worse than the best would have to lose each of the rounds by that much.
    """
    latencies = {item: _medians(found) for item, found in rounds.items()}
    rates = {item: [process.rate_per_s for process in found] for item, found in rounds.items()}
    if not rounds or min(map(len, latencies.values())) < SCREENING:
        return frozenset()
    fastest = latencies[min(latencies, key=lambda item: median(latencies[item]))]
    most = rates[max(rates, key=lambda item: median(rates[item]))]
    return frozenset(
        item
        for item in rounds
        if all(own > BEHIND * best for own, best in zip(latencies[item], fastest, strict=True))
        and all(BEHIND * own < best for own, best in zip(rates[item], most, strict=True))
    )


def choose(rounds: Rounds) -> Choice:
    """For each purpose the fewest cores that are not surely slower than the fastest, by the rounds they shared.

    For the latency only the fewest streams count: more of them never make one inference faster.
    """
    last = max(map(len, rounds.values()))
    whole = {item: found for item, found in rounds.items() if len(found) == last}
    fewest = min(item.streams for item in whole)
    latencies = {item: _medians(found) for item, found in whole.items() if item.streams == fewest}
    periods = {item: [1 / max(process.rate_per_s, 1e-9) for process in found] for item, found in whole.items()}
    latency, why_latency = _best(latencies, "an inference")
    if len(latencies) == 1 < len(whole):
        why_latency = "more streams never make one inference faster"
    throughput, why_throughput = _best(periods, "the same work")
    dropped = [str(item) for item, found in rounds.items() if len(found) < last]
    left_out = f" Left out after {SCREENING} rounds, far behind in each: {', '.join(dropped)}." if dropped else ""
    return Choice(
        latency=latency,
        throughput=throughput,
        reason=f"For the latency {latency}: {why_latency}. "
        f"For the throughput {throughput}: {why_throughput}.{left_out}",
    )


def _best(values: Mapping[Combination, Sequence[float]], what: str) -> tuple[Combination, str]:
    """The fewest cores whose times are not surely longer than the shortest, and why."""
    if len(values) == 1:
        return next(iter(values)), "nothing else was measured"
    fastest = min(values, key=lambda item: (median(values[item]), item.cores))
    equal = [item for item in values if item == fastest or ratio(values[item], values[fastest])[1].low <= 1]
    best = min(equal, key=lambda item: (item.cores, item.streams))
    if best != fastest:
        value, held = ratio(values[fastest], values[best])
        return best, _not_faster(fastest, what, value, held)
    rivals = [item for item in values if item.cores < best.cores] or [item for item in values if item != best]
    nearest = min(rivals, key=lambda item: median(values[item]))
    value, held = ratio(values[nearest], values[best])
    if value < 1:  # the ratio of the medians and the median of the ratios may fall on different sides of 1
        return best, _not_faster(nearest, what, value, held)
    return best, f"with {nearest} {what} takes {_times(value, held)}"


def _not_faster(item: Combination, what: str, value: float, held: Interval) -> str:
    return f"{item} {'is' if item.streams == 1 else 'are'} not surely faster here, {what} takes {_times(value, held)}"


def _times(value: float, held: Interval) -> str:
    span = f"{held.low:.2f} to {held.high:.2f}"
    return f"{value:.2f} times as long ({100 * held.level:.0f} % interval {span} over the rounds)"


def _medians(found: Sequence[Round]) -> list[float]:
    return [median(process.samples_ns) for process in found]


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number > 1)}"

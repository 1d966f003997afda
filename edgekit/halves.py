"""Held-out samples in two halves: one chooses, one confirms. Pure."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby

from edgekit.errors import DataError
from edgekit.metrics.protocol import EvaluationSample
from edgekit_converters.types import Finding

ENOUGH = 100
"""Fewer in a half, and a point of accuracy is less than a sample."""


@dataclass(frozen=True, kw_only=True)
class Halves:
    """Which samples are in which half, by the digests of their content; copies of a sample are on one side."""

    selection: frozenset[bytes]
    confirmation: frozenset[bytes]
    samples: tuple[int, int]
    """Number of samples in each, copies counted."""

    def selecting(self, samples: Iterable[EvaluationSample]) -> Iterator[EvaluationSample]:
        """The samples that choose."""
        return (sample for sample in samples if sample.digest in self.selection)

    def confirming(self, samples: Iterable[EvaluationSample]) -> Iterator[EvaluationSample]:
        """The samples that have no part in the choice."""
        return (sample for sample in samples if sample.digest in self.confirmation)

    def findings(self) -> tuple[Finding, ...]:
        """What so few samples mean."""
        if min(self.samples) >= ENOUGH:
            return ()
        return (
            Finding(
                name="search-few-samples",
                severity="warning",
                message=(
                    f"The search chooses by {self.samples[0]} samples and confirms by {self.samples[1]}: one sample is "
                    f"{100 / min(self.samples):.1f} points."
                ),
                fix=f"Evaluate on {2 * ENOUGH} samples or more; both halves come from them.",
            ),
        )


def split(samples: Iterable[EvaluationSample]) -> Halves:
    """Every second sample of each label, in the order of the digests: the same data is always split the same way.

    Raises DataError where two different samples are missing. Memory: some 100 bytes a sample.
    """
    counts: dict[tuple[int, bytes], int] = {}
    for sample in samples:
        key = (-1 if sample.label is None else sample.label, sample.digest)
        counts[key] = counts.get(key, 0) + 1
    # A content with two labels is one content: it goes where its first label goes.
    sides: dict[bytes, bool] = {}
    side = False
    for _, group in groupby(sorted(counts), key=lambda key: key[0]):
        for _, digest in group:
            if digest not in sides:
                sides[digest] = side
                side = not side
    if len(sides) < 2:  # noqa: PLR2004 - one for each half
        raise DataError(
            f"The evaluation data holds {len(sides)} different samples; a search needs some to choose by and others to "
            "confirm by.",
            hint="Give more held-out samples, or a fixed --precision.",
        )
    halves = [frozenset(digest for digest, found in sides.items() if found is wanted) for wanted in (False, True)]
    sizes = [sum(count for (_, digest), count in counts.items() if digest in half) for half in halves]
    return Halves(selection=halves[0], confirmation=halves[1], samples=(sizes[0], sizes[1]))

"""Stretches of a recording -> blocks of idle and load, on one time axis. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from edgekit.bench.recording import Recording, Window

NS_PER_S = 1e9


@dataclass(frozen=True, kw_only=True)
class Block:
    """What one process did without a break; segments of the same kind that follow each other are one block."""

    process: int
    kind: Literal["idle", "load"]
    start_s: float
    """Since ``origin_ns``."""
    end_s: float
    inferences: int

    @property
    def secs(self) -> float:
        """How long it took."""
        return self.end_s - self.start_s


def origin_ns(recording: Recording) -> int:
    """The device's monotonic clock when the first segment began; all seconds of an analysis count from there."""
    return recording.stretches[0].start_ns


def blocks(recording: Recording) -> tuple[Block, ...]:
    """Every block of the run, in order."""
    zero = origin_ns(recording)
    found: list[Block] = []
    for stretch in recording.stretches:
        block = Block(
            process=stretch.process,
            kind=recording.kind(stretch),
            start_s=(stretch.start_ns - zero) / NS_PER_S,
            end_s=(stretch.end_ns - zero) / NS_PER_S,
            inferences=stretch.inferences,
        )
        last = found[-1] if found else None
        if last is not None and (last.process, last.kind) == (block.process, block.kind):
            found[-1] = replace(last, end_s=block.end_s, inferences=last.inferences + block.inferences)
        else:
            found.append(block)
    return tuple(found)


def neighbours(found: Sequence[Block], place: int) -> tuple[Block | None, Block | None]:
    """The blocks of the same process before and after ``found[place]``."""
    before = found[place - 1] if place else None
    after = found[place + 1] if place + 1 < len(found) else None
    own = found[place].process
    return (
        before if before is not None and before.process == own else None,
        after if after is not None and after.process == own else None,
    )


def rate(block: Block, windows: Sequence[Window], zero_ns: int, start_s: float) -> float:
    """Inferences per second of a load block from ``start_s`` to its end.

    A window that began before counts with its share; a block without windows counts as a whole.
    """
    count = covered = 0.0
    for window in windows:
        first, last = (window.start_ns - zero_ns) / NS_PER_S, (window.end_ns - zero_ns) / NS_PER_S
        if block.process == window.process and block.start_s <= first < block.end_s and last > start_s:
            share = (last - max(first, start_s)) / (last - first)
            count += share * window.count
            covered += last - max(first, start_s)
    # between two windows lies their report, some 0.1 ms in which nothing runs, and after a paced load its last pause
    return count / max(covered, block.end_s - start_s) if covered > 0 else block.inferences / block.secs

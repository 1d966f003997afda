"""What ``RecordingMicroAllocator`` prints about an arena, as numbers.

TFLite Micro's Python package has no function that returns them; ``Interpreter.print_allocations`` writes them to the
file descriptor of stderr. Source: tensorflow/lite/micro/recording_micro_allocator.cc. Pure.
"""

import re
from dataclasses import dataclass

from edgekit.micro.entries import AllocationEntry

PREFIX = "[RecordingMicroAllocator] "
ARENA = re.compile(r"Arena allocation (total|head|tail) (\d{1,19}) bytes")
PART = re.compile(
    r"'([^']{1,80})' used (\d{1,19}) bytes with alignment overhead "
    r"\(requested \d{1,19} bytes for (\d{1,19}) [^)]{1,80}\)"
)


class NotAllocations(ValueError):
    """The text is not what ``print_allocations`` writes."""


@dataclass(frozen=True, kw_only=True)
class Allocations:
    """One arena after all tensors were allocated, bytes."""

    total: int
    head: int
    """Planned buffers: activations and scratch, shared by ops that do not run at the same time."""
    tail: int
    """What lives as long as the interpreter: structs of tensors and nodes, op data, variables."""
    parts: tuple[AllocationEntry, ...]
    """Of the tail, by what they are for; they need not sum up to it: the interpreter's own objects are not listed."""


def parse_allocations(text: str) -> Allocations:
    """Read the lines of the recorder, whatever else stands between them; raises NotAllocations."""
    sizes: dict[str, int] = {}
    parts = []
    for line in text.splitlines():
        if not line.startswith(PREFIX):
            continue
        said = line.removeprefix(PREFIX)
        if arena := ARENA.fullmatch(said):
            sizes[arena[1]] = int(arena[2])
        elif part := PART.fullmatch(said):
            parts.append(AllocationEntry(name=part[1], bytes=int(part[2]), count=int(part[3])))
        else:
            raise NotAllocations(f"the recorder says {said[:120]!r}")
    missing = {"total", "head", "tail"} - set(sizes)
    if missing:
        raise NotAllocations(f"no line says the arena's {', '.join(sorted(missing))}")
    return Allocations(total=sizes["total"], head=sizes["head"], tail=sizes["tail"], parts=tuple(parts))

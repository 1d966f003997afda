"""A model on TFLite Micro as people read it."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from edgekit.cli.options import output, print_findings

if TYPE_CHECKING:
    from edgekit.micro.entries import ArenaEntry, MicroEntry
    from edgekit.micro.examine import Examined


def render_micro(found: "Examined") -> None:
    """Findings on stderr, facts on stdout."""
    print_findings(found.findings)
    for line in describe_micro(found.entry) if found.entry else ():
        output().print(f"  {line}", markup=False)


def describe_micro(entry: "MicroEntry") -> "Iterator[str]":
    """Arena, comparison and operators, a line each."""
    if entry.arena is not None:
        yield _arena(entry.arena, of_reference=entry.ran == "reference")
    if entry.state_bytes:
        yield f"state {entry.state_bytes:,} bytes, kept by the application"
    yield f"flash {entry.model_bytes:,} bytes for the model; the code of the program is not counted"
    if entry.vectors:
        yield f"TFLite Micro against TFLite's reference kernels on {entry.vectors} vectors: {_difference(entry)}"
    yield f"op resolver: {', '.join(entry.resolver)}"


def _arena(arena: "ArenaEntry", *, of_reference: bool) -> str:
    what = " of the reference (the NPU's memory is what Vela says)" if of_reference else ""
    planning = arena.bytes - arena.used_bytes
    return (
        f"arena{what} {arena.bytes:,} bytes on this machine: {arena.nonpersistent_bytes:,} of activations and scratch, "
        f"{arena.persistent_bytes:,} of structs"
        + (f", {planning:,} while it is planned" if planning else "")
        + "; the board's kernels and pointers decide"
    )


def _difference(entry: "MicroEntry") -> str:
    found = []
    if entry.max_steps is not None:
        found.append(
            f"at most {entry.max_steps:g} step{'s' * (entry.max_steps != 1)}" if entry.max_steps else "the same bytes"
        )
    if entry.max_error is not None:
        found.append(f"at most {entry.max_error:.2g} of the largest value" if entry.max_error else "the same values")
    return ", ".join(found)

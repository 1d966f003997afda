"""Does a model fit a microcontroller's memory? Pure: figures in, findings out."""

from collections.abc import Iterator

from edgekit.micro.entries import MicroEntry
from edgekit.target import Memory, Target
from edgekit_converters.structure import OpInfo, Structure
from edgekit_converters.types import Finding

KIB = 1024
MAX_ARENA_BYTES = 2**30
"""Larger than the memory of anything TFLite Micro runs on."""
MIN_ARENA_BYTES = 2**20
MAY_SHARE = frozenset({"RESHAPE", "SQUEEZE", "EXPAND_DIMS", "CUSTOM"})
"""Their output may be where their input is: the same bytes, or memory that an NPU's compiler planned."""
CLOSE = 0.75
"""Of the memory; beyond it the target's own kernels and the rest of the program may not leave enough."""
ESTIMATE = "This machine's estimate: the target's kernels and pointers decide (tflite-micro#2474)."


def least_arena(structure: Structure) -> int:
    """Bytes below which no arena can be: the tensors that one operator reads and writes, which are there at once."""
    alone = (tensor.nbytes or 0 for tensor in structure.tensors if not tensor.constant)
    together = (_together(op) for op in structure.ops if op.name not in MAY_SHARE)
    return max((*alone, *together), default=0)


def _together(op: OpInfo) -> int:
    tensors = {tensor.index: tensor for tensor in (*op.inputs, *op.outputs) if tensor and not tensor.constant}
    return sum(tensor.nbytes or 0 for tensor in tensors.values())


def ample_arena(structure: Structure) -> int:
    """Bytes that are surely enough to run it, where ``MAX_ARENA_BYTES`` is: every tensor twice, scratch and structs."""
    sizes = sum(tensor.nbytes or 0 for tensor in structure.tensors if not tensor.constant)
    return min(MAX_ARENA_BYTES, MIN_ARENA_BYTES + 4 * sizes + 2 * structure.size_bytes)


def state_bytes(structure: Structure, states: frozenset[str]) -> int:
    """Of the state inputs called ``states``, which the application keeps from frame to frame."""
    shapes = {spec.name: index for spec, index in zip(structure.inputs, structure.input_indices, strict=True)}
    tensors = {tensor.index: tensor for tensor in structure.tensors if tensor.subgraph == 0}
    return sum(tensors[shapes[name]].nbytes or 0 for name in states)


def check_memory(entry: MicroEntry, target: Target) -> Iterator[Finding]:
    """Errors for what does not fit, warnings for what comes close, infos for what the profile does not say."""
    memory = target.memory
    unknown = [what for what, size in (("RAM", memory.sram_kib), ("flash", memory.flash_kib)) if size is None]
    if unknown:
        yield Finding(
            name="memory-unknown",
            severity="info",
            message=f"{target.name} does not say how much {' and '.join(unknown)} there is: nothing was compared.",
            fix="Copy the profile to ./targets and set memory.sram_kib and memory.flash_kib to your board's.",
        )
    yield from _check_ram(entry, memory, target.name)
    yield from _check_flash(entry, memory, target.name)


def _check_ram(entry: MicroEntry, memory: Memory, name: str) -> Iterator[Finding]:
    if memory.sram_kib is None or entry.arena is None or entry.ran == "reference":
        return  # of an NPU: its compiler tells its memory, and holds it against the profile
    needed, there = entry.arena.bytes + entry.state_bytes, memory.sram_kib * KIB
    parts = f"an arena of {entry.arena.bytes:,} bytes"
    if entry.state_bytes:
        parts += f" and {entry.state_bytes:,} bytes of state"
    if needed > there:
        yield Finding(
            name="ram-exceeded",
            severity="error",
            message=f"The model needs {parts}; {name} has {there:,} bytes of RAM. {ESTIMATE}",
            fix="Use a smaller input, fewer channels in the first layers, or a board with more RAM.",
        )
    elif needed > CLOSE * there:
        yield Finding(
            name="ram-close",
            severity="warning",
            message=f"The model needs {parts}, {100 * needed / there:.0f} % of the RAM of {name}; the stack and the "
            f"rest of the program need some, too. {ESTIMATE}",
            fix="Measure arena_used_bytes() on the board before you rely on it.",
        )


def _check_flash(entry: MicroEntry, memory: Memory, name: str) -> Iterator[Finding]:
    if memory.flash_kib is None:
        return
    there = memory.flash_kib * KIB
    code = "The code of the program is not known and not counted."
    if entry.model_bytes > there:
        yield Finding(
            name="flash-exceeded",
            severity="error",
            message=f"The model has {entry.model_bytes:,} bytes; {name} has {there:,} bytes of flash. {code}",
            fix="Use a smaller model, int8 weights, or a board with more flash.",
        )
    elif entry.model_bytes > CLOSE * there:
        yield Finding(
            name="flash-close",
            severity="warning",
            message=f"The model takes {entry.model_bytes:,} bytes, {100 * entry.model_bytes / there:.0f} % of the "
            f"flash of {name}. {code}",
            fix="Check the size of the program that is linked with it.",
        )

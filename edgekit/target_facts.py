"""A profile against what a device reports of itself, and a model against the profile's memory. Pure.

A profile decides what is built and how a result is read; one that is not true of its device is a finding wherever the
device is reached.
"""

import re
from collections.abc import Iterator, Mapping
from itertools import accumulate
from typing import Annotated, Any

import msgspec

from edgekit.documents import Document, convert
from edgekit.entries import FindingEntry
from edgekit.errors import DeviceFaultError
from edgekit.target import Target
from edgekit_converters.structure import Structure
from edgekit_converters.types import Finding

RESERVED_SHARE = 0.2
RESERVED_MIB = 64
"""What MemTotal may be less than the chips' size: the GPU's, the firmware's and the kernel's own. A Raspberry Pi gives
its GPU 64 or 76 MiB (https://www.raspberrypi.com/documentation/computers/legacy_config_txt.html, gpu_mem), a Jetson
Orin Nano of 8 GB keeps about 0.6 GB, and the kernel takes its page tables from the rest."""
ARCHITECTURES = {"arm64": "aarch64", "amd64": "x86_64", "armv8l": "armv7l", "armv6l": "armv7l"}
"""Names that uname(2) has for them, too; ``armv8l`` is a 32-bit process on a 64-bit CPU."""
CORE = re.compile(r"Cortex-[A-Z]\d+[A-Z]*")
MIB = 1024 * 1024

Text = Annotated[str, msgspec.Meta(max_length=1000)]
Count = Annotated[int, msgspec.Meta(ge=0, le=2**62)]


class Reported(Document, frozen=True, kw_only=True):
    """What ``edgekit/agent/machine.py`` says of a device; None where it does not tell."""

    architecture: Text | None = None
    """Of ``uname``."""
    cores: Count | None = None
    """CPUs that the kernel knows of, those that are switched off too."""
    memory_bytes: Count | None = None
    """MemTotal: without what the GPU, the firmware and the kernel keep."""
    cpu: Text | None = None
    """``Cortex-A72`` on ARM, the marketing name on x86."""


def read_reported(facts: Mapping[str, Any]) -> Reported:
    """Of the agent's ``info`` or ``machine`` event, from which the rest is left; raises DeviceFaultError."""
    known = {field.name for field in msgspec.structs.fields(Reported)}
    told = {key: value for key, value in facts.items() if key in known}
    return convert(told, Reported, DeviceFaultError, where="what the device says of itself")


def check_facts(target: Target, reported: Reported) -> tuple[FindingEntry, ...]:
    """Warnings ``profile-KEY`` for what the profile says and the device does not confirm; each has both values.

    A profile without ``memory.ram_mib`` is one of many machines: its cores are the least that there are.
    """
    return (
        *_architecture(target, reported),
        *_cpu(target, reported),
        *_cores(target, reported),
        *_memory(target, reported),
    )


def _architecture(target: Target, reported: Reported) -> Iterator[FindingEntry]:
    found = reported.architecture and ARCHITECTURES.get(reported.architecture, reported.architecture)
    if found and found != target.cpu.architecture:
        yield _finding(target, "cpu.architecture", target.cpu.architecture, reported.architecture)


def _cpu(target: Target, reported: Reported) -> Iterator[FindingEntry]:
    said, found = CORE.findall(target.cpu.model), CORE.findall(reported.cpu or "")
    if said and found and not set(said) & set(found):
        yield _finding(target, "cpu.model", target.cpu.model, reported.cpu)


def _cores(target: Target, reported: Reported) -> Iterator[FindingEntry]:
    cores, found = target.cpu.cores, reported.cores
    if found and (found < cores or (target.memory.ram_mib and found != cores)):
        yield _finding(target, "cpu.cores", cores, found)


def _memory(target: Target, reported: Reported) -> Iterator[FindingEntry]:
    sizes, found = target.memory.ram_mib, reported.memory_bytes
    if not sizes or not found or any(_least(size) <= found / MIB <= size for size in sizes):
        return
    yield _finding(target, "memory.ram_mib", " or ".join(map(str, sizes)), f"{found / MIB:.0f} MiB")


def _least(size_mib: int) -> float:
    return size_mib * (1 - RESERVED_SHARE) - RESERVED_MIB


def _finding(target: Target, key: str, said: object, found: object) -> FindingEntry:
    return FindingEntry(
        name=f"profile-{key.rpartition('.')[2].replace('_', '-')}",
        severity="warning",
        message=f"The profile {target.name} says {key} {said}, and the device reports {found}.",
        fix="Give the device another `target`, or correct the profile; a shipped one in a copy: "
        f"edgekit target new NAME --from {target.name}.",
    )


def check_memory(structure: Structure, target: Target) -> Iterator[Finding]:
    """A warning where file and activations cannot be in the smallest memory the target is sold with.

    Microcontrollers are left out: TFLite Micro measures their arena.
    """
    activations = peak_activation_bytes(structure)
    if target.os == "none" or not target.memory.ram_mib or activations is None:
        return
    smallest, needed = min(target.memory.ram_mib), structure.size_bytes + activations
    if needed > smallest * MIB:
        more = ", and its smallest has" if len(target.memory.ram_mib) > 1 else ", which has"
        yield Finding(
            name="memory",
            severity="warning",
            message=f"The model needs at least {needed / MIB:,.0f} MiB ({structure.size_bytes / MIB:,.0f} of the file, "
            f"{activations / MIB:,.0f} of activations) on {target.name}{more} {smallest:,} MiB of RAM.",
            fix="Use a smaller model or input, or a board with more memory; `edgekit bench` measures the peak.",
        )


def peak_activation_bytes(structure: Structure) -> int | None:
    """The most that is alive at once, in bytes: no arena can be smaller. None where a shape is open.

    A tensor lives from the op that writes it to the last one that reads it; an input from the start, what nobody reads
    and a variable to the end. Of several subgraphs it is the largest one's.
    """
    peaks = [_peak_of(structure, subgraph) for subgraph in range(structure.subgraphs)]
    return None if None in peaks else max((peak for peak in peaks if peak is not None), default=0)


def _peak_of(structure: Structure, subgraph: int) -> int | None:
    ops = [op for op in structure.ops if op.subgraph == subgraph]
    written = {tensor.index: step for step, op in enumerate(ops) for tensor in op.outputs}
    read = {tensor.index: step for step, op in enumerate(ops) for tensor in op.inputs if tensor is not None}
    changes = [0] * (len(ops) + 2)  # bytes that come to life, less those that end, at each step
    for tensor in structure.tensors:
        if tensor.subgraph != subgraph or tensor.constant:
            continue
        if tensor.nbytes is None:
            return None
        first = 0 if tensor.variable else written.get(tensor.index, 0)
        last = len(ops) if tensor.variable else max(first, read.get(tensor.index, len(ops)))
        changes[first] += tensor.nbytes
        changes[last + 1] -= tensor.nbytes
    return max(accumulate(changes))

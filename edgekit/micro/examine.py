"""A model and a microcontroller's profile in, what TFLite Micro makes of them out: facts and findings."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgekit.agent.selftest import compare_output
from edgekit.errors import MicroError
from edgekit.micro.entries import ArenaEntry, MicroEntry
from edgekit.micro.host import HostRun, run_on_host
from edgekit.micro.limits import Limit, limits_of
from edgekit.micro.memory import MAX_ARENA_BYTES, ample_arena, check_memory, least_arena, state_bytes
from edgekit.micro.resolver import BUILTINS, CUSTOM, operators, resolver_methods
from edgekit.target import Target
from edgekit_converters.structure import Structure, read_structure
from edgekit_converters.types import Finding

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

ETHOS_U = "ethos-u"
DTYPES = frozenset({"float32", "int4", "int8", "uint8", "int16", "int32", "uint32", "int64", "bool", "resource"})
"""Of tensors in TFLite Micro: TfLiteTypeSizeOf and its kernels; float16, float64, complex numbers and text are not."""


@dataclass(frozen=True, kw_only=True)
class Files:
    """What runs on the target, and what any TFLite runtime runs; the same but for a compiled model."""

    model: bytes
    reference: bytes


@dataclass(frozen=True, kw_only=True)
class MicroVector:
    """Inputs in the model's order and dtypes, and the outputs that TFLite's reference kernels gave."""

    inputs: "tuple[Array, ...]"
    outputs: "tuple[Array, ...]"


@dataclass(frozen=True, kw_only=True)
class Examined:
    """What is known of a model on TFLite Micro."""

    entry: MicroEntry | None
    """None where the findings say why it does not run."""
    findings: tuple[Finding, ...]


def examine(
    files: Files,
    target: Target,
    *,
    vectors: Sequence[MicroVector],
    states: frozenset[str] = frozenset(),
) -> Examined:
    """Run the model in TFLite Micro's interpreter, compare it, and hold it against the target's memory.

    ``vectors`` may be empty: then all tensors are allocated and nothing is run or compared. ``states`` are the inputs
    that the application keeps from frame to frame. Raises MicroError where tflite-micro is missing or cannot be used,
    SourceError for what is no .tflite.
    """
    structure = read_structure(files.model)
    refused = tuple(check_structure(structure))
    if refused:
        return Examined(entry=None, findings=refused)
    on_npu = ETHOS_U in structure.custom_counts
    runnable = read_structure(files.reference) if on_npu else structure
    run = run_on_host(
        files.reference if on_npu else files.model,
        [vector.inputs for vector in vectors],
        outputs=len(runnable.outputs),
        arena_bytes=ample_arena(runnable),
    )
    if run.refusal is not None and not on_npu:
        return Examined(entry=None, findings=(_refused(run),))
    compared = _compare(vectors, run, limits_of(runnable))
    entry = _entry(structure, run, compared, on_npu=on_npu, states=states)
    findings = (*_differences(compared), *check_memory(entry, target), *(_of_npu(run) if on_npu else ()))
    return Examined(entry=entry, findings=findings)


def examine_file(model: bytes, target: Target, *, reference: bytes | None = None) -> Examined:
    """What ``edgekit inspect`` shows of any .tflite: all tensors are allocated, nothing is run.

    ``reference``: what ``model`` was compiled from, if it is known. That TFLite Micro cannot be used here is a finding.
    Raises SourceError for what is no .tflite.
    """
    files = Files(model=model, reference=reference or model)
    try:
        return examine(files, target, vectors=())
    except MicroError as err:
        found = Finding(name="micro-not-checked", severity="warning", message=err.message, fix=err.hint)
        return Examined(entry=None, findings=(found,))


def check_structure(structure: Structure) -> Iterator[Finding]:
    """What can be told from the file alone: operators, shapes, dtypes, tensors larger than any memory. Pure."""
    for name in operators(structure):
        known = BUILTINS if name in structure.builtin_counts else CUSTOM
        if name not in known:
            yield _error(
                "unsupported-op",
                f"TFLite Micro has no kernel for {name}.",
                "Replace the layer by ones with other operators, or do this part before or after the model.",
            )
    for tensor in structure.tensors:
        if any(size < 0 for size in tensor.shape):
            yield _error(
                "dynamic-shape",
                f"The tensor {tensor.name!r} has the open shape {list(tensor.shape)}, and TFLite Micro plans its "
                "memory once, before anything runs.",
                "Build the model from its source with edgekit, which makes every shape static.",
            )
            break
    for dtype in sorted({tensor.dtype for tensor in structure.tensors} - DTYPES):
        yield _error(
            "unsupported-dtype",
            f"TFLite Micro has no kernels for {dtype}, which tensors of the model hold.",
            "Build it with --precision int8, int16x8 or float32.",
        )
    if (least := least_arena(structure)) > MAX_ARENA_BYTES:
        yield _error(
            "ram-exceeded",
            f"The arena would have at least {least:,} bytes, for the tensors of one operator alone.",
            "No microcontroller has that much; use a much smaller input.",
        )


def _compare(vectors: Sequence[MicroVector], run: HostRun, limits: Sequence[Limit]) -> list[dict[str, Any]]:
    return [
        compare_output(expected, found, vars(limit))
        for vector, outputs in zip(vectors, run.outputs, strict=True)
        for expected, found, limit in zip(vector.outputs, outputs, limits, strict=True)
    ]


def _entry(
    structure: Structure, run: HostRun, compared: Sequence[dict[str, Any]], *, on_npu: bool, states: frozenset[str]
) -> MicroEntry:
    return MicroEntry(
        version=run.version,
        ran=None if run.refusal else "reference" if on_npu else "model",
        ops=operators(structure),
        resolver=resolver_methods(structure),
        arena=_arena(run),
        state_bytes=state_bytes(structure, states),
        model_bytes=structure.size_bytes,
        max_steps=_largest(compared, "steps"),
        max_error=_largest(compared, "relative"),
        vectors=len(run.outputs),
    )


def _largest(compared: Sequence[dict[str, Any]], unit: str) -> float | None:
    found = [result["difference"] for result in compared if result["unit"] == unit]
    return max(found) if found and None not in found else None


def _differences(compared: Sequence[dict[str, Any]]) -> Iterator[Finding]:
    bad = [result for result in compared if not result["passed"]]
    if not bad:
        return
    worst = max(bad, key=lambda result: float("inf") if result["difference"] is None else result["difference"])
    if worst["difference"] is None:
        how = "NaN or infinity on one side"
    elif worst["unit"] == "steps":
        how = f"{worst['difference']:g} steps ({worst['allowed']:g} allowed)"
    else:
        how = f"{worst['difference']:.2g} of the largest value ({worst['allowed']:.2g} allowed)"
    if worst["top1"] and worst["top1"][0] != worst["top1"][1]:
        how += f", class {worst['top1'][1]} instead of {worst['top1'][0]}"
    yield _error(
        "micro-differs",
        f"TFLite Micro computes something else than TFLite's reference kernels: {how}.",
        "Build with another --precision; if it stays, report the model to tflite-micro.",
    )


def _arena(run: HostRun) -> ArenaEntry | None:
    if run.arena_bytes is None or run.allocations is None:
        return None
    return ArenaEntry(
        bytes=run.arena_bytes,
        used_bytes=run.allocations.total,
        nonpersistent_bytes=run.allocations.head,
        persistent_bytes=run.allocations.tail,
        allocations=run.allocations.parts,
    )


def _refused(run: HostRun) -> Finding:
    return _error(
        "micro-refuses",
        f"TFLite Micro (tflite-micro {run.version}) refuses the model: {run.refusal}.",
        "Replace the layer that holds the op, or build with another --precision.",
    )


def _of_npu(run: HostRun) -> Iterator[Finding]:
    if run.refusal is None:
        yield Finding(
            name="npu-not-on-host",
            severity="info",
            message="No host has the NPU's operator (ethos-u): its reference was run in TFLite Micro instead. The "
            "arena is the reference's; the compiled file's memory is what Vela says.",
            fix="Compare outputs and arena_used_bytes() on the board or a Corstone FVP.",
        )
    else:
        yield Finding(
            name="micro-not-run",
            severity="warning",
            message="What the file computes was not compared: no host has the NPU's operator (ethos-u), and TFLite "
            f"Micro (tflite-micro {run.version}) refuses its reference: {run.refusal}.",
            fix="Compare outputs on the board or a Corstone FVP.",
        )


def _error(name: str, message: str, fix: str) -> Finding:
    return Finding(name=name, severity="error", message=message, fix=fix)

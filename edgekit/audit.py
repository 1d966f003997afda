"""What is really in a finished .tflite, against what was promised; and whether it runs, with XNNPACK and without."""

import math
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edgekit.agent.child import run_child
from edgekit.agent.events import AgentError
from edgekit.agent.runtime import NONE, XNNPACK
from edgekit.errors import AuditError, ModelError
from edgekit.target import IoName, PrecisionName, Target
from edgekit_converters.errors import ConverterError
from edgekit_converters.structure import Structure, TensorInfo, read_structure
from edgekit_converters.types import Finding

QUANTIZED = frozenset({"int4", "int8", "uint8", "int16"})
REAL = frozenset({"float16", "float32", "float64", "bfloat16"})
BOUNDARY_OPS = frozenset({"QUANTIZE", "DEQUANTIZE"})
"""Between float inputs or outputs and a full-integer inside, with ``--io float32``."""
SMALL_WEIGHT = 1024
"""Elements below which ai-edge-quantizer leaves a weight as it is: nothing is gained there."""
DISAGREEMENT = {"quantized": 8.0, "float": 0.05}
"""XNNPACK against the plain kernels on random input, in steps or relative; beyond it somebody is wrong."""


@dataclass(frozen=True, kw_only=True)
class Audit:
    """A file that keeps its promises."""

    structure: Structure
    findings: tuple[Finding, ...]
    """Warnings and notes; an error raises AuditError."""


def audit(tflite: bytes, *, precision: PrecisionName, io: IoName, target: Target) -> Audit:
    """Check the finished file.

    Raises:
        AuditError: it is not what was asked for, holds an op that the target's runtime does not have, or does not
            prepare or run (exit code 3); ``details`` hold every finding.
        ModelError: it is no .tflite.
    """
    structure = read(tflite)
    findings = (
        *check_precision(structure, precision, io),
        *check_ops(structure, target),
        *check_execution(tflite, structure),
    )
    errors = [finding for finding in findings if finding.severity == "error"]
    if errors:
        more = f" ({len(errors) - 1} more: {', '.join(finding.name for finding in errors[1:])})" if errors[1:] else ""
        raise AuditError(
            f"The file is not what was asked for: {errors[0].message}{more}",
            hint=errors[0].fix,
            details={"findings": findings},
        )
    return Audit(structure=structure, findings=findings)


def read(tflite: bytes, *, what: str = "the model") -> Structure:
    """Parse a .tflite; raises ModelError for what is none or is damaged."""
    try:
        return read_structure(tflite, what=what)
    except ConverterError as err:
        raise ModelError(err.message, hint=err.hint) from err


def check_precision(structure: Structure, precision: PrecisionName, io: IoName) -> Iterator[Finding]:
    """Does the file hold what the precision promises? Pure."""
    weights = [tensor for tensor in structure.tensors if tensor.constant and tensor.dtype in QUANTIZED | REAL]
    if precision == "float32":
        yield from _found_quantized(structure, "float32")
    elif precision == "float16":
        yield from _found_quantized(structure, "float16")
        yield from _nothing_changed(weights, {"float16"}, "float16")
    elif precision == "dynamic":
        yield from _nothing_changed(weights, {"int8", "int4"}, "dynamic")
    else:
        yield from _found_float(structure, io)
        yield from _wrong_io(structure, io)


def _found_quantized(structure: Structure, precision: str) -> Iterator[Finding]:
    quantized = [tensor for tensor in structure.tensors if tensor.dtype in QUANTIZED and tensor.scales]
    if quantized:
        yield _broken(
            "quantized-tensor",
            f"{len(quantized)} tensors of a {precision} file are quantized, such as {_name(quantized[0])}.",
            "The source holds quantized weights already; give the float model it was made from.",
        )


def _nothing_changed(weights: list[TensorInfo], wanted: set[str], precision: str) -> Iterator[Finding]:
    large = [tensor for tensor in weights if math.prod(tensor.shape) >= SMALL_WEIGHT]
    changed = [tensor for tensor in weights if tensor.dtype in wanted]
    if changed or not weights:
        return
    if large:
        yield _broken(
            "nothing-changed",
            f"{precision} was asked for, and none of the {len(weights)} weights is {' or '.join(sorted(wanted))}.",
            "Build with --precision float32, or int8 with calibration data.",
        )
    else:
        yield Finding(
            name="nothing-to-gain",
            severity="warning",
            message=f"No weight has {SMALL_WEIGHT} elements or more, so {precision} left all of them in float32.",
            fix="Build with --precision float32 to say so, or int8 with calibration data.",
        )


def _found_float(structure: Structure, io: IoName) -> Iterator[Finding]:
    allowed = _boundary(structure) if io == "float32" else set()
    floats = [tensor for tensor in structure.tensors if tensor.dtype in REAL and tensor.name not in allowed]
    if floats:
        users = sorted({op.name for op in structure.ops if any(t in floats for t in (*op.inputs, *op.outputs))})
        yield _broken(
            "float-in-int8",
            f"{len(floats)} tensors of an int8 file are float, such as {_name(floats[0])}; "
            f"used by {', '.join(users) or 'no op'}.",
            "Replace these layers by ones that have an int8 kernel, or build with --precision float16.",
        )


def _boundary(structure: Structure) -> set[str]:
    """Names of the float inputs and outputs that a QUANTIZE or DEQUANTIZE separates from the integer inside."""
    return {
        tensor.name
        for op in structure.ops
        if op.name in BOUNDARY_OPS
        for tensor in (*op.inputs, *op.outputs)
        if tensor is not None and tensor.dtype == "float32" and not tensor.constant
    }


def _wrong_io(structure: Structure, io: IoName) -> Iterator[Finding]:
    for kind, tensors in (("input", structure.inputs), ("output", structure.outputs)):
        for tensor in tensors:
            if tensor.dtype in QUANTIZED | REAL and tensor.dtype != io:
                yield _broken(
                    "wrong-io",
                    f"The {kind} {tensor.name} is {tensor.dtype}; {io} was asked for.",
                    f"Build with --io {tensor.dtype}.",
                )
            elif io != "float32" and tensor.dtype == io and tensor.scale is None:
                yield _broken(
                    "io-without-scale",
                    f"The {kind} {tensor.name} is {io} and has no scale: nobody could tell what its values mean.",
                    "Report the model: the conversion is wrong.",
                )


def check_ops(structure: Structure, target: Target) -> Iterator[Finding]:
    """Has the target's runtime every op? Pure."""
    runtime = target.runtime
    for name, count in structure.builtin_counts.items():
        if "*" not in runtime.ops and name not in runtime.ops:
            yield _broken(
                "unsupported-op",
                f"{target.name}'s runtime does not have {name} ({count} times in this model).",
                "Replace the layer, or choose another target.",
            )
    for name, count in structure.custom_counts.items():
        if name in runtime.custom_ops:
            continue
        flex = "TensorFlow's own kernels (Flex)" if name.startswith("Flex") else "a custom kernel"
        yield _broken(
            "custom-op",
            f"The op {name} ({count} times) needs {flex}, which {target.name}'s runtime does not have.",
            "Replace the layer by ones with builtin operators, or do this part before or after the model.",
        )


def check_execution(tflite: bytes, structure: Structure) -> Iterator[Finding]:
    """Does it load, prepare and run, with XNNPACK and with the plain kernels? In a process of its own."""
    with tempfile.TemporaryDirectory(prefix="edgekit-audit-") as folder:
        path = Path(folder) / "model.tflite"
        path.write_bytes(tflite)
        try:
            result = run_child("prepare", {"model": str(path), "delegates": [XNNPACK, NONE]})
        except AgentError as err:
            yield _broken("crash", f"The runtime did not survive the file. {err.message}", err.hint)
            return
    for delegate, refusal in result["delegates"].items():
        if refusal is not None:
            how = "with XNNPACK" if delegate == XNNPACK else "with the plain kernels"
            yield _broken(
                "does-not-run",
                f"The runtime refuses the file {how}: {' '.join(refusal.split())}",
                "Build with another --precision; if the float32 file is refused too, report the model.",
            )
    yield from _disagreements(result["disagreement"], structure)


def _disagreements(differences: dict[str, float], structure: Structure) -> Iterator[Finding]:
    dtypes = {tensor.name: tensor.dtype for tensor in structure.outputs}
    for name, difference in differences.items():
        kind, unit = ("float", "of the largest value") if dtypes.get(name) in REAL else ("quantized", "steps")
        if difference > DISAGREEMENT[kind]:
            yield Finding(
                name="kernels-disagree",
                severity="warning",
                message=f"XNNPACK and the plain kernels differ by {difference:.3g} {unit} in {name}, on random input.",
                fix="Measure the accuracy with --evaluate; on the device the golden vectors decide.",
            )


def _broken(name: str, message: str, fix: str) -> Finding:
    return Finding(name=name, severity="error", message=message, fix=fix)


def _name(tensor: TensorInfo) -> str:
    return f"{tensor.name!r} ({tensor.dtype})"

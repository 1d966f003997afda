"""What is really in a finished .tflite, against what was promised; and whether it runs, with XNNPACK and without.

What its tensors hold is checked in ``precision.py``; here, whether the target has its ops and whether it runs.
"""

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from edgekit.agent.child import run_child
from edgekit.agent.events import AgentError
from edgekit.agent.runtime import NONE, XNNPACK
from edgekit.compilers.plan import compiled_for
from edgekit.errors import AuditError, ModelError
from edgekit.precision import REAL, broken, check_precision
from edgekit.streams import check_states
from edgekit.target import Target
from edgekit.target_facts import check_memory
from edgekit_converters.errors import ConverterError
from edgekit_converters.structure import Structure, read_structure
from edgekit_converters.types import Finding, Scheme

DISAGREEMENT = {"quantized": 8.0, "float": 0.05}
"""XNNPACK against the plain kernels on random input, in steps or relative; beyond it somebody is wrong."""


@dataclass(frozen=True, kw_only=True)
class Audit:
    """A file that keeps its promises."""

    structure: Structure
    findings: tuple[Finding, ...]
    """Warnings and notes; an error raises AuditError."""


def audit(tflite: bytes, *, scheme: Scheme, target: Target, states: Mapping[str, str] | None = None) -> Audit:
    """Check the finished file; ``states`` are a stream's: input -> the output that becomes it.

    Raises:
        AuditError: it is not what was asked for, holds an op that the target's runtime does not have, or does not
            prepare or run (exit code 3); ``details`` hold every finding.
        ModelError: it is no .tflite.
    """
    structure = read(tflite)
    findings = (
        *check_precision(structure, scheme),
        *check_states(structure, states or {}),
        *(check_ops(structure, target) if compiled_for(target) is None else ()),  # then of what is left to the CPU
        *check_delegate(scheme, target),
        *check_memory(structure, target),
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


def check_ops(structure: Structure, target: Target) -> Iterator[Finding]:
    """Has the target's runtime every op? Pure."""
    runtime = target.runtime
    for name, count in structure.builtin_counts.items():
        if "*" not in runtime.ops and name not in runtime.ops:
            yield broken(
                "unsupported-op",
                f"{target.name}'s runtime does not have {name} ({count} times in this model).",
                "Replace the layer, or choose another target.",
            )
    for name, count in structure.custom_counts.items():
        if name in runtime.custom_ops:
            continue
        flex = "TensorFlow's own kernels (Flex)" if name.startswith("Flex") else "a custom kernel"
        yield broken(
            "custom-op",
            f"The op {name} ({count} times) needs {flex}, which {target.name}'s runtime does not have.",
            "Replace the layer by ones with builtin operators, or do this part before or after the model.",
        )


def check_delegate(scheme: Scheme, target: Target) -> Iterator[Finding]:
    """Does the target's delegate compute this precision at all? Pure."""
    if scheme.precision == "int16x8" and target.delegate == XNNPACK:
        yield Finding(
            name="plain-kernels",
            severity="warning",
            message="XNNPACK computes nothing in int16: the whole file runs on the runtime's plain kernels, "
            "often many times slower than int8 or float32.",
            fix="Compare them with `edgekit tune`; float16 keeps as much accuracy and is computed by XNNPACK.",
        )


def check_execution(tflite: bytes, structure: Structure) -> Iterator[Finding]:
    """Does it load, prepare and run, with XNNPACK and with the plain kernels? In a process of its own."""
    with tempfile.TemporaryDirectory(prefix="edgekit-audit-") as folder:
        path = Path(folder) / "model.tflite"
        path.write_bytes(tflite)
        try:
            result = run_child("prepare", {"model": str(path), "delegates": [XNNPACK, NONE]})
        except AgentError as err:
            yield broken("crash", f"The runtime did not survive the file. {err.message}", err.hint)
            return
    for delegate, refusal in result["delegates"].items():
        if refusal is not None:
            how = "with XNNPACK" if delegate == XNNPACK else "with the plain kernels"
            yield broken(
                "does-not-run",
                f"The runtime refuses the file {how}: {' '.join(refusal.split())}",
                "Build with another --precision; if the float32 file is refused too, report the model.",
            )
    yield from _disagreements(result["disagreement"], structure)


def _disagreements(differences: dict[str, float], structure: Structure) -> Iterator[Finding]:
    dtypes = {tensor.name: tensor.dtype for tensor in structure.outputs}
    for name, difference in differences.items():
        kind, unit = ("float", "of the largest value") if dtypes.get(name) in REAL else ("quantized", "steps")
        if not difference <= DISAGREEMENT[kind]:  # so that a NaN is said, too
            yield Finding(
                name="kernels-disagree",
                severity="warning",
                message=f"XNNPACK and the plain kernels differ by {difference:.3g} {unit} in {name}, on random input.",
                fix="Measure the accuracy with --evaluate; on the device the golden vectors decide.",
            )

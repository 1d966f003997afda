"""What a compiler made, read from the file itself: an exit status of 0 says nothing."""

from collections import Counter
from collections.abc import Iterator, Mapping

from edgekit.errors import AuditError, CompilerError
from edgekit_converters.errors import ConverterError
from edgekit_converters.structure import OpInfo, Structure, read_structure
from edgekit_converters.types import Finding, TensorSpec

SHOWN_REASONS = 3


def read_compiled(tflite: bytes, compiler: str) -> Structure:
    """Parse what a compiler wrote; raises CompilerError for what is no .tflite."""
    try:
        return read_structure(tflite, what=f"the file that {compiler} wrote")
    except ConverterError as err:
        raise CompilerError(
            f"{compiler} did not write a whole .tflite: {err.message}", hint="Look for its errors in the log."
        ) from err


def ops_on_cpu(compiled: Structure, accelerator_ops: frozenset[str]) -> dict[str, int]:
    """Operator -> how many are left to the CPU, by name. Pure."""
    names = (op.custom or op.name for op in compiled.ops if op.custom not in accelerator_ops)
    return dict(sorted(Counter(names).items()))


def taken_ops(reference: Structure, compiled: Structure, accelerator_ops: frozenset[str]) -> tuple[int, ...]:
    """Indices of the reference's ops, of subgraph 0, that the accelerator runs. Pure.

    A compiler keeps the ops that it leaves to the CPU, with the names of their outputs.
    """
    left = {_identity(op) for op in compiled.ops if op.subgraph == 0 and op.custom not in accelerator_ops}
    return tuple(op.index for op in reference.ops if op.subgraph == 0 and _identity(op) not in left)


def check_memory(used_kib: float | None, has_kib: float | None, *, what: str, target: str) -> Iterator[Finding]:
    """Does the compiled model fit? Pure; nothing is known where either is None."""
    if used_kib is not None and has_kib is not None and used_kib > has_kib:
        yield Finding(
            name="does-not-fit",
            severity="error",
            message=f"The compiled model uses {used_kib:,.1f} KiB of {what}; {target} has {has_kib:,.0f} KiB.",
            fix="Choose another memory mode or setting of the compiler, make the model smaller, or correct the "
            "profile's [memory] if the board has more.",
        )


def audit_compiled(
    reference: Structure,
    compiled: Structure,
    *,
    compiler: str,
    accelerator_ops: frozenset[str],
    told_cpu_ops: int | None,
    reasons: Mapping[str, str],
) -> dict[str, int]:
    """Operator -> how many of the reference's are left to the CPU. Pure.

    Raises:
        AuditError: nothing is on the accelerator, inputs or outputs are others than the reference's, an op of the CPU
            is not in the reference, or the file holds another number of them than the compiler says (exit code 3).
    """
    on_cpu = ops_on_cpu(compiled, accelerator_ops)
    _something_on_the_accelerator(compiled, compiler, accelerator_ops, on_cpu, reasons)
    _same_io("input", reference.inputs, compiled.inputs, compiler)
    _same_io("output", reference.outputs, compiled.outputs, compiler)
    known = Counter(op.custom or op.name for op in reference.ops)
    for name, count in on_cpu.items():
        if count > known[name]:
            raise AuditError(
                f"The file that {compiler} wrote has {count} {name} on the CPU, and the model it was made from "
                f"has {known[name]}.",
                hint=f"Report the model to the makers of {compiler}; another version of it may do better.",
            )
    if told_cpu_ops is not None and told_cpu_ops != sum(on_cpu.values()):
        raise AuditError(
            f"{compiler} says that {told_cpu_ops} ops are left to the CPU; in its file there are "
            f"{sum(on_cpu.values())}: {_listed(on_cpu)}.",
            hint="Use the version of the compiler that docs/compilers.md names.",
        )
    return on_cpu


def _something_on_the_accelerator(
    compiled: Structure,
    compiler: str,
    accelerator_ops: frozenset[str],
    on_cpu: Mapping[str, int],
    reasons: Mapping[str, str],
) -> None:
    if any(op.custom in accelerator_ops for op in compiled.ops):
        return
    why = "; ".join(dict.fromkeys(list(reasons.values())[:SHOWN_REASONS]))
    dtypes = {tensor.dtype for tensor in compiled.tensors}
    raise AuditError(
        f"{compiler} put nothing on the accelerator: all {sum(on_cpu.values())} ops are left to the CPU "
        f"({_listed(on_cpu)}). {f'Why: {why}' if why else 'It gives no reason'}.",
        hint="Build with --precision int8: the accelerator computes in integers."
        if "float32" in dtypes and "int8" not in dtypes
        else "`edgekit inspect MODEL --target NAME` says what the accelerator takes.",
        details={"ops_on_cpu": dict(on_cpu), "reasons": dict(reasons)},
    )


def _identity(op: OpInfo) -> tuple[str, tuple[str, ...]]:
    return op.custom or op.name, tuple(tensor.name for tensor in op.outputs)


def _same_io(kind: str, expected: tuple[TensorSpec, ...], found: tuple[TensorSpec, ...], compiler: str) -> None:
    """By name, as golden vectors and applications know them; a compiler may change the order."""
    hint = f"Report the model to the makers of {compiler}; another version of it may do better."
    own, other = {spec.name: spec for spec in expected}, {spec.name: spec for spec in found}
    if own.keys() != other.keys():
        raise AuditError(
            f"{compiler} changed the {kind}s: the model has {', '.join(sorted(own))}, its file "
            f"{', '.join(sorted(other)) or 'none'}.",
            hint=hint,
        )
    for name, spec in own.items():
        if _described(spec) != _described(other[name]):
            raise AuditError(
                f"{compiler} changed the {kind} {name}: {_described(spec)} became {_described(other[name])}.", hint=hint
            )


def _described(spec: TensorSpec) -> str:
    return f"{spec.dtype} {list(spec.shape)}, scale {spec.scale}, zero point {spec.zero_point}"


def _listed(on_cpu: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in on_cpu.items()) or "none"

"""The last step of a build where the accelerator needs a compiler: the quantized model becomes the file that runs."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from edgekit.compilers.entries import CompilationEntry
from edgekit.compilers.step import check_compiler, compile_model
from edgekit.compilers.types import Compiled
from edgekit.errors import AuditError, ProjectError
from edgekit.plan import BuildPlan
from edgekit.progress import Progress
from edgekit.steps import LOGS, Calibrated
from edgekit.target import Target
from edgekit_converters.types import Finding, FloatModel, QuantizedModel

CHIP_SETTINGS = frozenset({"accelerator_config", "hw_arch", "soc_model", "target_platform"})
"""Settings of compilers that name the chip: a file for one does not run on another."""

if TYPE_CHECKING:
    import numpy as np

    Arrays = Mapping[str, np.ndarray[Any, Any]]


def with_compiler(plan: BuildPlan, *, measures: bool) -> BuildPlan:
    """The plan with its compiler's version, asked before minutes go into a conversion.

    ``measures``: a device times the candidates of a search. Raises CompilerError where the compiler is missing or set
    wrongly, ProjectError where candidates that nobody compiled were to be timed.
    """
    if plan.compilation is None:
        return plan
    accelerator, settings = plan.compilation.accelerator, plan.compilation.settings
    if measures:
        raise ProjectError(
            f"--device times the candidates of a search on the CPU, and {plan.target.name} runs them on "
            f"{accelerator.name}, compiled.",
            hint="Leave --device away: the search then goes by rule.",
        )
    _, version = check_compiler(plan.target, accelerator, settings, plan.directory)
    return replace(plan, compilation=replace(plan.compilation, version=version))


def compile_for_target(
    plan: BuildPlan, float_model: FloatModel, model: QuantizedModel, calibrated: Calibrated | None, progress: Progress
) -> Compiled | None:
    """The file that runs on the target's accelerator; None where that takes the model as it is.

    Raises CompilerError, and AuditError where nothing is on the accelerator (exit code 3).
    """
    if plan.compilation is None:
        return None
    source = plan.source.directory / plan.source.spec
    compiled = compile_model(
        model.tflite,
        target=plan.target,
        accelerator=plan.compilation.accelerator,
        settings=plan.compilation.settings,
        directory=plan.directory,
        log_folder=plan.directory / LOGS,
        progress=progress,
        float_tflite=float_model.tflite,
        source=source if source.is_file() else None,
        samples=None if calibrated is None else lambda: _in_order(float_model, calibrated),
    )
    _check_left(compiled, plan)
    return replace(compiled, findings=(*compiled.findings, *compilation_findings(compiled.entry, plan.target)))


def _check_left(compiled: Compiled, plan: BuildPlan) -> None:
    """What the compiler left to the CPU must be among the runtime's own ops."""
    from edgekit.audit import check_ops, read

    if not compiled.name.endswith(".tflite"):
        return
    for finding in check_ops(read(compiled.model), plan.target):
        raise AuditError(
            f"{compiled.entry.compiler} left to the CPU what it cannot run: {finding.message}", hint=finding.fix
        )


def _in_order(float_model: FloatModel, calibrated: Calibrated) -> "Iterator[Arrays]":
    for sample in calibrated.samples():
        yield {spec.name: sample[spec.name] for spec in float_model.inputs}


def compilation_findings(entry: CompilationEntry, target: Target) -> Iterator[Finding]:
    """What a user should know of a compiled file."""
    own = target.accelerators[0].settings if target.accelerators else {}
    for name in sorted(CHIP_SETTINGS & own.keys() & entry.settings.keys()):
        if entry.settings[name] != str(own[name]):
            yield Finding(
                name="other-chip",
                severity="warning",
                message=f"The file is for {entry.settings[name]}, by the setting {name}; {target.name} has "
                f"{own[name]}.",
                fix=f"Leave the setting away, or keep it in a profile: edgekit target new NAME --from {target.name}.",
            )
    if entry.ops_on_cpu:
        left = ", ".join(f"{count} {name}" for name, count in entry.ops_on_cpu.items())
        why = "; ".join(f"{name}: {reason}" for name, reason in entry.reasons.items() if name in entry.ops_on_cpu)
        taken = entry.ops_on_accelerator
        yield Finding(
            name="ops-on-cpu",
            severity="warning",
            message=f"{entry.compiler} leaves {sum(entry.ops_on_cpu.values())} ops to the CPU"
            f"{'' if taken is None else f' and puts {taken} on {entry.accelerator}'}: {left}. "
            f"{why or f'{entry.compiler} gives no reason'}.",
            fix="`edgekit inspect` with --target says what to change in the model.",
        )
    yield Finding(
        name="accelerator-not-proven",
        severity="info",
        message=f"Golden vectors and accuracy come from reference.tflite on this machine; on {entry.accelerator} "
        "itself neither is proven.",
        fix="Run the golden vectors on the board: golden/ holds inputs and expected outputs, golden.json the tolerance."
        if target.support.deploy == "elsewhere"
        else "With the device at hand, the self-test of `edgekit deploy` and `edgekit evaluate --device` prove them.",
    )

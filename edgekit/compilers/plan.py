"""Whether a build compiles, for what, and how: settings of the target, edgekit.toml and the command line. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from edgekit.compilers.step import merged_settings
from edgekit.errors import ProjectError
from edgekit.target import Accelerator, Target


@dataclass(frozen=True, kw_only=True)
class CompilationPlan:
    """The first accelerator of the target takes only what its compiler made."""

    accelerator: Accelerator
    settings: Mapping[str, str]
    """The profile's, with those of edgekit.toml and then the flags laid over them."""
    version: str | None = None
    """Of the compiler; None where it was not asked yet or does not tell."""


def compiled_for(target: Target) -> Accelerator | None:
    """The accelerator that models are compiled for; None where the target takes them as they are."""
    first = target.accelerators[0] if target.accelerators else None
    return first if first is not None and first.compiler is not None else None


def without_compiler(target: Target) -> Target:
    """The target as if the accelerator that models are compiled for were not there: the next one runs the model."""
    return target if compiled_for(target) is None else replace(target, accelerators=target.accelerators[1:])


def plan_compilation(
    target: Target, tables: Mapping[str, Mapping[str, str | int]], flags: Sequence[str]
) -> CompilationPlan | None:
    """The compilation of a build, or None where the target takes the model as it is.

    ``tables``: compiler -> [compiler.NAME] of edgekit.toml; ``flags``: ``NAME=VALUE`` each.

    Raises CompilerError for a setting that the compiler does not have, ProjectError for flags that are no setting or
    that nothing reads.
    """
    accelerator = compiled_for(target)
    chosen = dict(map(_parse, flags))
    if accelerator is None or accelerator.compiler is None:
        if chosen:
            raise ProjectError(
                f"--compiler-setting {next(iter(chosen))} was given, and {target.name} needs no compiler.",
                hint="Leave it away, or choose a target whose accelerator has one: `edgekit target show NAME`.",
            )
        return None
    own = {name: str(value) for name, value in tables.get(accelerator.compiler, {}).items()}
    return CompilationPlan(accelerator=accelerator, settings=merged_settings(accelerator, {**own, **chosen}))


def _parse(flag: str) -> tuple[str, str]:
    name, equals, value = flag.partition("=")
    if not (name and equals and value):
        raise ProjectError(
            f"--compiler-setting {flag!r} is no NAME=VALUE.", hint="Such as --compiler-setting memory_mode=Sram_Only."
        )
    return name, value

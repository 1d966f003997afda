"""What this machine has of what edgekit needs, and how to get the rest: a table of checks, one function each."""

import platform
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from edgekit.errors import foreign_errors
from edgekit.progress import Progress
from edgekit.versions import version_of
from edgekit_converters.environments import TOOLS, Environment, inspect_environment, maker_for, prepare
from edgekit_converters.errors import SourceError
from edgekit_converters.interpreters import show_version

State = Literal["ok", "missing", "broken"]

PACKAGES: tuple[tuple[str, str, str], ...] = (
    ("ai-edge-litert", "runs models on this machine", 'pip install "edgekit"'),
    ("ai-edge-quantizer", "quantizes", 'pip install "edgekit"'),
    ("tensorflow", "reads Keras and SavedModel", 'pip install "edgekit[keras]"'),
    ("tf-keras", "reads SavedModels that Keras 2 wrote", 'pip install "edgekit[keras]"'),
    ("torch", "reads PyTorch", 'pip install "edgekit[torch]"'),
    ("litert-torch", "converts PyTorch", 'pip install "edgekit[torch]"'),
    ("onnx", "reads ONNX", 'pip install "edgekit[onnx]"'),
    ("onnxruntime", "checks what was converted from ONNX", 'pip install "edgekit[onnx]"'),
)
"""Package, what it is for, what installs it."""

ARCHITECTURES = frozenset({"x86_64", "aarch64"})
"""Those that the runtime and the frameworks have Linux wheels for."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """One thing that was looked at."""

    group: Literal["machine", "package", "environment"]
    name: str
    state: State
    """``missing``: optional, and what needs it says so when it is used."""
    found: str
    """Version or path, or what is wrong."""
    purpose: str
    fix: str | None
    """None where there is nothing to do."""


def examine() -> tuple[Check, ...]:
    """Every check of ``CHECKS``; changes nothing."""
    return tuple(found for check in CHECKS for found in check())


def install(extra: str, progress: Progress) -> Check:
    """Make a tool's environment now instead of on first use; raises ModelError naming what is in the way."""
    with foreign_errors():
        return _environment(prepare(TOOLS[extra], progress))


def _machine() -> tuple[Check, ...]:
    machine, system = platform.machine(), platform.system()
    known = system == "Linux" and machine in ARCHITECTURES
    return (
        Check(
            group="machine",
            name="python",
            state="ok",  # pip refuses to install edgekit on others
            found=platform.python_version(),
            purpose="runs edgekit",
            fix=None,
        ),
        Check(
            group="machine",
            name="architecture",
            state="ok" if known else "broken",
            found=f"{system} {machine}",
            purpose="decides which wheels there are",
            fix=None if known else "Use Linux on x86_64 or aarch64; other machines are not tested.",
        ),
    )


def _packages() -> tuple[Check, ...]:
    checks = []
    for name, purpose, fix in PACKAGES:
        version = version_of(name)
        checks.append(
            Check(
                group="package",
                name=name,
                state="ok" if version else "missing",
                found=version or "not installed",
                purpose=purpose,
                fix=None if version else fix,
            )
        )
    return tuple(checks)


def _environments() -> tuple[Check, ...]:
    return tuple(_environment(inspect_environment(tool)) for tool in TOOLS.values())


def _environment(environment: Environment) -> Check:
    tool, state = environment.tool, environment.state
    fix: str | None = f"edgekit doctor --install {tool.extra} (or it is made on first use)"
    if state == "ready":
        fix, found = None, f"{tool.version}, Python {environment.python}, {environment.folder}"
    else:
        try:
            found = f"{state}; Python {show_version(maker_for(tool).version)} is there to make it with"
        except SourceError as err:
            fix, found = err.hint, f"{state}; {err.message}"
    return Check(
        group="environment",
        name=tool.package,
        state="ok" if state == "ready" else "broken" if state == "broken" else "missing",
        found=found,
        purpose=f"converts {tool.extra.upper()}",
        fix=fix,
    )


CHECKS: tuple[Callable[[], tuple[Check, ...]], ...] = (_machine, _packages, _environments)
"""What ``edgekit doctor`` looks at, in this order."""

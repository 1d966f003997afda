"""A compiler as edgekit knows them, whose tool is a line of Python: for what a real one does not do on demand."""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from edgekit.compilers.entries import CompilationEntry
from edgekit.compilers.process import how_it_ended, run_tool
from edgekit.compilers.types import Compiled, CompileRequest, Need, Ran
from edgekit.errors import CompilerError
from edgekit.target import Accelerator, Target

SETTINGS: Mapping[str, str] = {
    "code": "Python that the tool runs in its folder",
    "told": "how many ops it says that it left to the CPU",
    "timeout": "seconds",
}
NEEDS: frozenset[Need] = frozenset({"float-model", "calibration"})
ACCELERATOR_OPS = frozenset({"ethos-u"})


def check(target: Target, accelerator: Accelerator, settings: Mapping[str, str], directory: Path) -> str:
    if settings.get("code") == "missing":
        raise CompilerError("The fake compiler is not here.", hint="Install it.")
    return "1.0"


def command(request: CompileRequest) -> tuple[str, ...]:
    return sys.executable, "-c", request.settings["code"]


def run(request: CompileRequest, command: tuple[str, ...], said: Callable[[str], None]) -> Ran:
    return run_tool(request, command, said, timeout_s=float(request.settings.get("timeout", 60)))


def parse(request: CompileRequest, ran: Ran) -> Compiled:
    made = request.folder / "made.tflite"
    if ran.status or not made.exists():
        raise CompilerError(how_it_ended("fake", ran), hint="Nothing.")
    told = request.settings.get("told")
    entry = CompilationEntry(
        compiler="fake",
        version="1.0",
        accelerator=request.accelerator.name,
        settings=dict(request.settings),
        ops_on_accelerator=None,
        ops_on_cpu={},
    )
    return Compiled(
        name="model_fake.tflite", model=made.read_bytes(), entry=entry, told_cpu_ops=None if told is None else int(told)
    )

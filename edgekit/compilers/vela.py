"""Arm Vela: quantized .tflite -> .tflite with ``ethos-u`` custom ops, for Ethos-U55, U65 and U85.

The package ethos-u-vela, in edgekit's own environment: ``pip install "edgekit[npu]"``. Its figures are estimates from
a model of the memory system, and mean something only with that system's configuration and memory mode, so neither has
a default here. Source: https://gitlab.arm.com/artificial-intelligence/ethos-u/ethos-u-vela/-/blob/main/OPTIONS.md
"""

import importlib.util
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from importlib import metadata
from pathlib import Path

from edgekit.compilers.audit import check_memory, read_compiled
from edgekit.compilers.entries import CompilationEntry
from edgekit.compilers.process import how_it_ended, read_made, run_tool
from edgekit.compilers.types import Compiled, CompileRequest, Need, Ran
from edgekit.compilers.vela_config import OWN_CONFIG, SETTINGS, check_settings, config_file, own_config
from edgekit.compilers.vela_report import parse_cpu_count, parse_layers, parse_reasons, parse_summary
from edgekit.errors import CompilerError
from edgekit.target import Accelerator, Target
from edgekit_converters.structure import read_structure
from edgekit_converters.types import Finding

__all__ = ["ACCELERATOR_OPS", "NEEDS", "SETTINGS", "check", "command", "parse", "run"]

NEEDS: frozenset[Need] = frozenset()
ACCELERATOR_OPS = frozenset({"ethos-u"})
PACKAGE = "ethos-u-vela"
NAME = "model_vela.tflite"
WEIGHTS_IN_SRAM = "Changing const_mem_area from Sram to OnChipFlash"
"""Said in a mode with one memory for all: the report then has the weights as on-chip flash."""


def check(target: Target, accelerator: Accelerator, settings: Mapping[str, str], directory: Path) -> str:  # noqa: ARG001
    """Vela's version; raises CompilerError where it is missing, or a setting is missing or wrong."""
    version = _version()
    check_settings(settings, accelerator.name, directory)
    return version


def command(request: CompileRequest) -> tuple[str, ...]:
    """Vela's command line, in the environment that edgekit runs in; raises CompilerError as ``check`` does."""
    check(request.target, request.accelerator, request.settings, request.directory)
    config = config_file(request.settings, request.directory)
    flags = {**request.settings, "config": OWN_CONFIG if config == own_config() else str(config)}
    return (
        sys.executable,
        "-P",  # an ``ethosu`` in the working folder must not shadow the compiler
        "-m",
        "ethosu.vela",
        str(request.model),
        "--output-dir=.",
        *(f"--{name.replace('_', '-')}={value}" for name, value in sorted(flags.items())),
        "--verbose-performance",
        "--show-cpu-operations",
    )


def run(request: CompileRequest, command: tuple[str, ...], said: Callable[[str], None]) -> Ran:
    """Run it; raises CompilerError where it hangs."""
    return run_tool(request, command, said, environment={**os.environ, "PYTHONHASHSEED": "0"})


def parse(request: CompileRequest, ran: Ran) -> Compiled:
    """The file with Vela's figures; raises CompilerError where it made none or its reports cannot be read."""
    stem = request.model.stem
    made = request.folder / f"{stem}_vela.tflite"
    if ran.status != 0 or not made.is_file():
        raise CompilerError(how_it_ended("Vela", ran), hint=_advice(ran))
    reference = read_structure(request.model.read_bytes())
    tflite = read_made(made)
    read_compiled(tflite, "Vela")
    figures = parse_summary(_report(request, f"{stem}_summary_*.csv"))
    entry = CompilationEntry(
        compiler="vela",
        version=_version(),
        accelerator=request.accelerator.name,
        settings=dict(request.settings),
        ops_on_accelerator=None,
        ops_on_cpu={},
        reasons=parse_reasons(ran.output, reference),
        figures=figures,
        layers=parse_layers(_report(request, f"{stem}_per-layer.csv")),
    )
    return Compiled(
        name=NAME,
        model=tflite,
        entry=entry,
        told_cpu_ops=parse_cpu_count(ran.output),
        findings=tuple(_memory(figures, ran.output, request.target)),
    )


def _memory(figures: Mapping[str, float], output: str, target: Target) -> Iterator[Finding]:
    """SRAM and flash against the profile's; the weights are in SRAM too where Vela says so."""
    sram, flash = figures.get("sram_used_kib"), figures.get("off_chip_flash_used_kib", 0.0)
    on_chip = figures.get("on_chip_flash_used_kib", 0.0)
    if WEIGHTS_IN_SRAM in output:
        sram = None if sram is None else sram + on_chip
    else:
        flash += on_chip
    yield from check_memory(sram, target.memory.sram_kib, what="SRAM", target=target.name)
    yield from check_memory(flash, target.memory.flash_kib, what="flash", target=target.name)


def _version() -> str:
    if importlib.util.find_spec("ethosu") is None or importlib.util.find_spec("ethosu.vela") is None:
        raise CompilerError(
            "Arm's compiler Vela, which makes files for Ethos-U, is not installed.",
            hint='Install it: pip install "edgekit[npu]".',
        )
    return metadata.version(PACKAGE)


def _report(request: CompileRequest, pattern: str) -> str:
    found = sorted(request.folder.glob(pattern))
    if len(found) != 1:
        raise CompilerError(
            f"Vela wrote {len(found)} reports {pattern} instead of one.",
            hint='Use the version that is tested: pip install "edgekit[npu]".',
        )
    return found[0].read_text(encoding="utf-8", errors="replace")


def _advice(ran: Ran) -> str:
    if "CliOptionError" in ran.output or "ConfigOptionError" in ran.output:
        return "Correct [compiler.vela] of edgekit.toml, --compiler-setting or the target profile: the two do not fit."
    if ran.status < 0:
        return "Vela dies so of dtypes that it does not know, such as int4 weights: build with --weight-bits 8."
    return "Vela's own message says which; report what it should be able to compile to its makers."

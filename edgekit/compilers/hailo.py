"""Hailo: float32 .tflite -> .hef by the Dataflow Compiler's ``hailo`` on PATH.

Hailo hands it out behind a login; its licence lets nobody else pass it on. It quantizes for itself, from the float
model and calibration data, so the .hef is another quantization than reference.tflite. Never run by its makers: its
commands are those of the user guide (release 3.30), its log is read as people recorded it (docs/compilers.md).
"""

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from edgekit.compilers.entries import CompilationEntry
from edgekit.compilers.hailo_log import HailoLog, check_hef, parse_log
from edgekit.compilers.process import how_it_ended, read_made, run_tool
from edgekit.compilers.tools import ask_version, find_tool, one_of
from edgekit.compilers.types import Compiled, CompileRequest, Need, Ran
from edgekit.errors import CompilerError
from edgekit.target import Accelerator, Target
from edgekit_converters.types import Finding

SETTINGS: Mapping[str, str] = {
    "hw_arch": "the chip: hailo8, hailo8l, hailo8r, hailo15h, hailo15m, hailo15l or hailo10h",
    "model_script": "a model script (.alls) for its optimization, from the project's folder",
}
NEEDS: frozenset[Need] = frozenset({"float-model", "calibration"})
ACCELERATOR_OPS: frozenset[str] = frozenset()
PROGRAM = "hailo"
PAGE = "https://hailo.ai/developer-zone/software-downloads/"
CHIPS = ("hailo8", "hailo8l", "hailo8r", "hailo15h", "hailo15m", "hailo15l", "hailo10h")
NAME = "model.hef"
TIMEOUT_S = 6 * 3600.0
"""Its search for an allocation alone gives itself an hour a context."""


def check(_target: Target, accelerator: Accelerator, settings: Mapping[str, str], directory: Path) -> str | None:
    """Its version; raises CompilerError where it is not on PATH, with Hailo's page, or a setting is wrong."""
    program = _program()
    _chip(settings, accelerator)
    _script(settings, directory)
    return ask_version((program, "--version"), r"(?i)dataflow compiler[^0-9\n]{0,20}([0-9][0-9.]{0,40})")


def command(request: CompileRequest) -> tuple[str, ...]:
    """``python hailo_build.py``: parser, optimize, compiler.

    Raises CompilerError as ``check`` does, and where there is no float model, no calibration data or a second input.
    """
    if request.float_model is None or request.calibration is None:
        raise CompilerError(
            "Hailo's compiler quantizes for itself, and has no float model or no calibration data to do it with.",
            hint="Build from the trained model, with [data] calibration in edgekit.toml or --calibration.",
        )
    inputs = sorted(path.name for path in request.calibration.iterdir())
    if inputs != ["0"]:
        raise CompilerError(
            f"edgekit calibrates Hailo's compiler for models with one input; this one has {len(inputs)}.",
            hint="Compile the float model (edgekit build --precision float32 for rpi5) with Hailo's Python interface.",
        )
    script = _script(request.settings, request.directory)
    asked = {
        "hailo": _program(),
        "model": str(request.float_model),
        "hw_arch": _chip(request.settings, request.accelerator),
        "samples": str(request.calibration / "0"),
        "script": str(script) if script else None,
    }
    return (sys.executable, "-P", str(Path(__file__).with_name("hailo_build.py")), json.dumps(asked))


def run(request: CompileRequest, command: tuple[str, ...], said: Callable[[str], None]) -> Ran:
    """Run it; raises CompilerError where it cannot be started or hangs."""
    return run_tool(request, command, said, timeout_s=TIMEOUT_S)


def parse(request: CompileRequest, ran: Ran) -> Compiled:
    """The file and what the log says of it; raises CompilerError naming the cause where nothing was compiled."""
    log = parse_log(ran.output)
    made = request.folder / NAME
    if not log.succeeded or ran.status != 0 or not made.is_file():
        raise _failure(log, ran)
    model = read_made(made)
    check_hef(model)
    return Compiled(
        name=NAME,
        model=model,
        entry=CompilationEntry(
            compiler="hailo",
            version=ask_version((_program(), "--version"), r"(?i)dataflow compiler[^0-9\n]{0,20}([0-9][0-9.]{0,40})"),
            accelerator=request.accelerator.name,
            settings=dict(request.settings),
            ops_on_accelerator=None,  # all that was parsed: what the chip does not do is refused, not left to the CPU
            ops_on_cpu={},
            figures=log.figures,
        ),
        findings=tuple(_findings(log)),
    )


def _program() -> str:
    return find_tool(
        PROGRAM,
        hint=f"Get the Dataflow Compiler from Hailo's developer zone (free, with an account): {PAGE} (Ubuntu on "
        "x86-64), and run edgekit where `hailo --version` answers. Meanwhile: build for rpi5, whose CPU runs the "
        "same model.",
    )


def _chip(settings: Mapping[str, str], accelerator: Accelerator) -> str:
    chip = one_of(settings, "hw_arch", CHIPS)
    if chip is None:
        raise CompilerError(
            f"Hailo's compiler needs hw_arch for {accelerator.name}: a .hef is for one chip.",
            hint=f"Set it in the target profile, under [compiler] of edgekit.toml, or with --compiler-setting "
            f"hw_arch=...: {', '.join(CHIPS)}.",
        )
    return chip


def _script(settings: Mapping[str, str], directory: Path) -> Path | None:
    given = settings.get("model_script")
    if given is None:
        return None
    path = directory / Path(given).expanduser()
    if path.suffix != ".alls" or not path.is_file():
        raise CompilerError(f"model_script: {given} is no .alls file that is there.", hint="Correct the setting.")
    return path


def _failure(log: HailoLog, ran: Ran) -> CompilerError:
    if log.errors:
        return CompilerError(
            f"Hailo's compiler did not compile the model: {' '.join(log.errors)}",
            hint="A model that does not fit into one context needs performance_param or allocator_param in a "
            "model_script; one whose layers are refused needs other layers (Hailo's user guide, Supported Layers).",
        )
    return CompilerError(how_it_ended(PROGRAM, ran), hint="Look for its errors in the log.")


def _findings(log: HailoLog) -> Iterator[Finding]:
    yield Finding(
        name="own-quantization",
        severity="warning",
        message="Hailo's compiler quantized the float model itself: accuracy and golden vectors of reference.tflite "
        "are those of another quantization.",
        fix="Measure the accuracy of the .hef on the device.",
    )
    if log.contexts is not None and log.contexts > 1:
        yield Finding(
            name="hailo-contexts",
            severity="warning",
            message=f"The model does not fit onto the chip at once: {log.contexts} contexts are loaded one after the "
            "other at every inference, over PCIe.",
            fix="Use a smaller model, or batches, which load each context once for several samples.",
        )

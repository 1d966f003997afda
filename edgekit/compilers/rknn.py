"""Rockchip: quantized .tflite -> .rknn through rknn-toolkit2, in an environment of its own.

``edgekit doctor --install rknn`` makes that environment. The toolkit reads the int8 file as it is (it calls it a QAT
model) and keeps its scales; a float file becomes float16. The file is then run in the toolkit's simulator against
TensorFlow Lite. Source: https://github.com/airockchip/rknn-toolkit2
"""

import json
import os
import struct
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from edgekit.compilers.entries import CompilationEntry
from edgekit.compilers.process import how_it_ended, read_made, run_tool
from edgekit.compilers.rknn_log import RknnLog, parse_log
from edgekit.compilers.tools import one_of, whole_number
from edgekit.compilers.types import Compiled, CompileRequest, Need, Ran
from edgekit.errors import AuditError, CompilerError
from edgekit.target import Accelerator, Target
from edgekit_converters.environments import TOOLS, Environment, inspect_environment
from edgekit_converters.flatbuffer import builtin_name, read, shorten_names, signature_specs, write
from edgekit_converters.types import Finding

SETTINGS: Mapping[str, str] = {
    "target_platform": "the chip: rk3588, rk3576, rk3566, rk3568, rk3562, rv1103(b), rv1106(b), rv1126b, rk2118",
    "optimization_level": "0 to 3 (default): 3 changes what is computed most, 2 keeps closer to the .tflite",
    "single_core_mode": "true: for one core of the rk3588's three, a smaller file",
    "compress_weight": "true: a smaller file",
}
NEEDS: frozenset[Need] = frozenset({"calibration"})
"""Samples for the comparison in the simulator; the file is quantized already."""
ACCELERATOR_OPS: frozenset[str] = frozenset()
PLATFORMS = (
    *("rk3588", "rk3576", "rk3566", "rk3568", "rk3562", "rk2118"),
    *("rv1103", "rv1103b", "rv1106", "rv1106b", "rv1126b"),
)
NAME = "model.rknn"
TOOLKIT = "rknn-toolkit2"
MAGIC = b"RKNN"
HEADER_BYTES = 64
FLAGS = ("single_core_mode", "compress_weight")


def check(_target: Target, accelerator: Accelerator, settings: Mapping[str, str], _directory: Path) -> str | None:
    """The toolkit's version; raises CompilerError where its environment is not there or a setting is wrong."""
    _config(settings, accelerator)
    return _environment().tool.version


def command(request: CompileRequest) -> tuple[str, ...]:
    """``python rknn_build.py`` in the toolkit's environment; raises CompilerError as ``check`` does."""
    copy = request.folder / "plain.tflite"
    copy.write_bytes(_without_signature(request.model.read_bytes()))
    asked = {
        "model": str(copy),
        "output": NAME,
        "config": _config(request.settings, request.accelerator),
        "samples": str(request.calibration) if request.calibration else None,
    }
    script = Path(__file__).with_name("rknn_build.py")
    return (str(_environment().executable), "-P", "-s", str(script), json.dumps(asked))


def run(request: CompileRequest, command: tuple[str, ...], said: Callable[[str], None]) -> Ran:
    """Run it with no settings of the user's Python and no home to litter; raises CompilerError where it hangs."""
    passed = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    scratch = str(request.log.parent)
    own = {"HOME": scratch, "TMPDIR": scratch, "PYTHONHASHSEED": "0", "CUDA_VISIBLE_DEVICES": "-1"}
    return run_tool(request, command, said, environment={**passed, **own, "TF_CPP_MIN_LOG_LEVEL": "3"})


def parse(request: CompileRequest, ran: Ran) -> Compiled:
    """The file, the toolkit's table of its ops, and how the simulator compares.

    Raises:
        CompilerError: nothing was built, or what was written is no file for this chip.
        AuditError: no op is on the NPU.
    """
    log = parse_log(ran.output)
    made = request.folder / NAME
    if not log.built or not made.is_file():
        raise _failure(log, ran)
    model = read_made(made)
    check_file(model, request.settings["target_platform"])
    if log.on_npu == 0:
        listed = ", ".join(f"{count} {name}" for name, count in log.on_cpu.items()) or "no op at all"
        raise AuditError(
            f"{TOOLKIT} put nothing on the NPU: {listed} on the CPU.",
            hint="`edgekit inspect MODEL --target NAME` says what the NPU takes.",
        )
    return Compiled(
        name=NAME,
        model=model,
        entry=CompilationEntry(
            compiler="rknn",
            version=log.version,
            accelerator=request.accelerator.name,
            settings=dict(request.settings),
            ops_on_accelerator=log.on_npu,
            ops_on_cpu=log.on_cpu,
            reasons={name: why for name, why in log.reasons.items() if name in log.on_cpu},
            figures={**log.figures, **_simulated(log)},
            layers=log.layers,
        ),
        findings=tuple(_findings(log)),
    )


def check_file(model: bytes, platform: str) -> None:
    """Is it a whole .rknn for this chip, as far as its header tells? Raises CompilerError. Pure."""
    if len(model) < HEADER_BYTES or not model.startswith(MAGIC):
        raise CompilerError(f"{TOOLKIT} did not write a .rknn: it does not begin with RKNN.", hint="See its log.")
    size = struct.unpack_from("<Q", model, 16)[0]
    if HEADER_BYTES + size > len(model):
        raise CompilerError(
            f"{TOOLKIT} did not write a whole .rknn: {size} bytes are announced, {len(model)} are there.",
            hint="Free some space on the disk, and build again.",
        )
    if platform.encode() not in model:
        raise CompilerError(f"{TOOLKIT} wrote a .rknn that does not name {platform}.", hint="See its log.")


def _without_signature(tflite: bytes) -> bytes:
    """The toolkit fails on a signature that calls a tensor by its own name ("creating a circle in the graph").

    Raises CompilerError for an int8 model with float inputs or outputs, which it does not read either.
    """
    model = read(tflite)
    inputs, outputs = signature_specs(model)
    names = {builtin_name(code) for code in model.operatorCodes}
    if names & {"QUANTIZE", "DEQUANTIZE"} and any(spec.dtype == "float32" for spec in (*inputs, *outputs)):
        raise CompilerError(
            f"{TOOLKIT} does not read an int8 model with float inputs or outputs.",
            hint="Build with --io int8: on the board, its runtime converts floats by itself.",
        )
    shorten_names(model)
    model.signatureDefs = None
    return write(model)


def _environment() -> Environment:
    tool = TOOLS["rknn"]
    found = inspect_environment(tool)
    if found.state != "ready":
        raise CompilerError(
            f"The environment of {TOOLKIT} {tool.version} is {found.state}.",
            hint=f"Make it: edgekit doctor --install rknn (downloads 1 GB, takes {tool.size_gb} GB; Python 3.11, "
            "Linux on x86-64).",
        )
    return found


def _config(settings: Mapping[str, str], accelerator: Accelerator) -> dict[str, str | int | bool]:
    platform = one_of(settings, "target_platform", PLATFORMS)
    if platform is None:
        raise CompilerError(
            f"{TOOLKIT} needs target_platform for {accelerator.name}.",
            hint=f"Set it in the target profile, under [compiler.rknn] of edgekit.toml, or with --compiler-setting "
            f"target_platform=...: {', '.join(PLATFORMS)}.",
        )
    level = whole_number(settings, "optimization_level", 0, 3)
    config: dict[str, str | int | bool] = {"target_platform": platform}
    if level is not None:
        config["optimization_level"] = level
    for name in FLAGS:
        if one_of(settings, name, ("true", "false")) == "true":
            config[name] = True
    return config


def _failure(log: RknnLog, ran: Ran) -> CompilerError:
    if log.errors:
        return CompilerError(
            f"{TOOLKIT} did not {log.failed or 'load'} the model: {' '.join(log.errors)}",
            hint="It knows the operators of TensorFlow 2.14: `edgekit inspect MODEL` shows what the model has.",
        )
    return CompilerError(how_it_ended(TOOLKIT, ran), hint="Look for its errors in the log.")


def _simulated(log: RknnLog) -> dict[str, float]:
    if log.simulation is None:
        return {}
    return {
        "simulated_samples": float(log.simulation.samples),
        "simulated_max_difference": log.simulation.max_difference,
        "simulated_mean_difference": log.simulation.mean_difference,
        "simulated_same_largest": float(log.simulation.same_largest),
    }


def _findings(log: RknnLog) -> Iterator[Finding]:
    if log.on_npu is None:
        yield Finding(
            name="rknn-no-table",
            severity="warning",
            message=f"{TOOLKIT} told nothing of where its ops run.",
            fix="Measure it on the board; another version of the toolkit may tell.",
        )
    found = log.simulation
    if found is None:
        yield Finding(
            name="rknn-not-simulated",
            severity="warning",
            message=f"{TOOLKIT}'s simulator did not run: nothing says that the .rknn computes what the .tflite does.",
            fix="Compare them on the board.",
        )
    elif found.same_largest < found.samples:
        of = "samples of noise (there is no calibration data)" if found.noise else "calibration samples"
        yield Finding(
            name="rknn-simulator-differs",
            severity="warning",
            message=f"In {found.samples - found.same_largest} of {found.samples} {of} the .rknn's largest output is "
            f"another than the .tflite's (up to {found.max_difference:g} apart), in {TOOLKIT}'s simulator.",
            fix="Try a lower optimization_level, and measure the accuracy on the board.",
        )

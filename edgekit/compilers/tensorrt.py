"""NVIDIA TensorRT: the float model as ONNX, and the ``trtexec`` command line that makes an engine of it.

An engine is bound to one GPU and one TensorRT, so it is built where it runs. Where an NVIDIA GPU and ``trtexec`` are at
hand, it is built and measured here, and recorded; elsewhere that is said. Precision lies in the file (strong typing),
since TensorRT 11 has no ``--fp16`` any more: https://docs.nvidia.com/deeplearning/tensorrt/11.0.0/api/migration/
tensorrt-10x-to-11x-trtexec.html.
"""

import re
import shlex
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

import msgspec

from edgekit.compilers.entries import CompilationEntry
from edgekit.compilers.process import how_it_ended, run_tool
from edgekit.compilers.tools import whole_number
from edgekit.compilers.types import Compiled, CompileRequest, Need, Ran
from edgekit.errors import CompilerError, foreign_errors
from edgekit.target import Accelerator, Target
from edgekit_converters.structure import read_structure
from edgekit_converters.types import Finding, OutputFidelity

SETTINGS: Mapping[str, str] = {
    "workspace_mib": "memory that TensorRT may use while it builds, MiB (trtexec --memPoolSize)",
    "optimization_level": "0 to 5, how long TensorRT looks for kernels (trtexec --builderOptimizationLevel)",
}
NUMBERS = {"workspace_mib": (1, 1_000_000), "optimization_level": (0, 5)}
"""Setting -> the least and the most that it may be."""
NEEDS: frozenset[Need] = frozenset({"float-model"})
ACCELERATOR_OPS: frozenset[str] = frozenset()
EXPORTED = "exported.onnx"
ONNX = "model.onnx"
FIDELITY = "fidelity.json"
ENGINE = "model.plan"
COMMAND_FILE = "trtexec.txt"
GPU_NODES = ("/dev/nvidiactl", "/dev/nvhost-gpu", "/dev/nvgpu/igpu0")
"""What the kernel's driver shows of a GPU in a PC, in a Jetson up to JetPack 5, and from JetPack 6 on."""
JETPACK = "/usr/src/tensorrt/bin/trtexec"
VERSION = r"TensorRT [vV]ersion: ([0-9.]+)"
DEVICE = r"Selected Device: ([^\n]+)"
FIGURES = {
    "throughput_per_s": r"Throughput: ([0-9.]+) qps",
    "gpu_compute_median_ms": r"GPU Compute Time: [^\n]*?median = ([0-9.]+) ms",
    "gpu_compute_mean_ms": r"GPU Compute Time: [^\n]*?mean = ([0-9.]+) ms",
    "latency_median_ms": r"\] Latency: [^\n]*?median = ([0-9.]+) ms",
    "latency_p99_ms": r"\] Latency: [^\n]*?percentile\(99%\) = ([0-9.]+) ms",
}
"""Lines of trtexec's performance summary; ``latency`` has the copies to and from the GPU in it."""


def check(target: Target, accelerator: Accelerator, settings: Mapping[str, str], directory: Path) -> str | None:  # noqa: ARG001
    """tf2onnx's version; raises CompilerError where it is missing, or a setting is out of its range."""
    from edgekit_converters.to_onnx import tool_version

    for name, (lowest, highest) in NUMBERS.items():
        whole_number(settings, name, lowest, highest)
    with foreign_errors():
        return tool_version()


def command(request: CompileRequest) -> tuple[str, ...]:
    """tf2onnx's command line."""
    from edgekit_converters.to_onnx import command as export_command

    check(request.target, request.accelerator, request.settings, request.directory)
    if request.float_model is None:
        raise CompilerError("There is no float model to export.", hint="Build it from its source.")
    return export_command(request.float_model, request.folder / EXPORTED)


def run(request: CompileRequest, command: tuple[str, ...], said: Callable[[str], None]) -> Ran:
    """Export and check it; then, where an NVIDIA GPU and trtexec are at hand, build the engine and measure it."""
    from edgekit_converters.to_onnx import finish

    exported = run_tool(request, command, said)
    if exported.status != 0 or not (request.folder / EXPORTED).is_file() or request.float_model is None:
        raise CompilerError(
            how_it_ended("tf2onnx", exported), hint="The model has an operation that tf2onnx does not know; report it."
        )
    with foreign_errors():
        model = finish(request.folder / EXPORTED, request.float_model.read_bytes(), _precision(request.model))
    (request.folder / ONNX).write_bytes(model.data)
    (request.folder / FIDELITY).write_bytes(msgspec.json.encode(model.fidelity))
    tool = find_trtexec()
    if tool is None:
        return Ran(status=0, output="")
    return run_tool(request, (tool, *trtexec_arguments(request.settings)), said)


def parse(request: CompileRequest, ran: Ran) -> Compiled:
    """The ONNX file, trtexec's command line beside it, and what it measured where it could run."""
    if ran.output and (ran.status != 0 or "&&&& PASSED" not in ran.output):
        raise CompilerError(
            how_it_ended("trtexec", ran),
            hint="TensorRT does not take the model; the lines marked [E] in the log say why.",
        )
    line = shlex.join(("trtexec", *trtexec_arguments(request.settings)))
    fidelity = msgspec.json.decode((request.folder / FIDELITY).read_bytes(), type=tuple[OutputFidelity, ...])
    figures = read_figures(ran.output)
    return Compiled(
        name=ONNX,
        model=(request.folder / ONNX).read_bytes(),
        entry=CompilationEntry(
            compiler="tensorrt",
            version=_only(VERSION, ran.output),
            accelerator=request.accelerator.name,
            settings=dict(request.settings),
            ops_on_accelerator=None,
            ops_on_cpu={},
            figures=figures,
        ),
        findings=(_exported(fidelity), _measured(ran.output, figures) if ran.output else _not_run(line)),
        extra={COMMAND_FILE: f"{line}\n".encode()},
    )


def find_trtexec() -> str | None:
    """``trtexec`` on PATH, or where JetPack puts it; None without it, or without an NVIDIA GPU."""
    if not any(Path(node).exists() for node in GPU_NODES):
        return None
    return shutil.which("trtexec") or shutil.which(JETPACK)


def trtexec_arguments(settings: Mapping[str, str]) -> tuple[str, ...]:
    """Build an engine from the ONNX file and measure it for five seconds."""
    arguments = [f"--onnx={ONNX}", "--stronglyTyped", f"--saveEngine={ENGINE}", "--useSpinWait", "--duration=5"]
    if "workspace_mib" in settings:
        arguments.append(f"--memPoolSize=workspace:{settings['workspace_mib']}M")
    if "optimization_level" in settings:
        arguments.append(f"--builderOptimizationLevel={settings['optimization_level']}")
    return tuple(arguments)


def read_figures(output: str) -> dict[str, float]:
    """Figures of trtexec's performance summary; none of what it does not say."""
    found = {name: _only(pattern, output) for name, pattern in FIGURES.items()}
    return {name: float(text) for name, text in found.items() if text is not None}


def _only(pattern: str, output: str) -> str | None:
    match = re.search(pattern, output)
    return match[1].strip() if match else None


def _precision(model: Path) -> Literal["float32", "float16"]:
    """That of the artifact's .tflite, whose float16 form keeps its weights so."""
    tensors = read_structure(model.read_bytes()).tensors
    return "float16" if any(tensor.dtype == "float16" for tensor in tensors) else "float32"


def _exported(fidelity: tuple[OutputFidelity, ...]) -> Finding:
    told = ", ".join(
        f"{output.name} {'equal' if output.sqnr_db is None else f'{output.sqnr_db:.1f} dB'}" for output in fidelity
    )
    return Finding(
        name="onnx-export",
        severity="info",
        message=f"{ONNX} against the float .tflite, by onnxruntime on random inputs: {told}.",
        fix="",
    )


def _not_run(line: str) -> Finding:
    return Finding(
        name="not-run-here",
        severity="warning",
        message="No engine was built and nothing measured: here is no NVIDIA GPU with trtexec.",
        fix=f"Copy {ONNX} to the device and run there: {line}",
    )


def _measured(output: str, figures: Mapping[str, float]) -> Finding:
    median = figures.get("gpu_compute_median_ms")
    told = "its time could not be read" if median is None else f"{median:g} ms of GPU time (median)"
    return Finding(
        name="run-here",
        severity="info",
        message=f"TensorRT built an engine on this machine's {_only(DEVICE, output) or 'GPU'}: {told}. That is no "
        "figure of another device.",
        fix="Run trtexec on the device itself for its own figure.",
    )

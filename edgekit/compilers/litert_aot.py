"""LiteRT ahead of time for NPUs: quantized .tflite -> .tflite with ``DISPATCH_OP`` custom ops.

The wheel of ai-edge-litert has the tool that ``ai_edge_litert.aot`` calls, ``tools/apply_plugin_main``. It is run as
that package runs it, so that what it says is kept. Source:
https://github.com/google-ai-edge/LiteRT/blob/main/litert/python/aot/core/apply_plugin.py
"""

import os
import re
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path

from edgekit.compilers.entries import CompilationEntry
from edgekit.compilers.litert_vendors import VENDORS, Vendor, libraries, models, plugin, search_path, wheel
from edgekit.compilers.process import ask, how_it_ended, read_made, run_tool
from edgekit.compilers.tools import VERSION_TIMEOUT_S, one_of, plain, whole_number
from edgekit.compilers.types import Compiled, CompileRequest, Need, Ran
from edgekit.errors import CompilerError
from edgekit.target import Accelerator, Target
from edgekit_converters.types import Finding

SETTINGS: Mapping[str, str] = {
    "vendor": "the NPU's maker: qualcomm, mediatek, samsung, google_tensor or intel_openvino",
    "soc_model": "the chip, as ai_edge_litert.aot calls it: SM8750, MT6991, E9965, Tensor_G5, PTL",
    "sdk_libs": "folder of the maker's libraries, if not from the package ai-edge-litert-sdk-*",
    "device": "Intel only, what OpenVINO compiles for: npu (default), gpu or cpu",
    "max_partitions": "most parts that the NPU may get; 0 (default) is any number",
    "options": "flags of the maker's plug-in, with commas: qualcomm_optimization_level=O3",
}
NEEDS: frozenset[Need] = frozenset()
ACCELERATOR_OPS = frozenset({"DISPATCH_OP"})
TOOL = "tools/apply_plugin_main"
NAME = "apply_plugin_main"
PARTITIONED = re.compile(
    r"Partitioned subgraph<[0-9]{1,6}>, selected ([0-9]{1,9}) ops, from a total of ([0-9]{1,9}) ops. "
    r"resulted in ([0-9]{1,9}) partitions"
)
CAUSES: tuple[tuple[str, str], ...] = (
    (
        r"undefined symbol: \S{1,200}",
        (
            "The plug-in in this ai-edge-litert does not load, whatever is installed; another version of it may. Build "
            "for the CPU meanwhile: --no-compile, or --target android-arm64."
        ),
    ),
    (
        r" (?:cannot open shared object file|file too short|invalid ELF header|wrong ELF class)",
        "This library of the maker's SDK is missing or damaged: set sdk_libs to the folder that has it.",
    ),
    (
        r"Failed to load NeuronAdapter shared library",
        "MediaTek's SDK is missing or of another version: set sdk_libs to the folder of its libraries.",
    ),
    (
        r"Variable tensors not yet supported",
        (
            "The model keeps a state in itself, which LiteRT's NPU tools do not read: build it with its state as "
            "inputs and outputs (docs/streaming.md), or unroll the layer."
        ),
    ),
    (
        r"ERROR: \[[^\]\n]{0,100}\] [^\n]{1,400}",
        "Compile with another soc_model, or report the model to the NPU's maker.",
    ),
)
"""What is looked for in the log, and what to do about it; the first that is found is said, with the word before it
where it begins with a space. Bounded, as a log may be one long line."""


MAX_WORD = 200


def check(_target: Target, accelerator: Accelerator, settings: Mapping[str, str], directory: Path) -> str | None:
    """The version of ai-edge-litert; raises CompilerError where an SDK is missing, or a setting is."""
    vendor = _vendor(settings, accelerator)
    _flags(vendor, settings)
    library = plugin(vendor)
    folders = _libraries(vendor, settings, directory)
    if not (wheel() / TOOL).is_file():
        raise CompilerError(
            f"This ai-edge-litert has no {NAME}.", hint="It is in the wheels for Linux on x86-64: compile there."
        )
    _load(library, folders)
    return metadata.version("ai-edge-litert")


def command(request: CompileRequest) -> tuple[str, ...]:
    """``apply_plugin_main --cmd=apply``."""
    vendor = _vendor(request.settings, request.accelerator)
    soc_model = request.settings["soc_model"]
    return (
        str(wheel() / TOOL),
        "--cmd=apply",
        f"--model={request.model}",
        f"--o={_output(request)}",
        f"--soc_manufacturer={vendor.manufacturer}",
        f"--soc_model={soc_model.lower() if vendor.name == 'mediatek' else soc_model}",
        f"--libs={plugin(vendor).parent}",
        "--err=--",
        *_flags(vendor, request.settings),
    )


def run(request: CompileRequest, command: tuple[str, ...], said: Callable[[str], None]) -> Ran:
    """Run it with the maker's libraries on its search path; raises CompilerError where it hangs."""
    vendor = _vendor(request.settings, request.accelerator)
    path = search_path(_libraries(vendor, request.settings, request.directory))
    return run_tool(request, command, said, environment={**os.environ, "LD_LIBRARY_PATH": path})


def parse(request: CompileRequest, ran: Ran) -> Compiled:
    """The file and how it was divided; raises CompilerError naming the cause where it made none."""
    made = request.folder / _output(request)
    if ran.status != 0 or not made.is_file() or not made.stat().st_size:
        raise _failure(ran)
    figures = parse_log(ran.output)
    told = int(figures["ops_total"] - figures["ops_selected"]) if figures else None
    return Compiled(
        name=made.name,
        model=read_made(made),
        entry=CompilationEntry(
            compiler="litert-aot",
            version=metadata.version("ai-edge-litert"),
            accelerator=request.accelerator.name,
            settings=dict(request.settings),
            ops_on_accelerator=None,
            ops_on_cpu={},
            figures=figures,
        ),
        told_cpu_ops=told,
        findings=_findings(request.settings),
    )


def parse_log(text: str) -> dict[str, float]:
    """``ops_selected``, ``ops_total``, ``partitions`` over all subgraphs; empty where it does not tell. Pure."""
    rows = [[int(number) for number in row] for row in PARTITIONED.findall(text)]
    if not rows or any(selected > total for selected, total, _partitions in rows):
        return {}
    selected, total, partitions = (float(sum(column)) for column in zip(*rows, strict=True))
    return {"ops_selected": selected, "ops_total": total, "partitions": partitions}


def _vendor(settings: Mapping[str, str], accelerator: Accelerator) -> Vendor:
    for name, known in (("vendor", ", ".join(VENDORS)), ("soc_model", SETTINGS["soc_model"])):
        if not settings.get(name):
            raise CompilerError(
                f"LiteRT's ahead-of-time compilation needs {name} for {accelerator.name}.",
                hint="Set it in the target profile, under [compiler.litert-aot] of edgekit.toml, or with "
                f"--compiler-setting {name}=...: {known}.",
            )
    one_of(settings, "vendor", tuple(VENDORS))
    vendor = VENDORS[settings["vendor"]]
    one_of(settings, "soc_model", models(vendor))
    return vendor


def _libraries(vendor: Vendor, settings: Mapping[str, str], directory: Path) -> tuple[Path, ...]:
    given = settings.get("sdk_libs")
    folder = directory / Path(given).expanduser() if given else None
    return libraries(vendor, settings["soc_model"], folder, npu=settings.get("device", "npu") == "npu")


def _load(library: Path, folders: tuple[Path, ...]) -> None:
    """Does the plug-in load at all? 0.1 s, and what is missing is known before the model is converted."""
    told = ask(
        (str(wheel() / TOOL), "--cmd=info", f"--libs={library.parent}", "--err=--"),
        timeout_s=VERSION_TIMEOUT_S,
        environment={**os.environ, "LD_LIBRARY_PATH": search_path(folders)},
    )
    if "Loaded 0 plugins" in told.output:
        raise _failure(told, "cannot load its plug-in")


def _flags(vendor: Vendor, settings: Mapping[str, str]) -> tuple[str, ...]:
    flags: list[str] = []
    device = one_of(settings, "device", ("npu", "gpu", "cpu"))
    if device and vendor.name != "intel_openvino":
        raise CompilerError(f"device: {vendor.manufacturer} has no such choice.", hint="Take the setting away.")
    if device:
        flags.append(f"--intel_openvino_graph_backends={device}")
    partitions = whole_number(settings, "max_partitions", 0, 10_000)
    if partitions is not None:
        flags.append(f"--compiler_options_max_partitions={partitions}")
    for option in filter(None, settings.get("options", "").split(",")):
        # Of the plug-in only: a flag of the tool's own could make it read or write other files.
        if not re.fullmatch(rf"{vendor.name}_[a-z0-9_]{{1,60}}=[^\s,]{{1,200}}", option.strip()):
            raise CompilerError(
                f"options: found {option.strip()!r}, expected {vendor.name}_NAME=VALUE, with commas between them.",
                hint=f"{NAME} --helpfull lists the flags of {vendor.manufacturer}'s plug-in.",
            )
        flags.append(f"--{option.strip()}")
    return tuple(flags)


def _output(request: CompileRequest) -> str:
    vendor = VENDORS[request.settings["vendor"]]
    return f"model_{vendor.manufacturer}_{request.settings['soc_model']}.tflite"


def _failure(ran: Ran, what: str = "did not compile the model") -> CompilerError:
    for pattern, hint in CAUSES:
        found = re.search(pattern, ran.output)
        if found:
            before = ran.output[max(0, found.start() - MAX_WORD) : found.start()].split()
            word = before[-1] if before and found[0].startswith(" ") else ""
            return CompilerError(f"{NAME} {what}: {plain(word + found[0]).rstrip('.')}.", hint=hint)
    return CompilerError(how_it_ended(NAME, ran), hint="Look for its errors in the log.")


def _findings(settings: Mapping[str, str]) -> tuple[Finding, ...]:
    device = settings.get("device", "npu")
    if device == "npu":
        return ()
    return (
        Finding(
            name="not-the-npu",
            severity="warning",
            message=f"OpenVINO compiled for the {device.upper()}, not for an NPU: what counts as the accelerator's "
            f"runs on the {device.upper()}.",
            fix="Set device = npu for a machine that has one.",
        ),
    )

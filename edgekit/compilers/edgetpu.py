"""Google Coral's Edge TPU compiler: found on PATH, its log read by ``edgetpu_log``.

Options: https://coral.ai/docs/edgetpu/compiler/. It is in neither PyPI nor Debian, runs on x86-64 Debian and its kin
only, and knows the operator versions of 2021. Its exit status is not believed: the file is opened and counted.
"""

import platform
from collections.abc import Callable, Mapping
from pathlib import Path

from edgekit.compilers.edgetpu_log import EdgeTpuLog, parse_log
from edgekit.compilers.entries import CompilationEntry
from edgekit.compilers.process import how_it_ended, read_made, run_tool
from edgekit.compilers.tools import ask_version, find_tool, one_of, whole_number
from edgekit.compilers.types import Compiled, CompileRequest, Need, Ran
from edgekit.errors import CompilerError
from edgekit.target import Accelerator, Target
from edgekit_converters.types import Finding

PROGRAM = "edgetpu_compiler"
OUTPUT = "model_edgetpu.tflite"
PAGE = "https://coral.ai/docs/edgetpu/compiler/"
MEANWHILE = (
    "Until then: run it in a Docker container of Debian 11 (linux/amd64) on another system, or build with --no-compile "
    "and compile the model with Coral's Colab notebook that the page links."
)
SETTINGS: Mapping[str, str] = {
    "min_runtime_version": "oldest version of the Edge TPU runtime that must load the file: 10 to 14",
    "intermediate_tensors": "names of tensors, with commas: what comes after them is left to the CPU",
    "search_delegate": "true: where the whole model does not compile, look for the largest part that does",
    "delegate_search_step": "how many ops that search leaves away at a time; larger is quicker",
    "timeout_sec": "seconds it gives itself, 180 unless set",
}
NEEDS: frozenset[Need] = frozenset()
ACCELERATOR_OPS = frozenset({"edgetpu-custom-op"})
OWN_TIMEOUT_S = 180
SPARE_S = 60.0
"""What it may take beyond its own limit before it is ended."""


def check(_target: Target, _accelerator: Accelerator, settings: Mapping[str, str], _directory: Path) -> str | None:
    """Its version; raises CompilerError where it is not on PATH, with Coral's page, or a setting is wrong."""
    program = _program()
    _options(settings)
    return ask_version((program, "--version"), r"version\s+([0-9][0-9.]{0,40})")


def command(request: CompileRequest) -> tuple[str, ...]:
    """``edgetpu_compiler -s ... model.tflite``: with the table of its operators, into the working directory."""
    return (_program(), "-s", "-o", ".", *_options(request.settings), str(request.model))


def run(request: CompileRequest, command: tuple[str, ...], said: Callable[[str], None]) -> Ran:
    """Run it; raises CompilerError where it cannot be started or does not end within its own limit."""
    limit = whole_number(request.settings, "timeout_sec", 1, 86_400) or OWN_TIMEOUT_S
    return run_tool(request, command, said, timeout_s=limit + SPARE_S)


def parse(request: CompileRequest, ran: Ran) -> Compiled:
    """The file and what the log says of it; raises CompilerError naming the cause where nothing was compiled."""
    log = parse_log(ran.output)
    made = request.folder / OUTPUT
    if log.errors or not log.succeeded or ran.status != 0 or not made.is_file():
        raise _failure(log, ran)
    return Compiled(
        name=OUTPUT,
        model=read_made(made),
        entry=CompilationEntry(
            compiler="edgetpu",
            version=log.version,
            accelerator=request.accelerator.name,
            settings=dict(request.settings),
            ops_on_accelerator=log.on_tpu,
            ops_on_cpu={},
            reasons=log.reasons,
            figures=log.figures,
        ),
        told_cpu_ops=log.on_cpu,
        findings=_findings(log),
        extra={},
    )


def _program() -> str:
    where = f"Install it as {PAGE} says"
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        where = (
            f"It runs on x86-64 Debian and Ubuntu only, and this is {platform.system()} {platform.machine()} ({PAGE})"
        )
    return find_tool(PROGRAM, hint=f"{where}. {MEANWHILE}")


def _options(settings: Mapping[str, str]) -> tuple[str, ...]:
    options: list[str] = []
    for name, flag, lowest, highest in (
        ("min_runtime_version", "-m", 10, 14),
        ("delegate_search_step", "-k", 1, 100_000),
        ("timeout_sec", "-t", 1, 86_400),
    ):
        number = whole_number(settings, name, lowest, highest)
        if number is not None:
            options += [flag, str(number)]
    if one_of(settings, "search_delegate", ("true", "false")) == "true":
        options.append("-d")
    tensors = settings.get("intermediate_tensors")
    if tensors is not None:
        if not tensors.strip() or tensors.startswith("-"):
            raise CompilerError(
                f"intermediate_tensors: found {tensors!r}, expected names of tensors with commas between them.",
                hint="`edgekit inspect MODEL` names the tensors.",
            )
        options += ["-i", tensors]
    return tuple(options)


def _failure(log: EdgeTpuLog, ran: Ran) -> CompilerError:
    if log.errors:
        return CompilerError(f"{PROGRAM} did not compile the model: {' '.join(log.errors)}", hint=log.hint)
    if ran.status == 0 and log.succeeded:
        return CompilerError(
            f"{PROGRAM} says that it succeeded and wrote no {OUTPUT}.", hint="Look for what it did in the log."
        )
    return CompilerError(how_it_ended(PROGRAM, ran), hint=log.hint)


def _findings(log: EdgeTpuLog) -> tuple[Finding, ...]:
    streamed = log.figures.get("off_chip_used_kib", 0.0)
    if streamed <= 0:
        return ()
    return (
        Finding(
            name="edgetpu-off-chip",
            severity="warning",
            message=f"{streamed:.0f} KiB of the parameters do not fit into the Edge TPU's own memory and are sent to "
            f"it again at every inference ({log.figures.get('on_chip_used_kib', 0.0):.0f} KiB fit).",
            fix="Use a smaller model, or one with fewer channels; about 8 MB (the compiled program among it) fit.",
        ),
    )

"""What goes into a compiler and what comes out of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from edgekit.compilers.entries import CompilationEntry
from edgekit.target import Accelerator, Target
from edgekit_converters.types import Finding

Need = Literal["float-model", "calibration"]
"""What a compiler reads beside the quantized model: it quantizes for itself, or not at all."""


@dataclass(frozen=True, kw_only=True)
class CompileRequest:
    """One model for one accelerator; everything lies in a scratch folder that is gone afterwards."""

    model: Path
    """The quantized .tflite, audited, called ``model.tflite``."""
    float_model: Path | None = None
    """The float32 .tflite it was quantized from, ``float.tflite``; None unless the compiler NEEDS ``float-model``."""
    source: Path | None = None
    """The user's own file that the float model was converted from, such as an .onnx; None where there is no such file.
    It may be a program: read it only where a compiler takes nothing else."""
    calibration: Path | None = None
    """Calibration samples, if the compiler NEEDS ``calibration`` and there are any: ``INPUT/SAMPLE.npy``, with the
    number of the input in the model's order and of the sample (``0/00012.npy``); float32, in the float model's shape
    with its batch, preprocessed."""
    folder: Path
    """Empty; the compiler writes here and nowhere else. Its working directory."""
    log: Path
    """Gets everything it says; kept where the compilation fails."""
    target: Target
    accelerator: Accelerator
    settings: Mapping[str, str]
    """The profile's, with [compiler.NAME] of edgekit.toml and the flags laid over them."""
    directory: Path
    """Where relative paths in the settings start; absolute."""


@dataclass(frozen=True, kw_only=True)
class Ran:
    """What a compiler did; its exit status is not believed on its own."""

    status: int
    """Negative: the signal that ended it."""
    output: str
    """stdout and stderr together, whole: a tool that says too much is ended (``process.run_tool``)."""


@dataclass(frozen=True, kw_only=True)
class Compiled:
    """A file that runs on the accelerator."""

    name: str
    """In the artifact: ``model_vela.tflite``, ``model_edgetpu.tflite``, ``model.rknn``."""
    model: bytes
    entry: CompilationEntry
    """Of a .tflite, ``ops_on_cpu`` and ``ops_on_accelerator`` are counted in the file by ``compile_model``; what is set
    here is replaced."""
    told_cpu_ops: int | None = None
    """How many ops the compiler says that it left to the CPU: compared with the file. None where it does not tell."""
    findings: tuple[Finding, ...] = ()
    extra: Mapping[str, bytes] = field(default_factory=dict)
    """Other files of the artifact, such as a compiler's own report."""


class Compiler(Protocol):
    """A module of this package."""

    SETTINGS: Mapping[str, str]
    """Setting -> what it does; others are refused."""
    NEEDS: frozenset[Need]
    """What it reads beside the quantized model."""
    ACCELERATOR_OPS: frozenset[str]
    """Custom operators that are the accelerator's in its .tflite; empty where its output is no .tflite."""

    def check(
        self, target: Target, accelerator: Accelerator, settings: Mapping[str, str], directory: Path
    ) -> str | None:
        """The tool's version (None where it does not tell), asked before anything is converted.

        Raises CompilerError where the tool is missing (how to get it) or a setting is missing or wrong.
        """

    def command(self, request: CompileRequest) -> tuple[str, ...]:
        """The command line; raises CompilerError as ``check`` does."""

    def run(self, request: CompileRequest, command: tuple[str, ...], said: Callable[[str], None]) -> Ran:
        """Run it in ``request.folder``, as a rule by ``process.run_tool``.

        Raises CompilerError where it cannot be started or hangs.
        """

    def parse(self, request: CompileRequest, ran: Ran) -> Compiled:
        """What it made; raises CompilerError where that is nothing, or not what it says."""

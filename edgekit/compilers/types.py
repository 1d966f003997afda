"""What goes into a compiler and what comes out of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from edgekit.compilers.entries import CompilationEntry
from edgekit.target import Accelerator, Target
from edgekit_converters.types import Finding


@dataclass(frozen=True, kw_only=True)
class CompileRequest:
    """One model for one accelerator."""

    model: Path
    """The quantized .tflite, audited; for ``tensorrt`` the float one's ONNX lies beside it."""
    folder: Path
    """Empty; the compiler writes here and nowhere else."""
    target: Target
    accelerator: Accelerator
    settings: Mapping[str, str]
    """The profile's, with [compiler] of edgekit.toml and the flags laid over them."""
    directory: Path
    """Where relative paths in the settings start."""


@dataclass(frozen=True, kw_only=True)
class Ran:
    """What a compiler did; its exit status is not believed on its own."""

    status: int
    output: str
    """stdout and stderr together, bounded."""


@dataclass(frozen=True, kw_only=True)
class Compiled:
    """A file that runs on the accelerator, audited."""

    name: str
    """In the artifact: ``model_vela.tflite``, ``model_edgetpu.tflite``, ``model.rknn``."""
    model: bytes
    entry: CompilationEntry
    findings: tuple[Finding, ...]
    extra: Mapping[str, bytes]
    """Other files of the artifact, such as a compiler's own report."""


class Compiler(Protocol):
    """A module of this package."""

    SETTINGS: Mapping[str, str]
    """Setting -> what it does; others are refused."""

    def command(self, request: CompileRequest) -> tuple[str, ...]:
        """The command line; raises CompilerError where the tool is missing (how to get it) or a setting is wrong."""

    def run(self, request: CompileRequest, command: tuple[str, ...], said: Callable[[str], None]) -> Ran:
        """Run it in ``request.folder``; raises CompilerError where it cannot be started, hangs or crashes."""

    def parse(self, request: CompileRequest, ran: Ran) -> Compiled:
        """Its output, audited; raises CompilerError, AuditError where nothing was compiled."""

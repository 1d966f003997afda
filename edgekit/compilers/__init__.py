"""External compilers, one module each behind the same three functions: ``command``, ``run`` (shared), ``parse``."""

from importlib import import_module
from typing import cast

from edgekit.compilers.types import Compiled, Compiler, CompileRequest, Ran
from edgekit.target import CompilerName

__all__ = ["COMPILERS", "CompileRequest", "Compiled", "Compiler", "Ran", "load_compiler"]

COMPILERS: dict[CompilerName, str] = {
    "vela": "edgekit.compilers.vela",
    "edgetpu": "edgekit.compilers.edgetpu",
    "litert-aot": "edgekit.compilers.litert_aot",
    "rknn": "edgekit.compilers.rknn",
    "hailo": "edgekit.compilers.hailo",
    "tensorrt": "edgekit.compilers.tensorrt",
}
"""Name in a target profile -> module."""


def load_compiler(name: CompilerName) -> Compiler:
    """The module of a compiler."""
    return cast("Compiler", import_module(COMPILERS[name]))

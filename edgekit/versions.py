"""Versions of the packages that shape the bytes of a build."""

import platform
from importlib import metadata

TOOLS = (
    "ai-edge-litert", "ai-edge-quantizer", "keras", "litert-torch", "numpy", "onnx", "onnxruntime", "pillow",
    "tensorflow", "tf-keras", "tflite-micro", "torch",
)  # fmt: skip
_DISTRIBUTIONS = {"tensorflow": ("tensorflow-cpu", "tensorflow")}
"""Tools that more than one distribution carries."""


def version_of(tool: str) -> str | None:
    """Version of an installed package; None where it is not installed."""
    for name in _DISTRIBUTIONS.get(tool, (tool,)):
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return None


def working_set() -> dict[str, str | None]:
    """Every tool's version, Python's and the machine's architecture (whose kernels compute the golden outputs)."""
    tools = {tool: version_of(tool) for tool in TOOLS}
    return {**tools, "python": platform.python_version(), "machine": platform.machine()}

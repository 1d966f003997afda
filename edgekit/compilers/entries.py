"""What the manifest says of a compiled file."""

import msgspec

from edgekit.documents import Document


class LayerFigures(Document, frozen=True, kw_only=True):
    """One line of a compiler's per-layer report."""

    name: str
    operator: str
    figures: dict[str, float]
    """By the compiler's own column, with its unit: ``cycles_total``, ``sram_bytes``."""


class CompilationEntry(Document, frozen=True, kw_only=True):
    """How the file that runs was made from reference.tflite."""

    compiler: str
    version: str | None
    """None where the tool does not tell."""
    accelerator: str
    """Name in the target profile."""
    settings: dict[str, str]
    """What decided the output; paths as the user gave them."""
    ops_on_accelerator: int | None
    """Ops of reference.tflite; of the compiler's own graph where its output is no .tflite; None where it does not
    tell."""
    ops_on_cpu: dict[str, int]
    """Operator -> how many of them are left to the CPU, counted in the file itself."""
    reasons: dict[str, str] = msgspec.field(default_factory=dict)
    """Operator on the CPU -> why, in the compiler's words."""
    figures: dict[str, float] = msgspec.field(default_factory=dict)
    """Of the whole model, with units in their names: ``sram_used_kib``, ``cycles_total``; the compiler's estimate."""
    layers: tuple[LayerFigures, ...] = ()
    """Empty where the compiler has no such report."""

"""What the manifest says of a model on TFLite Micro."""

from edgekit.documents import Document


class MicroEntry(Document, frozen=True, kw_only=True):
    """The model in TFLite Micro's interpreter on the machine that built it."""

    version: str
    """Of the tflite-micro package."""
    ops: tuple[str, ...]
    """What an op resolver must register, by the schema's names."""
    arena_bytes: int
    """Used by the host's interpreter: an estimate, because buffers depend on the target's kernels and pointers."""
    max_steps: float
    """Largest difference from the TFLite reference over the golden vectors, in steps of the output."""
    vectors: int
    """How many were run."""

"""What the manifest says of a model on TFLite Micro."""

from typing import Literal

from edgekit.documents import Document


class AllocationEntry(Document, frozen=True, kw_only=True):
    """One kind of memory in an arena."""

    name: str
    """As TFLite Micro's recorder calls it, such as ``NodeAndRegistration struct``."""
    bytes: int
    """With what alignment adds."""
    count: int
    """Allocations of it."""


class ArenaEntry(Document, frozen=True, kw_only=True):
    """An arena on the machine that built the model: an estimate of the target's.

    Its structs hold the host's 64-bit pointers, a microcontroller's are about half as large; and the kernels of a
    target (CMSIS-NN, Ethos-U) ask for scratch buffers of their own sizes. So it can be more than the target needs, or
    less: https://github.com/tensorflow/tflite-micro/issues/2474
    """

    bytes: int
    """The smallest one in which all tensors could be allocated and every vector was run, to 16 bytes."""
    used_bytes: int
    """What was allocated in it at the end: ``bytes`` without what is needed only while the memory is planned."""
    nonpersistent_bytes: int
    """Activations and scratch: the arena's head."""
    persistent_bytes: int
    """Structs, op data and variables: the arena's tail."""
    allocations: tuple[AllocationEntry, ...]
    """Of the persistent part, as the recorder lists it; the interpreter's own objects are not in it."""


class MicroEntry(Document, frozen=True, kw_only=True):
    """The model in TFLite Micro's interpreter on the machine that built it."""

    version: str
    """Of the tflite-micro package."""
    ran: Literal["model", "reference"] | None
    """Which of the two files was run: the reference, where the model holds an operator that only its NPU computes. None
    where TFLite Micro refuses the reference, too, because only the NPU has what it needs."""
    ops: tuple[str, ...]
    """Operators of the file that runs on the target: builtin ones by the schema's names, custom ones by their code."""
    resolver: tuple[str, ...]
    """Methods of ``MicroMutableOpResolver`` that register them."""
    arena: ArenaEntry | None
    """Of the file that was run; None where none was."""
    state_bytes: int
    """State inputs of a stream, which the application keeps from frame to frame outside of the arena."""
    model_bytes: int
    """Of the file that runs on the target, in flash; the program's own code is not known and not in it."""
    max_steps: float | None
    """Largest difference of quantized outputs from TFLite's reference kernels, in steps; None without one, or where
    nothing was compared."""
    max_error: float | None
    """The same of float outputs, relative to the largest absolute expected value."""
    vectors: int
    """How many inputs were run."""

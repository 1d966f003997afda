"""What Hailo's Dataflow Compiler says, as data, and what the header of a .hef tells. Pure."""

import hashlib
import re
import struct
from dataclasses import dataclass, field

from edgekit.compilers.tools import plain
from edgekit.errors import CompilerError

TOTAL = re.compile(r"\| Total +\| ([0-9.]{1,8})% +\| ([0-9.]{1,8})% +\| ([0-9.]{1,8})% +\|")
"""Last line of the table of clusters, one table a context: control, compute, memory."""
CONTEXTS = (
    re.compile(r"Applying selected partition to ([0-9]{1,4}) contexts"),
    re.compile(r"Found valid partition to ([0-9]{1,4}) contexts"),
)
BANDWIDTH = (
    ("inputs_mbit", re.compile(r"Bandwidth of model inputs: ([0-9.]{1,15}) Mbps")),
    ("outputs_mbit", re.compile(r"Bandwidth of model inputs: [0-9.]{1,15} Mbps, outputs: ([0-9.]{1,15}) Mbps")),
    ("ddr_buffers_mbit", re.compile(r"Bandwidth of DDR buffers: ([0-9.]{1,15}) Mbps")),
    ("between_contexts_mbit", re.compile(r"Bandwidth of inter context tensors: ([0-9.]{1,15}) Mbps")),
)
"""Of one frame: the tool writes Mbps and means Mbit."""
UTILIZATION = ("control_percent", "compute_percent", "memory_percent")
MAX_ERRORS = 3
WHOLE_PERCENT = 100
RAISED = ("Exception", "Error")

HEF_HEADER = struct.Struct(">III")
"""Magic, version, size of the description that follows, big endian; hef_internals.hpp of HailoRT."""
HEF_MAGIC = 0x01484546
HEF_HEADER_V0_BYTES = 32
"""With four reserved bytes and the MD5 of all that follows."""


@dataclass(frozen=True, kw_only=True)
class HailoLog:
    """One compilation."""

    succeeded: bool = False
    contexts: int | None = None
    """Parts that are loaded onto the chip one after the other, at every inference; None where it does not tell."""
    figures: dict[str, float] = field(default_factory=dict)
    errors: tuple[str, ...] = ()


def parse_log(text: str) -> HailoLog:
    """Read what the compiler said; never raises, whatever it is given."""
    figures: dict[str, float] = {}
    for row in TOTAL.findall(text):
        for name, said in zip(UTILIZATION, row, strict=True):
            value = _number(said)
            if value is not None and value <= WHOLE_PERCENT:
                figures[name] = max(value, figures.get(name, 0.0))  # of the fullest context
    for name, pattern in BANDWIDTH:
        values = [_number(said) for said in pattern.findall(text)]
        known = [value for value in values if value is not None]
        if known:
            figures[name] = sum(known)
    contexts = _contexts(text)
    if contexts is not None:
        figures["contexts"] = float(contexts)
    return HailoLog(
        succeeded="Successful Compilation" in text,
        contexts=contexts,
        figures=figures,
        errors=_errors(text),
    )


def check_hef(model: bytes) -> None:
    """Is it a whole .hef, as far as its header tells? Raises CompilerError."""
    if len(model) < HEF_HEADER_V0_BYTES or HEF_HEADER.unpack_from(model)[0] != HEF_MAGIC:
        raise CompilerError("Hailo's compiler did not write a .hef: it does not begin as one.", hint="See its log.")
    _magic, version, size = HEF_HEADER.unpack_from(model)
    body = model[HEF_HEADER_V0_BYTES:]
    whole = size == len(body) if version == 0 else size <= len(model) - HEF_HEADER.size
    if not whole:
        raise CompilerError(
            f"Hailo's compiler did not write a whole .hef: {size} bytes are announced, {len(body)} are there.",
            hint="Free some space on the disk, and build again.",
        )
    if version == 0 and hashlib.md5(body, usedforsecurity=False).digest() != model[16:HEF_HEADER_V0_BYTES]:
        raise CompilerError(
            "The .hef that Hailo's compiler wrote is not what its own checksum says.", hint="Build again."
        )


def _contexts(text: str) -> int | None:
    for pattern in CONTEXTS:
        found = pattern.findall(text)
        if found:
            return int(found[-1])
    return 1 if "Using Single-context flow" in text else None


def _errors(text: str) -> tuple[str, ...]:
    lines = [line.strip() for line in text.replace("\r", "\n").split("\n")]
    said = [line.removeprefix("[error]") for line in lines if line.startswith(("[error]", "Detailed error is:"))]
    raised = [line for line in lines if re.match(r"[\w.]{1,140}: \S", line) and line.split(":")[0].endswith(RAISED)]
    return tuple(dict.fromkeys(plain(line) for line in (*said, *raised)))[:MAX_ERRORS]


def _number(said: str) -> float | None:
    return float(said) if re.fullmatch(r"[0-9]{1,9}(?:\.[0-9]{1,9})?", said) else None

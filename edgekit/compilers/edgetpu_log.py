"""What edgetpu_compiler says, as data: versions 2.1 to 16.0. Pure."""

import re
from collections import defaultdict
from dataclasses import dataclass, field

from edgekit.compilers.tools import plain

MAPPED = "Mapped to Edge TPU"
UNITS_KIB = {"B": 1 / 1024, "KiB": 1.0, "MiB": 1024.0, "GiB": 1024.0**2}
MEMORY = {
    "On-chip memory used for caching model parameters": "on_chip_used_kib",
    "On-chip memory remaining for caching model parameters": "on_chip_remaining_kib",
    "Off-chip memory used for streaming uncached model parameters": "off_chip_used_kib",
    "Input size": "input_size_kib",
    "Output size": "output_size_kib",
}
"""Line -> figure."""
COUNTS = {"Number of Edge TPU subgraphs": "subgraphs", "Total number of operations": "operations"}
ROW = re.compile(r"^([A-Z][A-Z0-9_]{1,60}) +([0-9]{1,6}) +(\S.*)$")
ERRORS: tuple[tuple[str, str], ...] = (
    (
        "Model not quantized",
        (
            "Build with --precision int8. If it is: the compiler knows the operators of 2021 and takes newer ones for "
            "float; `edgekit inspect MODEL --target NAME` names the versions that it does not know."
        ),
    ),
    (
        "Didn't find op for builtin opcode",
        (
            "The compiler knows older versions of this operator only: replace the layer, or split it so that the older "
            "form is enough (FULLY_CONNECTED per tensor, TRANSPOSE_CONV without a fused activation)."
        ),
    ),
    (
        "large activation tensors",
        (
            "A tensor between two layers is larger than the Edge TPU takes: make the input smaller, or set "
            "search_delegate = true so that this part is left to the CPU."
        ),
    ),
    (
        "only supports static-sized tensors",
        "Convert with a static batch and static shapes: a tensor of unknown size is left in the model.",
    ),
    (
        "Internal compiler error",
        (
            "The compiler does not say why. Set search_delegate = true to compile the largest part that it takes, and "
            "try again: it is known to fail by chance."
        ),
    ),
    ("timed out", "Give it more time with timeout_sec, or set a larger delegate_search_step."),
    (
        "Restored original execution plan",
        "The Edge TPU part cannot be prepared: set search_delegate = true, or name intermediate_tensors.",
    ),
    ("could not be parsed", "The file has operators or versions that this compiler does not know."),
    ("Invalid model", "`edgekit inspect MODEL --target NAME` says what the Edge TPU takes."),
    ("Compilation failed", "Set search_delegate = true to compile the largest part that it takes."),
    ("ERROR:", "`edgekit inspect MODEL --target NAME` says what the Edge TPU takes."),
)
"""What a line of an error has, and what to do; the first that is found decides the hint."""
MAX_ERRORS = 4


@dataclass(frozen=True, kw_only=True)
class EdgeTpuLog:
    """One compilation."""

    version: str | None = None
    succeeded: bool = False
    """It says ``Model compiled successfully``, which it also says of a model that is wholly left to the CPU."""
    on_tpu: int | None = None
    on_cpu: int | None = None
    """None where it does not tell."""
    reasons: dict[str, str] = field(default_factory=dict)
    """Operator that is left to the CPU -> its status, with how many where there are several."""
    figures: dict[str, float] = field(default_factory=dict)
    """Sizes in KiB (``_kib``), and ``subgraphs``, ``operations``."""
    errors: tuple[str, ...] = ()
    hint: str = "Look for its errors in the log."


def parse_log(text: str) -> EdgeTpuLog:
    """Read what the compiler said, stdout and operation log alike; never raises, whatever it is given."""
    lines = [line.strip() for line in text.replace("\r", "\n").split("\n")]
    version = re.search(r"Edge TPU Compiler version ([0-9][0-9.]{0,40})", text)
    succeeded = "Model compiled successfully" in text
    errors = () if succeeded and "Compilation failed" not in text else _errors(lines)
    mapped, refused = _operators(lines)
    figures = _figures(lines)
    on_tpu, on_cpu = _told(lines, "Edge TPU"), _told(lines, "CPU")
    if on_cpu is None and (mapped or refused):
        on_cpu = sum(sum(statuses.values()) for statuses in refused.values())
    if on_cpu is None and on_tpu is not None and "operations" in figures:
        on_cpu = max(0, int(figures["operations"]) - on_tpu)
    if on_tpu is None and mapped:
        on_tpu = sum(mapped.values())
    unmapped = figures.get("subgraphs") == 0  # of a log that is cut off before it says how many are left
    if on_cpu is None and succeeded and not unmapped and "not all operations are supported" not in text:
        on_cpu = 0  # it is silent about the CPU where nothing is left to it
        on_tpu = int(figures["operations"]) if "operations" in figures else None
    return EdgeTpuLog(
        version=version[1] if version else None,
        succeeded=succeeded,
        on_tpu=on_tpu,
        on_cpu=on_cpu,
        reasons={name: _joined(statuses) for name, statuses in sorted(refused.items())},
        figures=figures,
        errors=errors,
        hint=_hint(errors),
    )


def _operators(lines: list[str]) -> tuple[dict[str, int], dict[str, dict[str, int]]]:
    """Operator -> how many are mapped; operator -> status -> how many are not."""
    mapped: dict[str, int] = defaultdict(int)
    refused: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for line in lines:
        row = ROW.match(line)
        if row is None or (row[3] != MAPPED and MAPPED.startswith(row[3])):  # the log is cut off in that status
            continue
        if row[3].startswith(MAPPED):
            mapped[row[1]] += int(row[2])
        else:
            refused[row[1]][plain(row[3])] += int(row[2])
    return dict(mapped), {name: dict(statuses) for name, statuses in refused.items()}


def _joined(statuses: dict[str, int]) -> str:
    if len(statuses) == 1:
        return next(iter(statuses))
    return "; ".join(f"{count} {status}" for status, count in statuses.items())


def _figures(lines: list[str]) -> dict[str, float]:
    found: dict[str, float] = {}
    for line in lines:
        name, _colon, value = line.partition(":")
        size = re.fullmatch(r"\s*([0-9]{1,9}(?:\.[0-9]{1,9})?)(B|KiB|MiB|GiB)", value)
        count = re.fullmatch(r"\s*([0-9]{1,9})", value)
        if name in MEMORY and size:
            found[MEMORY[name]] = float(size[1]) * UNITS_KIB[size[2]]
        elif name in COUNTS and count:
            found[COUNTS[name]] = float(count[1])
    return found


def _told(lines: list[str], where: str) -> int | None:
    for line in lines:
        found = re.fullmatch(rf"Number of operations that will run on {where}: ([0-9]{{1,9}})", line)
        if found:
            return int(found[1])
    return None


def _errors(lines: list[str]) -> tuple[str, ...]:
    found = [plain(line) for line in lines if any(part in line for part, _hint in ERRORS)]
    return tuple(dict.fromkeys(found))[:MAX_ERRORS]


def _hint(errors: tuple[str, ...]) -> str:
    hints = (hint for part, hint in ERRORS if any(part in error for error in errors))
    return next(hints, EdgeTpuLog.hint)

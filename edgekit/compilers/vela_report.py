"""What Vela says of a compilation: its summary CSV, its per-layer CSV, and the warnings it prints. Pure.

The columns are written by ``ethosu/vela/stats_writer.py`` of ethos-u-vela 5.2; areas are in KiB, times in seconds.
"""

import csv
import io
import math
import re

from edgekit.compilers.entries import LayerFigures
from edgekit.errors import CompilerError
from edgekit_converters.structure import Structure

SUMMARY_NAMES = {
    "core_clock": "core_clock_hz",
    "arena_cache_size": "arena_cache_kib",
    "inferences_per_second": "estimated_inferences_per_s",
    "inference_time": "estimated_inference_s",
    "total_original_weights": "original_weights_bytes",
    "total_npu_encoded_weights": "encoded_weights_bytes",
    "nn_macs": "macs",
    "nn_tops": "estimated_tera_ops_per_s",
}
"""Column of the summary -> our name where Vela's own has no unit; a time is Vela's estimate from its cycles."""
SUMMARY_SUFFIXES = {"_bandwidth": "_bandwidth_gib_per_s", "_memory_used": "_used_kib"}
LAYER_COLUMNS = {
    "Staging Usage": "staging_bytes",
    "Op Cycles": "cycles_total",
    "NPU": "cycles_npu",
    "SRAM AC": "cycles_sram_access",
    "DRAM AC": "cycles_dram_access",
    "OnFlash AC": "cycles_on_chip_flash_access",
    "OffFlash AC": "cycles_off_chip_flash_access",
    "MAC Count": "macs",
    "Util% (MAC)": "macs_utilization_percent",
}
"""Column of the per-layer report -> our name; shares of the whole are left out: they follow from the summary."""
MAX_LAYERS = 100_000
WARNING = re.compile(
    r"^Warning \(supported operators\) operator: (?P<operator>\w+), ofm: '(?P<ofm>.*)'\n(?P<reason>(?:.+\n)+)",
    re.MULTILINE,
)
WHICH_TENSOR = re.compile(r"(unsupported DataType \w+) \(.*\)$")
"""One of the op's tensors, by a name that the converter joined from all that it fused."""
CPU_COUNT = re.compile(r"^CPU operators = ([0-9]{1,9}) ", re.MULTILINE)


def parse_summary(text: str) -> dict[str, float]:
    """Our name -> value of every number in the summary CSV; a NaN is left out. Raises CompilerError."""
    try:
        rows = list(csv.DictReader(io.StringIO(text)))
    except csv.Error as err:
        raise _unreadable("summary", str(err)) from err
    if len(rows) != 1 or "cycles_total" not in rows[0]:
        raise _unreadable("summary", f"{len(rows)} lines of figures instead of one with cycles_total")
    figures = {}
    for column, value in rows[0].items():
        number = _number(value)
        if number is not None:
            figures[_name_of(str(column))] = number
    return figures


def parse_layers(text: str) -> tuple[LayerFigures, ...]:
    """One entry for each op that Vela made, in its order; raises CompilerError.

    Names are the last column and are not quoted, so that a comma in one is its own.
    """
    lines = text.splitlines()
    header = lines[0].split(",") if lines else []
    if header[:2] != ["Original Operator", "NNG Operator"] or header[-1] != "Name" or len(lines) > MAX_LAYERS:
        raise _unreadable("per-layer report", f"the columns {', '.join(header)[:80] or 'none'}")
    layers = []
    for line in lines[1:]:
        cells = line.split(",", len(header) - 1)
        if len(cells) != len(header):
            raise _unreadable("per-layer report", f"the line {line[:80]!r}")
        row = dict(zip(header, cells, strict=True))
        numbers = {name: _number(row.get(column)) for column, name in LAYER_COLUMNS.items()}
        original, own = row["Original Operator"], row["NNG Operator"]
        layers.append(
            LayerFigures(
                name=row["Name"],
                operator=original if original == own else f"{original}: {own}",
                figures={name: number for name, number in numbers.items() if number is not None},
            )
        )
    return tuple(layers)


def parse_reasons(output: str, reference: Structure) -> dict[str, str]:
    """Operator of the reference -> why Vela leaves it to the CPU, the first of several reasons.

    Vela splits a fused activation from its op before it looks; the output tensor tells whose it is.
    """
    owners = {op.outputs[0].name: op for op in reference.ops if op.outputs}
    found: dict[str, list[str]] = {}
    for match in WARNING.finditer(output):
        owner = owners.get(match["ofm"])
        operator = match["operator"] if owner is None else (owner.custom or owner.name)
        lines = [line.strip() for line in match["reason"].splitlines()]
        lines[0] = WHICH_TENSOR.sub(r"\1", lines[0].removeprefix("Reason: "))
        found.setdefault(operator, []).append(". ".join(lines))
    return {operator: reasons[0] for operator, reasons in sorted(found.items())}


def parse_cpu_count(output: str) -> int | None:
    """How many ops Vela says that it left to the CPU; None where it does not say."""
    match = CPU_COUNT.search(output)
    return int(match[1]) if match else None


def _name_of(column: str) -> str:
    if column in SUMMARY_NAMES:
        return SUMMARY_NAMES[column]
    for suffix, ours in SUMMARY_SUFFIXES.items():
        if column.endswith(suffix):
            return column.removesuffix(suffix) + ours
    return column


def _number(cell: object) -> float | None:
    try:
        number = float(str(cell))
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _unreadable(what: str, found: str) -> CompilerError:
    return CompilerError(
        f"Vela's {what} is not as edgekit knows it: found {found}.",
        hint='Use the version that is tested: pip install "edgekit[npu]".',
    )

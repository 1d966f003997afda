"""What rknn-toolkit2 says with ``verbose=True``, as data. Pure."""

import json
import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from edgekit.compilers.entries import LayerFigures
from edgekit.compilers.rknn_build import MARK
from edgekit.compilers.tools import plain

ANSI = re.compile(r"\x1b\[[0-9;]{0,20}m")
ROW = re.compile(
    r"D RKNN: \[[0-9:.]{1,20}\] (?P<id>[0-9]{1,6}) +(?P<op>\w{1,60}) +\w{1,20} +(?P<target>CPU|NPU|GPU) +\S+ +\S+ +"
    r"(?P<ddr>[0-9]{1,12})/(?P<npu>[0-9]{1,12})/(?P<total>[0-9]{1,12}) +(?P<kb>[0-9]{1,9}(?:\.[0-9]{1,9})?) +"
    r"(?P<name>\S.*)"
)
"""Of the Network Layer Information Table: ID OpType DataType Target InputShape OutputShape Cycles RW(KB) FullName."""
MEMORY = re.compile(r"Total (Internal|Weight) Memory Size: ([0-9]{1,9}(?:\.[0-9]{1,9})?)(KB|MB|B)")
UNITS_KIB = {"B": 1 / 1024, "KB": 1.0, "MB": 1024.0}
FALLBACKS = (
    re.compile(r"(\w{1,60}) will fallback to CPU, because ([^\n]{1,300})"),
    re.compile(r"Compiler: (\w{1,60}): ([^\n]{0,300}turn to Target:CPU[^\n]{0,100})"),
)
IO = frozenset({"InputOperator", "OutputOperator"})
"""Of the table, not of the model: they bring data in and out."""
MAX_LAYERS = 10_000
MAX_ERRORS = 3


@dataclass(frozen=True, kw_only=True)
class Simulation:
    """The toolkit's simulator against TensorFlow Lite's reference kernels, on the same inputs."""

    samples: int
    noise: bool
    """There was no calibration data."""
    max_difference: float
    """In steps of a quantized output; in the output's own unit where it is float."""
    mean_difference: float
    same_largest: int
    """In how many samples the largest value of every output is at the same place."""


@dataclass(frozen=True, kw_only=True)
class RknnLog:
    """One build."""

    built: bool = False
    failed: str | None = None
    """Step that failed: ``config``, ``load``, ``build`` or ``export``."""
    version: str | None = None
    on_npu: int | None = None
    """Ops of the toolkit's own, fused graph; None where there is no table."""
    on_cpu: dict[str, int] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    figures: dict[str, float] = field(default_factory=dict)
    """``cycles_total`` over all ops, ``weight_memory_kib``, ``internal_memory_kib``: the toolkit's estimates."""
    layers: tuple[LayerFigures, ...] = ()
    errors: tuple[str, ...] = ()
    simulation: Simulation | None = None


def parse_log(text: str) -> RknnLog:
    """Read what the toolkit said; never raises, whatever it is given."""
    lines = [ANSI.sub("", line).rstrip() for line in text.replace("\r", "\n").split("\n")]
    told = list(_told(lines))
    version = re.search(r"rknn-toolkit2 version: ([0-9][0-9A-Za-z.+]{0,40})", text)
    rows = _last_table(lines)
    inner = [row for row in rows if row["op"] not in IO]
    figures = {f"{kind.lower()}_memory_kib": float(size) * UNITS_KIB[unit] for kind, size, unit in MEMORY.findall(text)}
    if inner:
        figures["cycles_total"] = float(sum(int(row["total"]) for row in inner))
    return RknnLog(
        built=any(said.get("built") is True for said in told),
        failed=next((str(said["failed"])[:20] for said in told if "failed" in said), None),
        version=version[1] if version else None,
        on_npu=sum(row["target"] == "NPU" for row in inner) if rows else None,
        on_cpu=dict(sorted(Counter(row["op"] for row in inner if row["target"] != "NPU").items())),
        reasons=_reasons(lines),
        figures=figures,
        layers=tuple(_layer(row) for row in inner),
        errors=_errors(lines),
        simulation=next(filter(None, map(_simulation, told)), None),
    )


def _told(lines: list[str]) -> Iterator[dict[str, object]]:
    """What rknn_build.py says itself."""
    for line in lines:
        if line.startswith(MARK):
            try:
                said = json.loads(line.removeprefix(MARK))
            except (ValueError, RecursionError):
                continue
            if isinstance(said, dict):
                yield said


def _last_table(lines: list[str]) -> list[dict[str, str]]:
    """The toolkit prints a table for each of its passes; the last one is what is exported."""
    rows: list[dict[str, str]] = []
    for line in lines:
        found = ROW.match(line)
        if found is None:
            continue
        if rows and int(found["id"]) <= int(rows[-1]["id"]):
            rows = []
        if len(rows) < MAX_LAYERS:
            rows.append(found.groupdict())
    return rows


def _layer(row: dict[str, str]) -> LayerFigures:
    return LayerFigures(
        name=plain(row["name"].partition(":")[2] or row["name"]),
        operator=row["op"],
        figures={
            "on_npu": float(row["target"] == "NPU"),
            "cycles_ddr": float(row["ddr"]),
            "cycles_npu": float(row["npu"]),
            "cycles_total": float(row["total"]),
            "read_write_kib": float(row["kb"]),
        },
    )


def _reasons(lines: list[str]) -> dict[str, str]:
    found = (
        pattern.search(line) for line in lines if "to CPU" in line or "Target:CPU" in line for pattern in FALLBACKS
    )
    return {row[1]: plain(row[2]) for row in found if row}


def _errors(lines: list[str]) -> tuple[str, ...]:
    """What an exception says comes before the toolkit's own words, which are mostly its traceback."""
    raised = [plain(line) for line in lines if re.match(r"\w{1,60}Error: ", line)]
    said = [plain(line[2:]) for line in lines if re.match(r"E [a-z_]{2,40}: \S", line)]
    return tuple(dict.fromkeys(line for line in (*raised, *said) if "Traceback" not in line))[:MAX_ERRORS]


def _simulation(said: dict[str, object]) -> Simulation | None:
    numbers = [said.get(name) for name in ("samples", "max", "mean", "same_largest")]
    if not all(isinstance(number, int | float) and math.isfinite(number) for number in numbers):
        return None
    samples, worst, mean, same = (float(str(number)) for number in numbers)
    if samples < 1 or not 0 <= same <= samples:
        return None
    return Simulation(
        samples=int(samples),
        noise=said.get("noise") is not False,
        max_difference=worst,
        mean_difference=mean,
        same_largest=int(same),
    )

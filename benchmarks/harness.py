"""What the benchmarks share: a row to reach, pairs with their interval, the models, ``--json``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgekit.bench.statistics import choose_rank, median

ROOT = Path(__file__).parent.parent
SCRIPTS = Path(sys.executable).parent
"""Where ``edgekit`` and ``litert-benchmark`` are installed."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of ``make bench``."""

    what: str
    measured: str
    to_reach: str
    ok: bool


@dataclass(frozen=True, kw_only=True)
class Paired:
    """Median over pairs, and the order-statistic interval of it (sign test: no distribution is assumed)."""

    value: float
    low: float
    high: float
    level: float

    def __format__(self, spec: str) -> str:
        interval = f"{self.low:{spec}} to {self.high:{spec}}"
        return f"{self.value:{spec}} ({100 * self.level:.0f} %: {interval})"


def paired(values: Sequence[float]) -> Paired:
    """``values``: a ratio or a difference for each pair of runs that stood next to each other."""
    rank, level = choose_rank(len(values))
    ordered = sorted(values)
    return Paired(value=median(values), low=ordered[rank], high=ordered[-1 - rank], level=level)


def alternating(number: int, first: str, second: str) -> tuple[str, str]:
    """Which of the two goes first in this pair: they take turns."""
    return (first, second) if number % 2 == 0 else (second, first)


def cases(holding: str = "data") -> Path:
    """The folder of real models and data that has ``holding`` in it; ends the program where there is none."""
    for folder in (ROOT.parent / "shared" / "cases", ROOT / "cases"):
        if (folder / holding).exists():
            return folder
    sys.exit("There are no real models here: run `make cases`.")


def model(name: str) -> Path:
    """A real model, such as ``tflite_ref/kws_int8.tflite``; ends the program where there are none."""
    return cases(f"models/{name}") / "models" / name


def parser(description: str | None) -> argparse.ArgumentParser:
    """An argument parser with ``--json FILE``."""
    made = argparse.ArgumentParser(description=(description or "").split("\n", maxsplit=1)[0])
    made.add_argument("--json", type=Path, metavar="FILE", help="rows and every run as JSON")
    return made


def finish(rows: Sequence[Row], details: Any, file: Path | None) -> int:
    """Print the rows, write them with the details; the exit status is 1 when one was not reached."""
    print_rows(rows)
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        document = {"rows": [asdict(row) for row in rows], "details": details}
        file.write_text(json.dumps(document, indent=1), encoding="utf-8")
    return 0 if all(row.ok for row in rows) else 1


def print_rows(rows: Sequence[Row]) -> None:
    """The table ``what | measured | to reach | ok``."""
    cells = [("what", "measured", "to reach", "ok")]
    cells += [(row.what, row.measured, row.to_reach, "yes" if row.ok else "NO") for row in rows]
    widths = [max(len(line[column]) for line in cells) for column in range(4)]
    for line in cells:
        print(" | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip(), flush=True)


def say(text: str) -> None:
    """Progress, on stderr."""
    print(text, file=sys.stderr, flush=True)

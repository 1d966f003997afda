"""Source x precision x calibrator: task metric, SQNR, size, seconds, peak memory; TFLiteConverter and AEQ beside it.

python -m benchmarks.convert_quality [--only kws]... [--rounds 1] [--quick] [--json FILE]        (about 5 minutes)

Every cell is a fresh process, the cells of a source take turns, and all get the same calibration samples. The task
metric is the share of right labels, the SQNR that of the first output against the float .tflite that edgekit converted
(compared with its source when it was), both on samples that calibrated nothing. Seconds go from process start to the
file, from the float .tflite (TFLiteConverter: from the source) and with the memory being sampled: they are to be looked
at, what is promised of them is measured in ``build_speed``.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np

from benchmarks.convert_cases import CASES, Case
from benchmarks.harness import ROOT, Row, finish, parser, say
from benchmarks.process_tree import CommandFailedError, run_sampled
from benchmarks.quality import outputs, sqnr_db
from edgekit.bench.statistics import median
from edgekit_converters import child
from edgekit_converters.errors import ConverterError
from edgekit_converters.sources import open_source
from edgekit_converters.structure import read_structure
from edgekit_converters.types import Calibrator

BASELINES = ROOT / "benchmarks" / "baselines"
TOLERANCE_DB = 0.2
PEERS = {"TFLiteConverter": "tflite_converter_int8.py", "ai-edge-quantizer": "ai_edge_quantizer_int8.py"}
ARTIFACT = "artifact"
OURS = "edgekit int8 auto"
"""The cell that is compared with the peers."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """One cell; fields are None where the file could not be made."""

    name: str
    accuracy: float | None = None
    """0..1; None also where there are no labels."""
    sqnr_db: float | None = None
    size_bytes: int | None = None
    wall_s: float | None = None
    """Median of the rounds."""
    peak_bytes: int | None = None
    """PSS of the process tree, largest of the rounds."""
    floats: int = 0
    """float32 tensors in an int8 file: it is one in its name only."""
    failure: str | None = None
    """Why it could not be made."""


def commands(case: Case, float_model: Path, samples: Path, out: Path, *, quick: bool) -> dict[str, list[str | Path]]:
    """Cell -> the command that makes its file."""

    def edgekit(*options: str) -> list[str | Path]:
        made = ("--calibration", samples, "--output", out.parent / ARTIFACT, "--target=x86-64", "--no-cache")
        return [sys.executable, "-m", "edgekit", "build", float_model, *made, *options]

    found = {
        f"edgekit int8 {calibrator}": edgekit("--precision=int8", f"--calibrator={calibrator}")
        for calibrator in ("min-max", "auto")
    }
    if not quick:
        for calibrator in get_args(Calibrator):
            found[f"edgekit int8 {calibrator}"] = edgekit("--precision=int8", f"--calibrator={calibrator}")
        found["edgekit int16x8 auto"] = edgekit("--precision=int16x8", "--calibrator=auto")
        found["edgekit float16"] = edgekit("--precision=float16")
        found["edgekit dynamic"] = edgekit("--precision=dynamic")
    for peer, script in PEERS.items():
        if peer != "TFLiteConverter" or case.keras:
            source = case.source if peer == "TFLiteConverter" else float_model
            found[f"{peer} int8"] = [sys.executable, BASELINES / script, source, samples, out]
    return found


def measure(name: str, case: Case, folder: Path, *, rounds: int, quick: bool) -> list[Result]:
    """Every cell of a source; raises ConverterError where it cannot be converted at all."""
    float_model = folder / "float.tflite"
    start = time.perf_counter()
    source = open_source(str(case.source), directory=Path(), weights=None, layout=None)
    converted = child.convert(source, log_folder=folder)
    wall_s = time.perf_counter() - start
    float_model.write_bytes(converted.tflite)
    case = in_layout(case, converted.inputs[0].permutation)
    np.savez(folder / "samples.npz", x=case.calibration)
    expected = outputs(float_model, case.held_out).reshape(len(case.held_out), -1)
    size = float_model.stat().st_size
    first = Result(name="float32", accuracy=accuracy(expected, case), size_bytes=size, wall_s=wall_s)
    out = folder / "out.tflite"
    cells = commands(case, float_model, folder / "samples.npz", out, quick=quick)
    walls: dict[str, list[float]] = {cell: [] for cell in cells}
    peaks: dict[str, list[int]] = {cell: [] for cell in cells}
    quality: dict[str, Result] = {}
    for number in range(rounds):
        for cell in list(cells) if number % 2 == 0 else reversed(cells):
            if cell in quality and quality[cell].failure:
                continue
            say(f"  {name}: {cell}")
            out.unlink(missing_ok=True)
            shutil.rmtree(folder / ARTIFACT, ignore_errors=True)
            start = time.perf_counter()
            try:
                peaks[cell].append(run_sampled(cells[cell], folder))
            except CommandFailedError as err:
                said = str(err).strip().splitlines()
                quality[cell] = Result(name=cell, failure=next((x for x in said if x.startswith("error")), said[-1]))
                continue
            walls[cell].append(time.perf_counter() - start)
            if cell not in quality:
                made = folder / ARTIFACT / "model.tflite" if cell.startswith("edgekit") else out
                quality[cell] = judge(cell, made, expected, case)
    return [
        first,
        *(
            replace(quality[cell], wall_s=median(walls[cell]), peak_bytes=max(peaks[cell]))
            if walls[cell]
            else quality[cell]
            for cell in cells
        ),
    ]


def in_layout(case: Case, permutation: tuple[int, ...] | None) -> Case:
    """The samples as the float model takes them; ``permutation`` of the axes with the batch, None for none."""
    if permutation is None:
        return case
    calibration, held_out = (np.ascontiguousarray(x.transpose(permutation)) for x in (case.calibration, case.held_out))
    return replace(case, calibration=calibration, held_out=held_out)


def judge(cell: str, file: Path, expected: np.ndarray[Any, Any], case: Case) -> Result:
    """Quality of one file."""
    found = outputs(file, case.held_out).reshape(expected.shape)
    data = file.read_bytes()
    return Result(
        name=cell,
        accuracy=accuracy(found, case),
        sqnr_db=sqnr_db(expected, found),
        size_bytes=len(data),
        floats=read_structure(data).dtype_counts.get("float32", 0) if " int8" in cell else 0,
    )


def accuracy(scores: np.ndarray[Any, Any], case: Case) -> float | None:
    """Share of samples whose largest score is the label's."""
    return None if case.labels is None else float((scores.argmax(axis=1) == case.labels).mean())


def promises(name: str, case: Case, results: Sequence[Result]) -> list[Row]:
    """Against the best of the peers, and for a hard one above it."""
    by_name = {result.name: result for result in results}
    ours = by_name[OURS]
    peers = [by_name[cell] for cell in (f"{peer} int8" for peer in PEERS) if cell in by_name]
    made = [peer for peer in peers if peer.failure is None and not peer.floats]
    if ours.failure is not None:
        # A refusal is right where nobody can do it.
        said = f"refused: {ours.failure}; peers: {len(made)} of {len(peers)} made one of int8"
        return [Row(what=f"{name} int8", measured=said, to_reach="an int8 file, or no peer's", ok=not made)]
    rows = []
    for title, unit, room in (("sqnr_db", "dB", TOLERANCE_DB), ("accuracy", "", 0.0)):
        mine = getattr(ours, title)
        best = max((getattr(peer, title) for peer in made if getattr(peer, title) is not None), default=None)
        if mine is None or best is None:
            continue
        ok = mine > best if case.hard else mine >= best - room
        goal = "above the best peer" if case.hard else f"not below the best peer{f' - {room} dB' if room else ''}"
        measured = f"{mine:.4g} against {best:.4g} {unit}".rstrip()
        rows.append(Row(what=f"{name} int8 auto, {title}", measured=measured, to_reach=goal, ok=ok))
    return rows


def print_table(results: Mapping[str, Sequence[Result]]) -> None:
    """The whole table; what was not measured is a dash."""
    lines = [("source", "made by", "metric", "SQNR dB", "bytes", "s", "peak MiB", "")]
    lines += [(source, *_cells(result)) for source, found in results.items() for result in found]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
    print(flush=True)


def _cells(result: Result) -> tuple[str, str, str, str, str, str, str]:
    return (
        result.name,
        _shown(result.accuracy, ".4f"),
        _shown(result.sqnr_db, ".2f"),
        _shown(result.size_bytes, ",d"),
        _shown(result.wall_s, ".2f"),
        _shown(result.peak_bytes and result.peak_bytes / 2**20, ".0f"),
        f"{result.floats} tensors are float32" if result.floats else (result.failure or "")[:60],
    )


def _shown(value: float | None, spec: str) -> str:
    return "-" if value is None else format(value, spec)


def main() -> int:
    """Exit status 1 when a source misses what it should reach."""
    arguments = parser(__doc__)
    arguments.add_argument("--rounds", type=int, default=1, help="runs a cell (default: %(default)s)")
    arguments.add_argument("--only", choices=CASES, action="append", help="can be repeated")
    arguments.add_argument("--quick", action="store_true", help="int8 with min-max and auto, and the peers, only")
    options = arguments.parse_args()
    rows: list[Row] = []
    results: dict[str, list[Result]] = {}
    for name in options.only or CASES:
        case = CASES[name]()
        with tempfile.TemporaryDirectory() as folder:
            try:
                results[name] = measure(name, case, Path(folder), rounds=options.rounds, quick=options.quick)
            except ConverterError as err:
                rows.append(Row(what=name, measured=f"not converted: {err}", to_reach="a float .tflite", ok=False))
                continue
        rows += promises(name, case, results[name])
    print_table(results)
    return finish(rows, {name: [asdict(cell) for cell in cells] for name, cells in results.items()}, options.json)


if __name__ == "__main__":
    sys.exit(main())

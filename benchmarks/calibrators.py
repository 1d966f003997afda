"""What each range estimator, equalization and bias correction is worth: SQNR of int8 files on three calibration sets.

python -m benchmarks.calibrators [--only kws]... [--sets 3] [--no-peers] [--json FILE]        (about 6 minutes)

Of each source (``convert_cases``) three sets of 100 samples calibrate, one after the other, and 300 others measure.
A cell is two SQNR in dB of the first output, mean of the sets: over all elements of all samples, which the few worst
samples decide, and the mean of the samples' own (``edgekit_converters.comparison``). TFLiteConverter and
ai-edge-quantizer, as they come, get the same sets. docs/calibration.md draws the conclusions.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from benchmarks.convert_cases import CALIBRATION, CASES, Case
from benchmarks.harness import ROOT, Row, finish, parser, say
from edgekit_converters import child
from edgekit_converters.comparison import Comparison, Reference, compare, compare_outputs, mean, runner, take_reference
from edgekit_converters.estimators import estimate_ranges
from edgekit_converters.quantize import quantize
from edgekit_converters.refinement import Switch, refine
from edgekit_converters.sources import open_source
from edgekit_converters.statistics import Statistics, collect_statistics
from edgekit_converters.trials import start_trials
from edgekit_converters.types import Calibrator, FloatModel, Scheme

HELD_OUT = 300
TOLERANCE_DB = 0.2
PEERS = {"TFLiteConverter": "tflite_converter_int8.py", "ai-edge-quantizer": "ai_edge_quantizer_int8.py"}
AUTO = "auto"
SCHEMES = {
    "per channel": Scheme(precision="int8", io="int8"),
    "per tensor": Scheme(precision="int8", io="int8", per_channel=False, per_channel_fully_connected=False),
}
RECURRENT = "lstm"
"""Its loop is not for these measurements."""
Samples = list[dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Cell:
    """SQNR of a file in dB."""

    overall: float
    """Over all elements of all samples."""
    typical: float
    """Mean of the samples' own."""


@dataclass(frozen=True, kw_only=True)
class Calibrated:
    """A float model with one calibration set, and what measures."""

    model: FloatModel
    samples: Samples
    statistics: Statistics
    reference: Reference


def plain(case: Calibrated, scheme: Scheme, calibrator: Calibrator) -> Comparison:
    """One estimator, nothing else."""
    ranges = estimate_ranges(case.statistics, calibrator)
    return compare(quantize(case.model, scheme=scheme, ranges=ranges).tflite, case.reference)


def refined(
    case: Calibrated,
    scheme: Scheme,
    *,
    calibrator: Calibrator | Literal["auto"] = "min-max",
    equalization: Switch = "off",
    bias_correction: Switch = "off",
) -> Comparison:
    """As ``edgekit build`` does it."""
    found = refine(
        case.model,
        case.statistics,
        lambda: case.samples,
        start_trials(case.model, scheme, lambda: case.samples),
        calibrator=calibrator,
        equalization=equalization,
        bias_correction=bias_correction,
    )
    return compare(quantize(found.model, scheme=scheme, ranges=found.ranges).tflite, case.reference)


METHODS: dict[str, Callable[[Calibrated, Scheme], Comparison]] = {
    **{name: partial(plain, calibrator=name) for name in get_args(Calibrator)},
    "min-max, equalized": partial(refined, equalization="on"),
    "min-max, biases corrected": partial(refined, bias_correction="on"),
    "auto, ranges alone": partial(refined, calibrator="auto"),
    AUTO: partial(refined, calibrator="auto", equalization="auto", bias_correction="auto"),
}
"""Row of the table -> what makes the file."""


def measure(name: str, case: Case, folder: Path, *, sets: int, peers: bool) -> dict[str, dict[str, Cell]]:
    """Scheme -> method -> mean of the sets."""
    source = open_source(str(case.source), directory=Path(), weights=None, layout=None)
    model = child.convert(source, log_folder=folder)
    pool = np.concatenate([case.calibration, case.held_out])
    found: dict[str, dict[str, list[Comparison]]] = {scheme: {} for scheme in SCHEMES}
    for number in range(sets):
        chosen = slice(number * CALIBRATION, (number + 1) * CALIBRATION)
        x, rest = pool[chosen], np.delete(pool, chosen, axis=0)[-HELD_OUT:]
        calibrated = calibrate(model, x, rest)
        for scheme_name, scheme in SCHEMES.items():
            for method, make in METHODS.items():
                say(f"  {name}, set {number + 1} of {sets}: {scheme_name}, {method}")
                found[scheme_name].setdefault(method, []).append(make(calibrated, scheme))
        for peer in PEERS if peers else ():
            if peer != "TFLiteConverter" or case.keras:
                say(f"  {name}, set {number + 1} of {sets}: {peer}")
                made = run_peer(peer, case, calibrated, x, folder)
                if made is not None:
                    found["per channel"].setdefault(peer, []).append(made)
    return {
        scheme: {
            method: Cell(
                overall=float(np.mean([mean(one.sqnr_db) for one in each])),
                typical=float(np.mean([one.mean_db for one in each])),
            )
            for method, each in methods.items()
        }
        for scheme, methods in found.items()
    }


def calibrate(model: FloatModel, x: np.ndarray[Any, Any], rest: np.ndarray[Any, Any]) -> Calibrated:
    """Statistics of one set, and the float outputs of the others."""
    (spec,) = model.inputs
    samples, held_out = ([{spec.name: sample.reshape(spec.shape)} for sample in part] for part in (x, rest))
    return Calibrated(
        model=model,
        samples=samples,
        statistics=collect_statistics(model.tflite, lambda: samples, histograms=True),
        reference=take_reference(model, held_out, most=HELD_OUT),
    )


def run_peer(peer: str, case: Case, calibrated: Calibrated, x: np.ndarray[Any, Any], folder: Path) -> Comparison | None:
    """The peer's file in a process of its own; None where it makes none."""
    np.savez(folder / "samples.npz", x=x)
    (folder / "float.tflite").write_bytes(calibrated.model.tflite)
    source = case.source if peer == "TFLiteConverter" else folder / "float.tflite"
    script, out = ROOT / "benchmarks" / "baselines" / PEERS[peer], folder / "out.tflite"
    command: list[str | Path] = [sys.executable, script, source, folder / "samples.npz", out]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        return None
    run = runner(out.read_bytes())
    names = signature_names(out)
    (taken,), (given, *_) = (tuple(calibrated.model.inputs), tuple(calibrated.model.outputs))
    answers = [{given.name: run({names[0]: sample[taken.name]})[names[1]]} for sample in calibrated.reference.samples]
    return compare_outputs(calibrated.reference, answers)


def signature_names(file: Path) -> tuple[str, str]:
    """First input and first output of a .tflite with one signature."""
    from ai_edge_litert.interpreter import Interpreter

    signature = next(iter(Interpreter(model_path=str(file)).get_signature_list().values()))
    return signature["inputs"][0], signature["outputs"][0]


def promises(name: str, found: Mapping[str, Mapping[str, Cell]]) -> list[Row]:
    """auto against min-max (and the peers, where there are any)."""
    rows = []
    for scheme, methods in found.items():
        others = {method: methods[method].overall for method in ("min-max", *PEERS) if method in methods}
        best = max(others, key=lambda method: others[method])
        ours = methods[AUTO].overall
        rows.append(
            Row(
                what=f"{name} int8 {scheme}, SQNR of auto",
                measured=f"{ours:.2f} dB against {others[best]:.2f} of {best}",
                to_reach=f"not below - {TOLERANCE_DB} dB",
                ok=ours >= others[best] - TOLERANCE_DB,
            )
        )
    return rows


def print_table(scheme: str, found: Mapping[str, Mapping[str, Mapping[str, Cell]]]) -> None:
    """Markdown, as it stands in docs/calibration.md: a column a source, ``overall / typical`` in dB."""
    methods = list(dict.fromkeys(method for cells in found.values() for method in cells[scheme]))
    print(f"| int8, {scheme} | {' | '.join(found)} |")
    print(f"|---|{'---|' * len(found)}")
    for method in methods:
        cells = [cells[scheme].get(method) for cells in found.values()]
        shown = [f"{cell.overall:.1f} / {cell.typical:.1f}" if cell else "-" for cell in cells]
        print(f"| {method} | {' | '.join(shown)} |")
    print(flush=True)


def main() -> int:
    """Exit status 1 when auto is worse than doing nothing, or than a peer."""
    arguments = parser(__doc__)
    names = [name for name in CASES if name != RECURRENT]
    arguments.add_argument("--only", choices=names, action="append", help="can be repeated")
    arguments.add_argument("--sets", type=int, default=3, help="calibration sets (default: %(default)s)")
    arguments.add_argument("--no-peers", action="store_true", help="edgekit alone: no TensorFlow start for each set")
    options = arguments.parse_args()
    results, rows = {}, []
    for name in options.only or names:
        with tempfile.TemporaryDirectory() as folder:
            results[name] = measure(name, CASES[name](), Path(folder), sets=options.sets, peers=not options.no_peers)
        rows += promises(name, results[name])
    for scheme in SCHEMES:
        print_table(scheme, results)
    details = {
        name: {scheme: {method: vars(cell) for method, cell in cells.items()} for scheme, cells in found.items()}
        for name, found in results.items()
    }
    return finish(rows, details, options.json)


if __name__ == "__main__":
    sys.exit(main())

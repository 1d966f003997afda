"""``edgekit build`` to int8 against a bare TFLiteConverter script: wall, time without imports, peak memory.

python -m benchmarks.build_speed [--rounds 5] [--only resnet8] [--json FILE]

Both take the same model file and the same 200 samples, each time in fresh processes, from start to the file written;
edgekit's run is the whole command, its checks, audit and golden vectors included. A first pair, not counted, writes
the .pyc files of both; one more pair is sampled for memory, which would disturb the clock.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import SCRIPTS, Row, alternating, finish, model, paired, parser, say
from benchmarks.process_tree import Timed, run_sampled, run_timed
from edgekit.bench.statistics import median

PEER = Path(__file__).parent / "baselines" / "tflite_converter_int8.py"
SAMPLES = 200
WORK_RATIO = 0.35
"""What edgekit's time without imports may be of the peer's, for every model."""
MOBILENET = """
import keras, sys
keras.utils.set_random_seed(1)
keras.applications.MobileNetV2((96, 96, 3), alpha=0.35, weights=None, classes=10).save(sys.argv[1])
"""


@dataclass(frozen=True, kw_only=True)
class Case:
    """A source model and 200 samples for it."""

    path: Path
    samples: Path
    """.npz with ``x``, float32, as the model takes it."""
    wall_ratio: float
    """What edgekit's wall may be of the peer's."""


def mobilenet(folder: Path) -> Case:
    """MobileNetV2-0.35, 96x96, seeded random weights: the time does not depend on them."""
    path = folder / "mobilenet.keras"
    subprocess.run([sys.executable, "-c", MOBILENET, path], check=True, capture_output=True)
    x = np.random.default_rng(1).uniform(-1, 1, (SAMPLES, 96, 96, 3))
    return Case(path=path, samples=_save(folder, x), wall_ratio=0.7)


def kws(folder: Path) -> Case:
    """MLPerf Tiny keyword spotting, a Keras 2 SavedModel, on real features."""
    path = model("saved_model/kws_ref_model")
    with np.load(path.parents[2] / "data" / "kws" / "kws_mfcc_int8.npz") as arrays:
        x = (arrays["x"][:SAMPLES].astype(np.float32) - arrays["zero_point"]) * arrays["scale"]
    return Case(path=path, samples=_save(folder, x), wall_ratio=0.7)


def resnet8(folder: Path) -> Case:
    """MLPerf Tiny image classification, a Keras 2 .h5; there are no images with a licence, so noise in its range."""
    x = np.random.default_rng(1).uniform(0, 255, (SAMPLES, 32, 32, 3))
    return Case(path=model("keras_h5/ic_resnet8.h5"), samples=_save(folder, x), wall_ratio=0.9)


def _save(folder: Path, x: np.ndarray[Any, Any]) -> Path:
    path = folder / "samples.npz"
    np.savez(path, x=x.astype(np.float32))
    return path


CASES: dict[str, Callable[[Path], Case]] = {"mobilenet": mobilenet, "kws": kws, "resnet8": resnet8}


@dataclass(frozen=True, kw_only=True)
class Runs:
    """What was measured of one side."""

    timed: tuple[Timed, ...]
    peak_bytes: int
    """Of the process tree."""
    file_bytes: int

    def median(self, what: str) -> float:
        """Of ``wall_s`` or ``work_s``."""
        return median([getattr(run, what) for run in self.timed])


def measure(case: Case, folder: Path, rounds: int) -> tuple[Runs, Runs]:
    """edgekit's and the peer's runs, in pairs that take turns in who is first."""
    artifact, file = folder / "artifact", folder / "peer.tflite"
    ours: list[str | Path] = [SCRIPTS / "edgekit", "build", case.path, "--target", "rpi4", "--precision", "int8"]
    ours += ["--calibration", case.samples, "--output", artifact]
    commands: dict[str, list[str | Path]] = {
        "edgekit": ours,
        "peer": [sys.executable, PEER, case.path, case.samples, file],
    }

    def fresh(side: str) -> list[str | Path]:
        shutil.rmtree(artifact, ignore_errors=True)
        return commands[side]

    timed: dict[str, list[Timed]] = {"edgekit": [], "peer": []}
    for number in range(-1, rounds):
        for side in alternating(number, "edgekit", "peer"):
            run = run_timed(fresh(side), folder)
            if number >= 0:
                timed[side].append(run)
    peaks = {side: run_sampled(fresh(side), folder) for side in ("peer", "edgekit")}
    sizes = {"edgekit": (artifact / "model.tflite").stat().st_size, "peer": file.stat().st_size}
    edgekit, peer = (
        Runs(timed=tuple(timed[side]), peak_bytes=peaks[side], file_bytes=sizes[side]) for side in ("edgekit", "peer")
    )
    return edgekit, peer


def rows(name: str, case: Case, edgekit: Runs, peer: Runs) -> list[Row]:
    """Wall, time without imports and memory of one model."""
    found = []
    for what, title, limit in (("wall_s", "wall", case.wall_ratio), ("work_s", "without imports", WORK_RATIO)):
        pairs = zip(edgekit.timed, peer.timed, strict=True)
        ratio = paired([getattr(ours, what) / getattr(theirs, what) for ours, theirs in pairs])
        measured = f"{ratio:.2f}, {edgekit.median(what):.2f} s against {peer.median(what):.2f} s"
        found.append(
            Row(
                what=f"build {name} int8 / TFLiteConverter, {title}",
                measured=measured,
                to_reach=f"<= {limit}",
                ok=ratio.value <= limit,
            )
        )
    peaks = f"{edgekit.peak_bytes / 2**20:.0f} MiB against {peer.peak_bytes / 2**20:.0f} MiB"
    memory = Row(
        what=f"build {name} int8 / TFLiteConverter, peak of the process tree (PSS)",
        measured=f"{edgekit.peak_bytes / peer.peak_bytes:.2f}, {peaks}",
        to_reach="<= 1.0",
        ok=edgekit.peak_bytes <= peer.peak_bytes,
    )
    return [*found, memory]


def main() -> int:
    """Exit status 1 when a model does not reach what it should."""
    arguments = parser(__doc__)
    arguments.add_argument("--rounds", type=int, default=5, help="pairs (default: %(default)s)")
    arguments.add_argument("--only", choices=CASES, action="append", help="can be repeated")
    options = arguments.parse_args()
    table, details = [], {}
    for name in options.only or CASES:
        say(f"  {name}")
        with tempfile.TemporaryDirectory() as folder:
            case = CASES[name](Path(folder))
            edgekit, peer = measure(case, Path(folder), options.rounds)
        table += rows(name, case, edgekit, peer)
        details[name] = {"edgekit": asdict(edgekit), "peer": asdict(peer)}
    return finish(table, details, options.json)


if __name__ == "__main__":
    sys.exit(main())

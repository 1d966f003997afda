"""``edgekit build`` to int8 against a bare TFLiteConverter script: wall, time without imports, peak memory.

python -m benchmarks.build_speed [--rounds 5] [--only resnet8] [--json FILE]

Both take the same model file and the same 200 samples, each time in fresh processes, from start to the file written;
edgekit's run is the whole command, its checks, audit and golden vectors included. The two alternate, and which one
goes first alternates too. A first pair, not counted, writes the .pyc files of both. The interval is over pairs.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import numpy as np

from benchmarks.process_tree import Timed, run_sampled, run_timed

ROOT = Path(__file__).parent.parent
PEER = Path(__file__).parent / "baselines" / "tflite_converter_int8.py"
EDGEKIT = Path(sys.executable).parent / "edgekit"
SAMPLES = 200
WORK_RATIO = 0.35
"""What edgekit's time without imports may be of the peer's, for every model."""
RESAMPLES, LEVEL = 10_000, 0.95
MOBILENET = """
import keras, sys
keras.utils.set_random_seed(1)
keras.applications.MobileNetV2((96, 96, 3), alpha=0.35, weights=None, classes=10).save(sys.argv[1])
"""


@dataclass(frozen=True, kw_only=True)
class Model:
    """A source model and 200 samples for it."""

    name: str
    path: Path
    samples: Path
    """.npz with ``x``, float32, as the model takes it."""
    wall_ratio: float
    """What edgekit's wall may be of the peer's."""


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """edgekit / peer: median over the pairs of their ratios, and its bootstrap interval over pairs."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"


@dataclass(frozen=True, kw_only=True)
class Result:
    """One model's row."""

    model: str
    edgekit: tuple[Timed, ...]
    peer: tuple[Timed, ...]
    wall: Ratio
    work: Ratio
    wall_to_reach: float
    edgekit_peak_bytes: int
    peer_peak_bytes: int
    edgekit_bytes: int
    peer_bytes: int

    @property
    def reached(self) -> bool:
        """Whether wall, time without imports and memory are where they should be."""
        return (
            self.wall.value <= self.wall_to_reach
            and self.work.value <= WORK_RATIO
            and self.edgekit_peak_bytes <= self.peer_peak_bytes
        )


def ratio(edgekit: Sequence[float], peer: Sequence[float]) -> Ratio:
    """Median of the pairs' ratios; percentile bootstrap, the pair of fresh processes is the unit."""
    ratios = np.array(edgekit) / np.array(peer)
    drawn = np.random.default_rng(1).choice(ratios, (RESAMPLES, len(ratios)))
    low, high = np.quantile(np.median(drawn, axis=1), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Ratio(value=float(np.median(ratios)), low=float(low), high=float(high))


def mobilenet(folder: Path, _cases: Path) -> Model:
    """MobileNetV2-0.35, 96x96, seeded random weights: the time does not depend on them."""
    path = folder / "mobilenet.keras"
    subprocess.run([sys.executable, "-c", MOBILENET, path], check=True, capture_output=True)
    x = np.random.default_rng(1).uniform(-1, 1, (SAMPLES, 96, 96, 3))
    return Model(name="mobilenet", path=path, samples=_save(folder / "mobilenet.npz", x), wall_ratio=0.7)


def kws(folder: Path, cases: Path) -> Model:
    """MLPerf Tiny keyword spotting, a Keras 2 SavedModel, on real features."""
    with np.load(cases / "data" / "kws" / "kws_mfcc_int8.npz") as arrays:
        x = (arrays["x"][:SAMPLES].astype(np.float32) - arrays["zero_point"]) * arrays["scale"]
    path = cases / "models" / "saved_model" / "kws_ref_model"
    return Model(name="kws", path=path, samples=_save(folder / "kws.npz", x), wall_ratio=0.7)


def resnet8(folder: Path, cases: Path) -> Model:
    """MLPerf Tiny image classification, a Keras 2 .h5; there are no images with a licence, so noise in its range."""
    x = np.random.default_rng(1).uniform(0, 255, (SAMPLES, 32, 32, 3))
    path = cases / "models" / "keras_h5" / "ic_resnet8.h5"
    return Model(name="resnet8", path=path, samples=_save(folder / "resnet8.npz", x), wall_ratio=0.9)


def _save(path: Path, x: np.ndarray) -> Path:
    np.savez(path, x=x.astype(np.float32))
    return path


MODELS: dict[str, Callable[[Path, Path], Model]] = {"mobilenet": mobilenet, "kws": kws, "resnet8": resnet8}


def measure(model: Model, folder: Path, rounds: int) -> Result:
    """A pair that is not counted, ``rounds`` timed pairs, one pair sampled for memory."""
    artifact, file = folder / "artifact", folder / "peer.tflite"
    ours: list[str | Path] = [EDGEKIT, "build", model.path, "--target", "rpi4", "--precision", "int8"]
    ours += ["--calibration", model.samples, "--output", artifact]
    theirs: list[str | Path] = [sys.executable, PEER, model.path, model.samples, file]

    def run_ours() -> Timed:
        shutil.rmtree(artifact, ignore_errors=True)
        return run_timed(ours, folder)

    run_ours(), run_timed(theirs, folder)
    edgekit, peer = [], []
    for number in range(rounds):
        if number % 2:
            peer.append(run_timed(theirs, folder))
        edgekit.append(run_ours())
        if not number % 2:
            peer.append(run_timed(theirs, folder))
        print(f"{model.name}: round {number + 1} of {rounds}", file=sys.stderr, flush=True)
    shutil.rmtree(artifact)
    return Result(
        model=model.name,
        edgekit=tuple(edgekit),
        peer=tuple(peer),
        wall=ratio([run.wall_s for run in edgekit], [run.wall_s for run in peer]),
        work=ratio([run.work_s for run in edgekit], [run.work_s for run in peer]),
        wall_to_reach=model.wall_ratio,
        edgekit_peak_bytes=run_sampled(ours, folder),
        peer_peak_bytes=run_sampled(theirs, folder),
        edgekit_bytes=(artifact / "model.tflite").stat().st_size,
        peer_bytes=file.stat().st_size,
    )


def cases_folder() -> Path:
    """Where the real models are, as in tests/conftest.py."""
    for folder in (ROOT.parent / "shared" / "cases", ROOT / "cases"):
        if (folder / "MANIFEST.tsv").exists():
            return folder
    sys.exit("build_speed: no real models here: run `make cases`")


def describe(result: Result) -> str:
    """The row as a person reads it: seconds are medians."""
    lines = [f"{result.model}: {'reached' if result.reached else 'NOT reached'}"]
    for title, name, found, limit in (
        ("wall", "wall_s", result.wall, result.wall_to_reach),
        ("without imports", "work_s", result.work, WORK_RATIO),
    ):
        ours, theirs = (median(getattr(run, name) for run in runs) for runs in (result.edgekit, result.peer))
        lines.append(f"  {title:<16} {ours:7.2f} s against {theirs:7.2f} s: {found} times, to reach {limit}")
    ours, theirs = result.edgekit_peak_bytes / 2**20, result.peer_peak_bytes / 2**20
    lines.append(f"  {'peak of the tree':<16} {ours:7.0f} MiB against {theirs:5.0f} MiB (PSS)")
    lines.append(f"  {'file':<16} {result.edgekit_bytes:7} B against {result.peer_bytes:7} B")
    return "\n".join(lines)


def main() -> int:
    """Exit status 1 when a model does not reach what it should."""
    parser = argparse.ArgumentParser(prog="build_speed", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", choices=MODELS, action="append", help="a model, more than once for several")
    parser.add_argument("--json", type=Path, metavar="FILE", help="every run as JSON")
    options = parser.parse_args()
    cases, results = cases_folder(), []
    for name in options.only or MODELS:
        with tempfile.TemporaryDirectory() as folder:
            results.append(measure(MODELS[name](Path(folder), cases), Path(folder), options.rounds))
        print(describe(results[-1]), flush=True)
    if options.json:
        options.json.write_text(json.dumps([asdict(result) for result in results], indent=1), encoding="utf-8")
    return 0 if all(result.reached for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())

"""``edgekit build`` to int8 against a bare TFLiteConverter script: wall, time without imports, peak memory.

python -m benchmarks.build_speed [--rounds 5] [--only resnet8] [--json FILE]        (about 12 minutes)

Both take the same model and the same 200 samples, each time in fresh processes, from start to the file written;
edgekit's run is the whole command, its comparison with the source, checks, audit and golden vectors included, and its
cache is off. MobileNetV2 is built from its .keras and from a float .tflite, whose peer is TFLiteConverter from the
.keras too: that is what a user would have run. A first round, not counted, writes the .pyc files of all; one more is
sampled for memory, which would disturb the clock.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import SCRIPTS, Row, finish, model, paired, parser, say
from benchmarks.process_tree import Timed, run_sampled, run_timed
from edgekit.bench.statistics import median

PEER = Path(__file__).parent / "baselines" / "tflite_converter_int8.py"
SAMPLES = 200
WORK_RATIO = 0.35
"""What edgekit's time without imports may be of the peer's, for every Keras model."""
MOBILENET = """
import keras, sys
keras.utils.set_random_seed(1)
keras.applications.MobileNetV2((96, 96, 3), alpha=float(sys.argv[2]), weights=None, classes=10).save(sys.argv[1])
"""


@dataclass(frozen=True, kw_only=True)
class Source:
    """One form of a model that edgekit builds, and what it may be of the peer."""

    path: Path
    wall_ratio: float
    work_ratio: float | None = WORK_RATIO
    """Of the time without imports; None where nothing is promised."""
    memory_ratio: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Case:
    """A model and 200 samples for it."""

    sources: dict[str, Source]
    """Name of the form, such as ``.keras``; the peer converts the first."""
    samples: Path
    """.npz with ``x``, float32, as the model takes it."""


def mobilenet(folder: Path, *, alpha: float) -> Case:
    """MobileNetV2, 96x96, seeded random weights: the time does not depend on them."""
    from edgekit_converters import child
    from edgekit_converters.sources import open_source

    path, tflite = folder / "mobilenet.keras", folder / "mobilenet.tflite"
    subprocess.run([sys.executable, "-c", MOBILENET, path, str(alpha)], check=True, capture_output=True)
    source = open_source(str(path), directory=folder, weights=None, layout=None)
    tflite.write_bytes(child.convert(source, log_folder=folder).tflite)
    x = np.random.default_rng(1).uniform(-1, 1, (SAMPLES, 96, 96, 3))
    return Case(
        sources={
            ".keras": Source(path=path, wall_ratio=0.6),
            "float .tflite": Source(path=tflite, wall_ratio=0.25, work_ratio=None, memory_ratio=1 / 3),
        },
        samples=_save(folder, x),
    )


def kws(folder: Path) -> Case:
    """MLPerf Tiny keyword spotting, a Keras 2 SavedModel, on real features."""
    path = model("saved_model/kws_ref_model")
    with np.load(path.parents[2] / "data" / "kws" / "kws_mfcc_int8.npz") as arrays:
        x = (arrays["x"][:SAMPLES].astype(np.float32) - arrays["zero_point"]) * arrays["scale"]
    return Case(sources={"SavedModel": Source(path=path, wall_ratio=0.7)}, samples=_save(folder, x))


def resnet8(folder: Path) -> Case:
    """MLPerf Tiny image classification, a Keras 2 .h5; there are no images with a licence, so noise in its range."""
    x = np.random.default_rng(1).uniform(0, 255, (SAMPLES, 32, 32, 3))
    source = Source(path=model("keras_h5/ic_resnet8.h5"), wall_ratio=0.9)
    return Case(sources={".h5": source}, samples=_save(folder, x))


def _save(folder: Path, x: np.ndarray[Any, Any]) -> Path:
    path = folder / "samples.npz"
    np.savez(path, x=x.astype(np.float32))
    return path


CASES: dict[str, Callable[[Path], Case]] = {
    "mobilenet-0.35": partial(mobilenet, alpha=0.35),
    "mobilenet-1.0": partial(mobilenet, alpha=1.0),
    "kws": kws,
    "resnet8": resnet8,
}


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


def measure(case: Case, folder: Path, rounds: int) -> dict[str, Runs]:
    """Runs of every source and of ``PEER``, in rounds that take turns in who is first."""
    artifact, file = folder / "artifact", folder / "peer.tflite"
    ours: list[str | Path] = [
        "--target",
        "rpi4",
        "--precision",
        "int8",
        "--no-cache",
        "--calibration",
        case.samples,
        "--output",
        artifact,
    ]
    commands: dict[str, list[str | Path]] = {
        name: [SCRIPTS / "edgekit", "build", source.path, *ours] for name, source in case.sources.items()
    }
    first = next(iter(case.sources.values()))
    commands["peer"] = [sys.executable, PEER, first.path, case.samples, file]

    def fresh(side: str) -> list[str | Path]:
        shutil.rmtree(artifact, ignore_errors=True)
        return commands[side]

    timed: dict[str, list[Timed]] = {side: [] for side in commands}
    for number in range(-1, rounds):
        for side in list(commands) if number % 2 == 0 else reversed(commands):
            run = run_timed(fresh(side), folder)
            if number >= 0:
                timed[side].append(run)
    found = {}
    for side in commands:
        peak = run_sampled(fresh(side), folder)
        size = (file if side == "peer" else artifact / "model.tflite").stat().st_size
        found[side] = Runs(timed=tuple(timed[side]), peak_bytes=peak, file_bytes=size)
    return found


def rows(title: str, source: Source, edgekit: Runs, peer: Runs) -> list[Row]:
    """Wall, time without imports and memory of one source."""
    found = []
    limits = (("wall_s", "wall", source.wall_ratio), ("work_s", "without imports", source.work_ratio))
    for what, name, limit in limits:
        if limit is None:
            continue
        pairs = zip(edgekit.timed, peer.timed, strict=True)
        ratio = paired([getattr(ours, what) / getattr(theirs, what) for ours, theirs in pairs])
        found.append(
            Row(
                what=f"build {title} int8 / TFLiteConverter, {name}",
                measured=f"{ratio:.2f}, {edgekit.median(what):.2f} s against {peer.median(what):.2f} s",
                to_reach=f"<= {limit}",
                ok=ratio.value <= limit,
            )
        )
    peaks = f"{edgekit.peak_bytes / 2**20:.0f} MiB against {peer.peak_bytes / 2**20:.0f} MiB"
    memory = Row(
        what=f"build {title} int8 / TFLiteConverter, peak of the process tree (PSS)",
        measured=f"{edgekit.peak_bytes / peer.peak_bytes:.2f}, {peaks}",
        to_reach=f"<= {source.memory_ratio:.2f}",
        ok=edgekit.peak_bytes <= source.memory_ratio * peer.peak_bytes,
    )
    return [*found, memory]


def main() -> int:
    """Exit status 1 when a model does not reach what it should."""
    arguments = parser(__doc__)
    arguments.add_argument("--rounds", type=int, default=5, help="(default: %(default)s)")
    arguments.add_argument("--only", choices=CASES, action="append", help="can be repeated")
    options = arguments.parse_args()
    table, details = [], {}
    for name in options.only or CASES:
        say(f"  {name}")
        with tempfile.TemporaryDirectory() as folder:
            case = CASES[name](Path(folder))
            runs = measure(case, Path(folder), options.rounds)
        for form, source in case.sources.items():
            table += rows(f"{name} {form}", source, runs[form], runs["peer"])
        details[name] = {side: asdict(found) for side, found in runs.items()}
    return finish(table, details, options.json)


if __name__ == "__main__":
    sys.exit(main())

"""Trained models, made on first use and kept below ``build/bench-models`` until a script or the data changes."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from benchmarks.harness import ROOT, cases, say

STORE = ROOT / "build" / "bench-models"
HERE = Path(__file__).parent


@dataclass(frozen=True, kw_only=True)
class Trained:
    """The files of one trained model."""

    model: Path
    """.keras."""
    calibration: Path
    """.npz with ``x``, from the training set."""
    held_out: Path
    """.npz with ``x`` and ``y``; no training saw it."""


def trained(name: str) -> Trained:
    """The model of ``benchmarks.models.NAME``; trains it, with a message, where it is not there yet."""
    folder = STORE / f"{name}-{_digest(name)}"
    if not folder.exists():
        say(f"  training {name} from scratch, about a minute; kept in {folder.relative_to(ROOT)}")
        STORE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=STORE) as unfinished:
            files = Path(unfinished) / "files"
            files.mkdir()
            command: list[str | Path] = [sys.executable, "-m", "benchmarks.models.train", name, files]
            environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3"}
            said = subprocess.run(
                command, cwd=ROOT, env=environment, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            ).stdout
            say(f"  {said.decode().strip()}")
            if not folder.exists():  # another benchmark may have trained the same meanwhile
                files.rename(folder)
    return Trained(
        model=folder / "model.keras", calibration=folder / "calibration.npz", held_out=folder / "held_out.npz"
    )


def _digest(name: str) -> str:
    """Of what decides the weights: the scripts and the data."""
    files = [HERE / f"{name}.py", HERE / "train.py", HERE / "mnist.py", cases() / "data/mnist/mnist_t10k_part.npz"]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:12]

"""Keyword spotting of MLPerf Tiny: the SavedModel and its 500 labelled samples, split once and for all."""

from pathlib import Path
from typing import Any

import numpy as np

SCALE, ZERO_POINT = 0.5847029, 83
CALIBRATION = 100
"""The first samples calibrate, the others evaluate."""
SAMPLE_NAME = "input_1"


def samples(cases: Path) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """MFCC features, (500, 49, 10, 1) float32, and labels 0..11."""
    data = np.load(cases / "data" / "kws" / "kws_mfcc_int8.npz")
    return ((data["x"].astype(np.float32) - ZERO_POINT) * np.float32(SCALE)), data["y"]


def write_data(cases: Path, folder: Path) -> tuple[Path, Path]:
    """``calibration.npz`` and ``evaluation.npz`` in ``folder``, disjoint in their content."""
    x, y = samples(cases)
    seen = {sample.tobytes() for sample in x[:CALIBRATION]}
    held_out = [i for i in range(CALIBRATION, len(x)) if x[i].tobytes() not in seen]
    np.savez_compressed(folder / "calibration.npz", x=x[:CALIBRATION])
    np.savez_compressed(folder / "evaluation.npz", x=x[held_out], y=y[held_out])
    return folder / "calibration.npz", folder / "evaluation.npz"


def saved_model(cases: Path) -> Path:
    """The SavedModel's folder."""
    return cases / "models" / "saved_model" / "kws_ref_model"

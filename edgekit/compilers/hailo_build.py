"""Runs Hailo's three programs one after the other, as a program of its own so that they have one log and one end.

``python hailo_build.py JSON`` with ``hailo`` (its path), ``model`` (the float32 .tflite), ``hw_arch``, ``samples``
(folder of float32 .npy with their batch) and ``script`` (a model script, or null). Imports nothing of edgekit.
"""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np


def main() -> int:
    """Parse, optimize (which quantizes), compile; the exit status of the first that fails."""
    asked = json.loads(sys.argv[1])
    samples = [np.load(path, allow_pickle=False) for path in sorted(Path(asked["samples"]).glob("*.npy"))]
    np.save("calibration.npy", np.concatenate(samples), allow_pickle=False)
    chip = ["--hw-arch", asked["hw_arch"]]
    script = ["--model-script", asked["script"]] if asked["script"] else []
    optimize = ["--calib-set-path", "calibration.npy", "--output-har-path", "quantized.har", *script]
    for arguments in (
        ["parser", "tf", asked["model"], "--net-name", "model", "--har-path", "model.har", "-y", *chip],
        ["optimize", "model.har", *optimize, *chip],
        ["compiler", "quantized.har", "--output-dir", ".", *chip],
    ):
        status = subprocess.run([asked["hailo"], *arguments], check=False).returncode
        if status != 0:
            return status
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

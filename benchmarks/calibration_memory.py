"""Peak memory of calibration at 100, 1,000 and 10,000 samples: it must not grow with them.

python -m benchmarks.calibration_memory [--json FILE]

ResNet8 is converted once; then each calibration (reading the .npz, the checks of the data, the ranges of every tensor)
runs in a fresh process, as in `edgekit build`, from a stored and from a compressed .npz.
"""

from __future__ import annotations

import argparse
import pickle
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.harness import Row, finish, model, parser

COUNTS = (100, 1_000, 10_000)
GROWTH = 0.05
"""Largest peak over smallest, less 1."""
FORMS = {"stored": np.savez, "compressed": np.savez_compressed}


def peak_rss_bytes() -> int:
    """Of this process. Not getrusage: its maximum begins with what the parent had when it started this process."""
    found = re.search(r"^VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"), re.MULTILINE)
    assert found, "no VmHWM in /proc/self/status: this needs Linux"
    return int(found.group(1)) * 1024


def prepare(folder: Path) -> None:
    """Plan and float model, pickled for the processes to come."""
    from edgekit.plan import BuildOptions, plan
    from edgekit.progress import silent
    from edgekit.project import Project
    from edgekit.steps import convert
    from edgekit.target import load_target

    source = model("keras_h5/ic_resnet8.h5")
    options = BuildOptions(model=str(source), precision="int8", calibration="samples.npz")
    planned = plan(Project(), load_target("rpi4"), options, folder)
    (folder / "prepared").write_bytes(pickle.dumps((planned, convert(planned, silent))))


def calibrate_here(folder: Path) -> None:
    """In the fresh process: calibrate, then print samples seen and peak bytes."""
    from edgekit.progress import silent
    from edgekit.steps import calibrate

    planned, float_model = pickle.loads((folder / "prepared").read_bytes())
    calibrated = calibrate(planned, float_model, silent)
    print(calibrated.seen.count, peak_rss_bytes())


def measure(folder: Path, form: str, count: int) -> int:
    """Peak RSS in bytes of one calibration."""
    x = np.random.default_rng(1).uniform(0, 255, (count, 32, 32, 3)).astype(np.float32)
    FORMS[form](folder / "samples.npz", x=x)
    command = [sys.executable, "-m", "benchmarks.calibration_memory", "--calibrate-here", str(folder)]
    said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    samples, peak = map(int, said.split()[-2:])
    assert samples == count, f"{samples} samples calibrated instead of {count}"
    return peak


def main() -> int:
    """Exit status 1 when the peak grows."""
    arguments = parser(__doc__)
    arguments.add_argument("--calibrate-here", type=Path, help=argparse.SUPPRESS)
    options = arguments.parse_args()
    if options.calibrate_here:
        calibrate_here(options.calibrate_here)
        return 0
    with tempfile.TemporaryDirectory() as name:
        prepare(Path(name))
        peaks = {form: {count: measure(Path(name), form, count) for count in COUNTS} for form in FORMS}
    return finish([row(form, found) for form, found in peaks.items()], peaks, options.json)


def row(form: str, peaks: dict[int, int]) -> Row:
    """``peaks``: samples -> bytes."""
    growth = max(peaks.values()) / min(peaks.values()) - 1
    each = ", ".join(f"{count:,}: {peak / 2**20:.1f} MiB" for count, peak in peaks.items())
    return Row(
        what=f"calibration from a {form} .npz, peak RSS by samples",
        measured=f"{growth:.1%} ({each})",
        to_reach=f"<= {GROWTH:.0%}",
        ok=growth <= GROWTH,
    )


if __name__ == "__main__":
    sys.exit(main())

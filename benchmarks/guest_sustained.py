"""A sustained run on a machine whose battery drains and whose temperature rises, as a page.

python -m benchmarks.guest_sustained [MODEL] [--sustained 10m] [--energy-secs 60s] [--html report.html]

The machine is tier 3 of the lab (root, and the packages of tests/lab/packages.txt): a whole arm64 system under QEMU,
whose kernel shows a battery, a thermal zone and a cooling device that follow known curves. Its CPU is emulated: the
page says so, and its latencies are no device's. Exits as `edgekit bench` does.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path

from benchmarks.harness import model
from edgekit.cli import cli
from edgekit.cli.failures import guarded
from tests.lab.guest import Curve, guest
from tests.lab.machine import LabUnavailable

KWS = "tflite_ref/kws_int8.tflite"
CURVE = Curve(percent=90.0, percent_per_h=40.0, idle_c=42.0, load_c=86.0, heat_s=110.0, throttle_c=80.0, sign=-1)
"""Full to empty in two and a half hours; above 80 degrees after 220 s of load."""
QUICK = ("--num-runs", "20", "--warmup-runs", "2", "--processes", "3")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", type=Path, help="an artifact or a .tflite; default: keyword spotting")
    parser.add_argument("--sustained", default="10m", help="length of the load, such as 10m")
    parser.add_argument("--energy-secs", default="60s", help="length of the run for energy")
    parser.add_argument("--html", type=Path, default=Path("report.html"), help="the page")
    asked = parser.parse_args()
    words = ["bench", str((asked.model or model(KWS)).resolve()), "--device", "guest", *QUICK]
    words += ["--energy", "--energy-secs", asked.energy_secs, "--battery", "--sustained", asked.sustained]
    words += [
        "--html",
        str(asked.html.resolve()),
        "--note",
        "guest: a battery that drains and a temperature that rises",
    ]
    with tempfile.TemporaryDirectory(prefix="edgekit-guest-") as folder:
        try:
            with guest(Path(folder)) as machine:
                os.environ["EDGEKIT_SSH_CONFIG"] = str(machine.ssh_config)
                for module in ("test_power", "heat"):
                    machine.plug(module)
                with machine.battery(CURVE):
                    return guarded(cli, words)
        except LabUnavailable as err:
            sys.stderr.write(f"tier 3 of the lab: {err}\n")
            return 1


if __name__ == "__main__":
    sys.exit(main())

"""``make bench``: every benchmark, one after the other, and one table of what was to be reached.

python -m benchmarks.run [--only NAME]... [--output FOLDER]

A benchmark is a module that takes ``--json FILE`` and writes an object with ``rows`` there (``harness.finish``
does it). A new one is a file and a line in ``BENCHMARKS``.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

from benchmarks.harness import ROOT, Row, print_rows, say

BENCHMARKS = {
    "help-time": "benchmarks.help_time",
    "quality": "benchmarks.quality",
    "convert-quality": "benchmarks.convert_quality",
    "planted-budget": "benchmarks.planted_budget",
    "build-speed": "benchmarks.build_speed",
    "calibrators": "benchmarks.calibrators",
    "calibration-memory": "benchmarks.calibration_memory",
    "agent-overhead": "benchmarks.agent_overhead",
    "litert-benchmark": "benchmarks.against_litert_benchmark",
    "interval-coverage": "benchmarks.interval_coverage",
    "statistics-truth": "benchmarks.statistics_truth",
    "energy-truth": "benchmarks.energy_truth",
    "sustained-truth": "benchmarks.sustained_truth",
    "deploy-speed": "benchmarks.deploy_speed",
}
"""Name -> module, in the order they run."""


def run(name: str, folder: Path) -> list[Row]:
    """Run one in a process of its own; one that breaks is a row that was not reached."""
    file = folder / f"{name}.json"
    file.unlink(missing_ok=True)
    say(f"{name}:")
    status = subprocess.run([sys.executable, "-m", BENCHMARKS[name], "--json", file], cwd=ROOT, check=False).returncode
    if not file.exists():
        return [Row(what=name, measured=f"ended with status {status}", to_reach="a result", ok=False)]
    return [Row(**row) for row in json.loads(file.read_text(encoding="utf-8"))["rows"]]


def main() -> int:
    arguments = argparse.ArgumentParser(description="Run the benchmarks and print one table.")
    arguments.add_argument("--only", action="append", choices=BENCHMARKS, help="can be repeated")
    arguments.add_argument(
        "--output", type=Path, default=ROOT / "build" / "benchmarks", help="folder for the JSON files"
    )
    options = arguments.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    rows = [row for name in options.only or BENCHMARKS for row in run(name, options.output)]
    print()
    print_rows(rows)
    return 0 if all(row.ok for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())

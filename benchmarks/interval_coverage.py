"""How often the interval of a fresh run of ``edgekit bench`` holds the long-run median.

python -m benchmarks.interval_coverage [--runs 100] [--min-secs 0.25] [--json FILE]

The long-run median is the one over the processes of all runs together. The machine's other load is part of the
measurement: how much there was is told beside the result.
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.harness import Row, finish, model, parser, say
from edgekit.bench import BenchmarkReport, BenchOptions, bench
from edgekit.bench.statistics import median
from edgekit.device import Device, DeviceTable
from edgekit.transport import connect

MODEL = "tflite_ref/kws_int8.tflite"
SHARE = 0.9


@dataclass(frozen=True, kw_only=True)
class Run:
    """What one run said, ms."""

    low: float
    high: float
    medians: tuple[float, ...]
    findings: tuple[str, ...]


def summarize(report: BenchmarkReport) -> Run:
    result = report.results[0]
    low, high = result.latency_ms.median_interval
    medians = tuple(median(process.samples_ns) / 1e6 for process in result.processes)
    return Run(low=low, high=high, medians=medians, findings=tuple(finding.name for finding in report.findings))


def main() -> int:
    arguments = parser(__doc__)
    arguments.add_argument("--runs", type=int, default=100)
    arguments.add_argument("--min-secs", type=float, default=0.25)
    options = arguments.parse_args()
    runs = []
    with tempfile.TemporaryDirectory() as root:
        device = Device(name="local", transport="local", table=DeviceTable(root=str(Path(root))))
        with connect(device) as connection:
            for number in range(options.runs):
                report = bench(model(MODEL), connection, BenchOptions(min_secs=options.min_secs))
                runs.append(summarize(report))
                say(f"run {number + 1} of {options.runs}: {runs[-1].low:.4f} to {runs[-1].high:.4f} ms")
    truth = median([value for run in runs for value in run.medians])
    held = sum(run.low <= truth <= run.high for run in runs)
    disturbed = sum(bool({"other-load", "stolen-time"} & set(run.findings)) for run in runs)
    half_width = median([(run.high - run.low) / 2 / truth for run in runs])
    measured = f"{held} of {len(runs)} ({disturbed} under other load; median half width {100 * half_width:.1f} %)"
    what = "interval of bench holds the long-run median, KWS int8"
    row = Row(what=what, measured=measured, to_reach=f">= {SHARE:.0%}", ok=held >= SHARE * len(runs))
    return finish([row], {"long_run_median_ms": truth, "runs": [asdict(run) for run in runs]}, options.json)


if __name__ == "__main__":
    sys.exit(main())

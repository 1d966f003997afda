"""Whether the verdicts of ``edgekit compare`` are true: equal models, and a planted slow-down of 3 %.

python -m benchmarks.compare_truth [--aa 400] [--planted 100] [--results FILE] [--fresh] [--json FILE]

A/A: MLPerf Tiny's KWS int8 model and a copy with one other byte in its description. Planted: 33 equal layers against
34, 3.03 % more work; one long comparison first shows that it is 3 % on this machine. Every comparison is one call of
``compare`` with its defaults on the device ``local``. Its result is appended to FILE at once; run again, it goes on
where it was stopped. --fresh begins anew.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.harness import ROOT, Row, finish, model, parser, say
from benchmarks.layers_model import equal_layers
from edgekit.bench.statistics import median
from edgekit.bench.versus.compare import MAX_SECS, compare
from edgekit.device import Device, DeviceTable
from edgekit.transport import Connection, connect

KWS = "tflite_ref/kws_int8.tflite"
DESCRIPTION = (b"MLIR Converted.", b"MLIR Converted,")
LAYERS = (33, 34)
PLANTED = LAYERS[1] / LAYERS[0] - 1
RESULTS = ROOT / "build" / "compare_truth.jsonl"
LONG_SECS = 120.0
MOST_SECS = 10.0
ALARMS, FOUND = 12 / 400, 95 / 100
UPPER_BOUND = 0.05
Run = dict[str, Any]


def write_models(folder: Path) -> dict[str, tuple[Path, Path]]:
    """The two pairs of models."""
    data = model(KWS).read_bytes()
    if data.count(DESCRIPTION[0]) != 1:
        sys.exit(f"{KWS} is another file than expected: it has no description to change.")
    contents = {
        "kws": data,
        "kws_description": data.replace(*DESCRIPTION),
        **{f"layers{count}": equal_layers(count) for count in LAYERS},
    }
    for name, content in contents.items():
        (folder / f"{name}.tflite").write_bytes(content)
    first, second, third, fourth = (folder / f"{name}.tflite" for name in contents)
    return {"aa": (first, second), "planted": (third, fourth), "long": (third, fourth)}


def one_run(kind: str, pair: Sequence[Path], connection: Connection) -> Run:
    """One comparison, as a line of the results."""
    start = time.monotonic()
    report = compare(pair, connection, max_secs=LONG_SECS if kind == "long" else MAX_SECS)
    found = report.comparisons[0]
    return {
        "kind": kind,
        "verdict": found.verdict,
        "effect": found.effect,
        "interval": found.interval,
        "needed_rounds": found.needed_rounds,
        "rounds": report.rounds,
        "medians_ms": [item.median_ms for item in report.models],
        "findings": [item.name for item in report.findings],
        "wall_s": time.monotonic() - start,
    }


def read_results(file: Path) -> list[Run]:
    """The runs of before; a last line that was cut short is not one."""
    if not file.exists():
        return []
    lines = file.read_text(encoding="utf-8").split("\n")[:-1]
    return [json.loads(line) for line in lines]


def schedule(wanted: dict[str, int], done: Counter[str]) -> list[str]:
    """What is still to be run: the long one first, then both kinds evenly mixed over the time."""
    left = {kind: max(0, count - done[kind]) for kind, count in wanted.items()}
    places = [
        ((number + 0.5) / count, kind) for kind, count in left.items() if kind != "long" for number in range(count)
    ]
    return ["long"] * left["long"] + [kind for _, kind in sorted(places)]


def measure(wanted: dict[str, int], results: Path) -> list[Run]:
    """Run what is missing; all runs."""
    runs = read_results(results)
    todo = schedule(wanted, Counter(run["kind"] for run in runs))
    results.parent.mkdir(parents=True, exist_ok=True)
    results.write_text("".join(json.dumps(run) + "\n" for run in runs), encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder:
        models = write_models(Path(folder))
        device = Device(name="local", transport="local", table=DeviceTable(root=str(Path(folder) / "root")))
        with connect(device) as connection, results.open("a", encoding="utf-8") as stream:
            start = time.monotonic()
            for number, kind in enumerate(todo, start=1):
                run = one_run(kind, models[kind], connection)
                stream.write(json.dumps(run) + "\n")
                stream.flush()
                runs.append(run)
                left = (time.monotonic() - start) / number * (len(todo) - number)
                low, high = run["interval"]
                say(
                    f"{number} of {len(todo)}, {left / 60:.0f} min left: {kind} {run['verdict']} "
                    f"{100 * low:+.2f} to {100 * high:+.2f} % in {run['rounds']} rounds, {run['wall_s']:.1f} s"
                )
    return runs


def upper_bound(hits: int, count: int, level: float = 0.95) -> float:
    """Clopper-Pearson: the largest share at which so few hits still have a chance of 1 - level (one-sided)."""
    from math import comb

    def chance(share: float) -> float:
        return sum(comb(count, k) * share**k * (1 - share) ** (count - k) for k in range(hits + 1))

    return bisect(lambda share: chance(share) > 1 - level)


def bisect(below: Callable[[float], bool]) -> float:
    """The place in 0..1 up to which ``below`` holds."""
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if below(middle) else (low, middle)
    return high


def judge(runs: Sequence[Run]) -> list[Row]:
    """The rows of the table."""
    by_kind = {kind: [run for run in runs if run["kind"] == kind] for kind in ("long", "aa", "planted")}
    return [*_long(by_kind["long"]), *_aa(by_kind["aa"]), *_planted(by_kind["planted"]), *_both(runs)]


def _long(runs: Sequence[Run]) -> list[Row]:
    rows = []
    for run in runs[:1]:
        low, high = (100 * bound for bound in run["interval"])
        rows.append(
            Row(
                what=f"34 layers against 33, one run of {LONG_SECS:.0f} s",
                measured=f"{100 * run['effect']:+.2f} % ({low:+.2f} to {high:+.2f})",
                to_reach=f"{100 * PLANTED:.2f} % +- 0.5",
                ok=abs(run["effect"] - PLANTED) < 0.005,
            )
        )
    return rows


def _aa(runs: Sequence[Run]) -> list[Row]:
    if not runs:
        return []
    verdicts = Counter(run["verdict"] for run in runs)
    alarms = verdicts["faster"] + verdicts["slower"]
    bound = upper_bound(alarms, len(runs))
    shares = f"{verdicts['equal']} equal, {verdicts['inconclusive']} inconclusive"
    held = sum(run["interval"][0] <= 0 <= run["interval"][1] for run in runs)
    return [
        Row(
            what="A/A: false alarms",
            measured=f"{alarms} of {len(runs)} ({shares})",
            to_reach=f"<= {ALARMS:.0%}",
            ok=alarms <= ALARMS * len(runs),
        ),
        Row(
            what="A/A: 95 % upper bound of false alarms",
            measured=f"{100 * bound:.2f} %",
            to_reach=f"< {UPPER_BOUND:.0%}",
            ok=bound < UPPER_BOUND,
        ),
        Row(
            what="A/A: interval holds 0",
            measured=f"{held} of {len(runs)}",
            to_reach=">= 92 %",
            ok=held >= 0.92 * len(runs),
        ),
    ]


def _planted(runs: Sequence[Run]) -> list[Row]:
    if not runs:
        return []
    verdicts = Counter(run["verdict"] for run in runs)
    return [
        Row(
            what=f"planted {100 * PLANTED:.1f} %: found to be slower",
            measured=f"{verdicts['slower']} of {len(runs)} ({verdicts['inconclusive']} inconclusive)",
            to_reach=f">= {FOUND:.0%}",
            ok=verdicts["slower"] >= FOUND * len(runs),
        )
    ]


def _both(runs: Sequence[Run]) -> list[Row]:
    short = [run for run in runs if run["kind"] != "long"]
    if not short:
        return []
    walls = [run["wall_s"] for run in short]
    widths = [100 * (run["interval"][1] - run["interval"][0]) / 2 for run in short]
    disturbed = sum(bool({"other-load", "stolen-time"} & set(run["findings"])) for run in short)
    return [
        Row(
            what="seconds of a comparison, median and largest",
            measured=f"{median(walls):.1f} and {max(walls):.1f} ({disturbed} under other load)",
            to_reach=f"median < {MOST_SECS:.0f}",
            ok=median(walls) < MOST_SECS,
        ),
        Row(
            what="half width of the interval, median and largest",
            measured=f"{median(widths):.2f} and {max(widths):.2f} %",
            to_reach="",
            ok=True,
        ),
    ]


def main() -> int:
    arguments = parser(__doc__)
    arguments.add_argument("--aa", type=int, default=400, help="comparisons of equal models")
    arguments.add_argument("--planted", type=int, default=100, help="comparisons with the planted slow-down")
    arguments.add_argument(
        "--results", type=Path, default=RESULTS, metavar="FILE", help="every comparison, a line each"
    )
    arguments.add_argument("--fresh", action="store_true", help="forget the results of before")
    options = arguments.parse_args()
    if options.fresh:
        options.results.unlink(missing_ok=True)
    runs = measure({"long": 1, "aa": options.aa, "planted": options.planted}, options.results)
    return finish(judge(runs), runs, options.json)


if __name__ == "__main__":
    sys.exit(main())

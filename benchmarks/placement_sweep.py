"""Op cases by number, each compared; a JSON line a case. Runs in a process of its own: some end the runtime.

    python -m benchmarks.placement_sweep FIRST LAST

``sweep`` starts it, and starts it again behind a case that ended it: TFLite's kernels abort on some scales.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from benchmarks.harness import ROOT


@dataclass(frozen=True, kw_only=True)
class Swept:
    """What became of a range of cases."""

    compared: int
    refused: int
    """The runtime itself does not load them."""
    crashed: int
    differences: tuple[str, ...]
    ops: Counter[str] = field(default_factory=Counter)
    """Operator -> cases compared."""


def sweep(first: int, last: int) -> Swept:
    """Cases ``first`` up to but without ``last``."""
    counts: Counter[str] = Counter()
    ops: Counter[str] = Counter()
    differences: list[str] = []
    for line in _lines(first, last):
        counts[line["state"]] += 1
        if line["state"] == "compared":
            ops[line["op"]] += 1
            differences += [f"case {line['case']}: {text}" for text in line["differences"]]
    return Swept(
        compared=counts["compared"],
        refused=counts["refused"],
        crashed=counts["crashed"],
        differences=tuple(differences),
        ops=ops,
    )


def _lines(first: int, last: int) -> Iterator[dict[str, Any]]:
    while first < last:
        command = [sys.executable, "-m", "benchmarks.placement_sweep", str(first), str(last)]
        ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        lines = [json.loads(line) for line in ran.stdout.splitlines()]
        yield from lines
        first = lines[-1]["case"] + 1 if lines else first
        if ran.returncode > 0:
            raise RuntimeError(ran.stderr[-2000:])
        if ran.returncode < 0:
            yield {"case": first, "state": "crashed"}
            first += 1


def main(first: int, last: int) -> None:
    """Compare the cases and print."""
    from benchmarks.op_cases import op_case
    from benchmarks.placement_compare import compare
    from edgekit.agent.runtime import ModelRefused

    for number in range(first, last):
        op, model = op_case(number)
        try:
            found = compare(model)
        except ModelRefused:
            line: dict[str, Any] = {"case": number, "state": "refused"}
        else:
            line = {"case": number, "state": "compared", "op": op, "differences": found.differences}
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))

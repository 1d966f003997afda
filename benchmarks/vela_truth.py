"""Single ops in many forms: what the rules predict for an Ethos-U, and where Vela really places them.

python -m benchmarks.vela_truth [--count 400] [--first 0]        (about 0.1 s a form and NPU)

Each form is compiled in a forked child: Vela crashes or hangs on some malformed ones, and those decide nothing. The
exit status is 1 where a prediction is wrong.
"""

from __future__ import annotations

import argparse
import importlib
import os
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from msgspec.structs import replace

from benchmarks.op_cases import op_case
from edgekit.placement import place, rules_of
from edgekit.target import Target, load_target
from edgekit_converters.errors import ConverterError
from edgekit_converters.structure import read_structure

TARGETS = ("ethos-u55-128", "ethos-u65-256", "ethos-u85-256")
LIMIT_S = 10.0
"""Vela takes 0.1 s for one op; longer is a hang."""


def taken_by_vela(tflite: bytes, target: Target) -> bool | None:
    """Is the model's only op on the NPU? None where Vela does not finish."""
    settings = target.accelerators[0].settings
    options = [f"--{name.replace('_', '-')}={settings[name]}" for name in sorted(settings)]
    with tempfile.TemporaryDirectory(prefix="vela-truth-") as scratch:
        model = Path(scratch) / "op.tflite"
        model.write_bytes(tflite)
        child = os.fork()
        if child == 0:
            _compile([*options, f"--output-dir={scratch}", str(model)])
        made = Path(scratch) / "op_vela.tflite"
        if not _finished(child) or not made.is_file():
            return None
        return any(op.custom == "ethos-u" for op in read_structure(made.read_bytes()).ops)


def _compile(arguments: list[str]) -> None:
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 1)
    os.dup2(silent, 2)
    try:
        importlib.import_module("ethosu.vela.vela").main(arguments)
    except BaseException:  # noqa: BLE001 - a forked child must not return into its parent's work
        os._exit(1)
    os._exit(0)


def _finished(child: int) -> bool:
    end = time.monotonic() + LIMIT_S
    while time.monotonic() < end:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return status == 0
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return False


def wrong_predictions(name: str, seeds: range, counts: Counter[str]) -> Iterator[str]:
    """A line for each op whose prediction is not what Vela does; ``counts`` gets what was compared."""
    target = load_target(name)
    rules = rules_of(target)
    npu = target.accelerators[0].name
    alone = replace(target, accelerators=target.accelerators[:1])
    for seed in seeds:
        op, tflite = op_case(seed)
        try:
            structure = read_structure(tflite)
        except ConverterError:
            continue
        really = taken_by_vela(tflite, alone)
        if really is None:
            counts["not compiled"] += 1
            continue
        [placed] = place(structure, alone, rules).ops
        counts["on the NPU" if really else "on the CPU"] += 1
        if (placed.processor == npu) != really:
            why = "; ".join(refusal.reason for refusal in placed.refusals)
            yield f"{name}: seed {seed}, {op}: {'on the NPU' if really else 'on the CPU'}, predicted otherwise ({why})"


def main() -> int:
    """Compare on every NPU; 1 where a prediction is wrong."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--count", type=int, default=400)
    arguments.add_argument("--first", type=int, default=0)
    given = arguments.parse_args()
    importlib.import_module("ethosu.vela.vela")  # once, before the children are forked

    wrong = 0
    for name in TARGETS:
        counts: Counter[str] = Counter()
        for line in wrong_predictions(name, range(given.first, given.first + given.count), counts):
            wrong += 1
            print(line)
        print(f"{name}: {', '.join(f'{count} {what}' for what, count in sorted(counts.items()))}")
    print(f"{wrong} wrong predictions")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

"""What the agent's loop adds to an inference, against a bare loop over the same interpreter call.

python -m benchmarks.agent_overhead [--pairs 20] [--json FILE]

Fresh processes, alternating. The model is a tiny one on purpose: what a loop adds does not depend on the model, and
the noise of a larger one would hide it. The agent's loop looks at clocks and temperatures as it does in a benchmark.
"""

from __future__ import annotations

import subprocess
import sys
import time

from benchmarks.harness import ROOT, Row, alternating, finish, model, paired, parser, say

MODEL = "tflm/hello_world_float.tflite"
RUNS, WARMUP = 100_000, 10_000
LIMIT_US = 10.0


def per_inference_us(loop: str) -> float:
    """Wall time of one turn of the loop, in a fresh process."""
    command = [sys.executable, "-m", "benchmarks.agent_overhead", "--loop", loop]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True)
    return float(done.stdout)


def run_loop(loop: str) -> float:
    """Microseconds of one turn, in this process."""
    from edgekit.agent.machine import read_state
    from edgekit.agent.measure import take_samples
    from edgekit.agent.runtime import Model

    invoke = Model(model(MODEL)).interpreter.invoke
    for _ in range(WARMUP):
        invoke()
    states = []
    start = time.perf_counter()
    if loop == "agent":
        take_samples(invoke, RUNS, 0.0, lambda: states.append(read_state()))
    else:
        for _ in range(RUNS):
            invoke()
    return (time.perf_counter() - start) / RUNS * 1e6


def main() -> int:
    arguments = parser(__doc__)
    arguments.add_argument("--pairs", type=int, default=20)
    arguments.add_argument("--loop", choices=("agent", "bare"), help="run one loop here and print its time")
    options = arguments.parse_args()
    if options.loop:
        print(run_loop(options.loop))
        return 0
    pairs = []
    for number in range(options.pairs):
        say(f"agent overhead: pair {number + 1} of {options.pairs}")
        pairs.append({loop: per_inference_us(loop) for loop in alternating(number, "agent", "bare")})
    added = paired([times["agent"] - times["bare"] for times in pairs])
    what = "agent's loop - bare loop, an inference"
    row = Row(what=what, measured=f"{added:.2f} us", to_reach=f"<= {LIMIT_US:g} us", ok=added.value <= LIMIT_US)
    return finish([row], {"pairs_us": pairs}, options.json)


if __name__ == "__main__":
    sys.exit(main())

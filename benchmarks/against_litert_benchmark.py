"""The agent against ``litert-benchmark`` on the same model: VWW, float, 1 thread, XNNPACK.

python -m benchmarks.against_litert_benchmark [--pairs 20] [--runs 200] [--json FILE]

Fresh processes in turns, the same number of runs after the same warm-up, inputs drawn from -1..1 in all. Like with
like: its ``avg_ms`` is a mean, so it is compared with the agent's mean. It runs the CompiledModel and the agent the
Interpreter, which is a little faster; so the agent's loop also goes over the CompiledModel's call, and there the
medians must agree. It rounds ``avg_ms`` to 0.01 ms, 3 % of this model; its throughput is the input's size over the
same mean with five digits, and gives the mean back. Runs are short: a mean over a long one holds every pre-emption.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.harness import ROOT, SCRIPTS, Row, finish, model, paired, parser, say
from edgekit.bench.statistics import median

MODEL = "tflite_ref/vww_float.tflite"
INPUT_MIB = 96 * 96 * 3 * 4 / 2**20
"""What ``litert-benchmark`` calls MB: its throughput is this over its mean."""
WARMUP = 100
LIMIT = 0.03

Times = dict[str, float]
"""``mean`` and ``median`` of one process, ms."""


def run_agent(path: Path, runs: int) -> Times:
    from edgekit.agent.child import run_child

    request = {"model": str(path), "inputs": {}, "delegate": "xnnpack", "num_threads": 1, "cpus": None}
    request |= {"num_runs": runs, "warmup_runs": WARMUP, "min_secs": 0.0}
    return summarize(run_child("bench-process", request)["samples_ns"])


def summarize(samples_ns: Sequence[int]) -> Times:
    return {"mean": sum(samples_ns) / len(samples_ns) / 1e6, "median": median(samples_ns) / 1e6}


def run_agent_on_compiled_model(path: Path, runs: int) -> Times:
    command = [sys.executable, "-m", "benchmarks.against_litert_benchmark", f"--runs={runs}", f"--compiled={path}"]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True)
    times: Times = json.loads(done.stdout.splitlines()[-1])
    return times


def loop_over_compiled_model(path: Path, runs: int) -> Times:
    """The agent's loop over the call that ``litert-benchmark`` times, in this process."""
    import numpy as np
    from ai_edge_litert.compiled_model import CompiledModel
    from ai_edge_litert.hardware_accelerator import HardwareAccelerator
    from ai_edge_litert.options import CpuOptions, Options

    from edgekit.agent.measure import take_samples

    options = Options(hardware_accelerators=HardwareAccelerator.CPU, cpu_options=CpuOptions(num_threads=1))
    compiled = CompiledModel.from_file(str(path), options=options)
    key = next(iter(compiled.get_signature_list()))
    details = compiled.get_input_tensor_details(key)
    inputs = {name: compiled.create_input_buffer_by_name(key, name) for name in details}
    outputs = {
        name: compiled.create_output_buffer_by_name(key, name) for name in compiled.get_output_tensor_details(key)
    }
    random = np.random.default_rng(0)
    for name, buffer in inputs.items():
        buffer.write(random.uniform(-1, 1, details[name]["shape"]).astype(np.float32))

    def invoke() -> None:
        compiled.run_by_name(key, inputs, outputs)

    take_samples(invoke, WARMUP, 0.0)
    return summarize(take_samples(invoke, runs, 0.0))


def run_litert_benchmark(path: Path, runs: int) -> Times:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "result.json"
        command: list[str | Path] = [
            SCRIPTS / "litert-benchmark",
            f"--model={path}",
            f"--num_runs={runs}",
            f"--result_json={file}",
        ]
        command += [f"--num_runs={runs}", f"--warmup_runs={WARMUP}", "--num_threads=1"]
        subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
        result = json.loads(file.read_text(encoding="utf-8"))
    return {"mean": 1000 * INPUT_MIB / result["throughput_mb_s"], "median": result["latency"]["median_ms"]}


AGENT, COMPILED, PEER = "agent", "agent's loop over CompiledModel", "litert-benchmark"
RUN = {AGENT: run_agent, COMPILED: run_agent_on_compiled_model, PEER: run_litert_benchmark}
COMPARED = ((AGENT, "mean"), (COMPILED, "median"))


def main() -> int:
    arguments = parser(__doc__)
    arguments.add_argument("--pairs", type=int, default=20)
    arguments.add_argument("--runs", type=int, default=200)
    arguments.add_argument("--compiled", type=Path, metavar="MODEL", help="loop over this one's CompiledModel here")
    options = arguments.parse_args()
    if options.compiled:
        print(json.dumps(loop_over_compiled_model(options.compiled, options.runs)))
        return 0
    path = model(MODEL)
    rounds = []
    for number in range(options.pairs):
        say(f"agent against litert-benchmark: round {number + 1} of {options.pairs}")
        order = list(RUN) if number % 2 == 0 else list(reversed(RUN))
        rounds.append({name: RUN[name](path, options.runs) for name in order})
    rows = []
    for name, kind in COMPARED:
        ratio = paired([times[name][kind] / times[PEER][kind] for times in rounds])
        what = f"{name} / {PEER}, {kind}, VWW float, 1 thread"
        reached = abs(ratio.value - 1) <= LIMIT
        rows.append(Row(what=what, measured=f"{ratio:.3f}", to_reach=f"1 +- {LIMIT}", ok=reached))
    return finish(rows, {"rounds_ms": rounds}, options.json)


if __name__ == "__main__":
    sys.exit(main())

"""The arm64 runtime takes the ops that the rules of XNNPACK predict, as the one of this machine does."""

from pathlib import Path

import pytest

from benchmarks.graph_cases import graph_case
from benchmarks.placement_compare import parse, predict
from edgekit.bench.coverage_run import start_coverage
from edgekit.bench.plan import BenchOptions
from edgekit.transport import connect
from tests.lab.arm64 import Arm64

pytestmark = pytest.mark.lab

MODELS = ("tflite_ref/kws_int8.tflite", "tflite_ref/vww_float.tflite", "tflm/mnist_lstm_int8.tflite")
GRAPHS = (0, 1, 2, 3)


def test_the_arm64_runtime_takes_what_is_predicted(arm64_device: Arm64, cases: Path, tmp_path: Path) -> None:
    files = [cases / "models" / name for name in MODELS]
    for number in GRAPHS:
        file = tmp_path / f"graph{number}.tflite"
        file.write_bytes(graph_case(number)[1])
        files.append(file)
    with connect(arm64_device.device()) as connection:
        for file in files:
            (taken,) = start_coverage(file, connection, BenchOptions()).seen.taken
            assert set(taken.nodes) == predict(parse(file.read_bytes()))[0], file.name

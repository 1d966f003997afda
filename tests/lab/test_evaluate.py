"""A whole data set on a device over ssh: the real sshd, an emulated arm64 device, a connection that is lost."""

import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit.agent.runtime import Model
from edgekit.bench import BenchOptions
from edgekit.bench.quick import latency_on
from edgekit.device_evaluation import evaluate_file
from edgekit.device_inference import infer
from edgekit.errors import TransportError
from edgekit.held_out import Data
from edgekit.metrics import metric_of
from edgekit.transport import connect
from edgekit.tune.candidates import given_files
from edgekit.tune.run import Budget, tune
from tests import kws
from tests.lab.arm64 import Arm64
from tests.lab.tier1 import Sshd

pytestmark = pytest.mark.lab


@pytest.fixture
def model(cases: Path) -> Path:
    return cases / "models" / "tflite_ref" / "kws_int8.tflite"


def held_out(cases: Path, folder: Path, count: int) -> Data:
    x, y = kws.samples(cases)
    np.savez(folder / "held.npz", x=x[:count], y=y[:count])
    return Data(spec=str(folder / "held.npz"), metric=metric_of("top1"))


def draw(model: Path, count: int) -> Iterator[dict[str, np.ndarray[Any, Any]]]:
    random = np.random.default_rng(0)
    tensor = Model(model).inputs[0]
    for _ in range(count):
        yield {tensor.name: random.integers(-128, 128, tensor.shape).astype(np.int8)}


def test_evaluate_over_ssh(sshd: Sshd, cases: Path, model: Path, tmp_path: Path) -> None:
    with connect(sshd.device(python=sys.executable)) as connection:
        found = evaluate_file(model, held_out(cases, tmp_path, 300), connection=connection)
    assert found.on_device is not None
    assert (found.on_device.device, found.on_device.differing, found.samples) == ("lab", 0, 300)
    assert found.on_device.against_host.drop == 0


def test_many_samples_stay_in_order(sshd: Sshd, model: Path) -> None:
    here = Model(model)
    with connect(sshd.device(python=sys.executable)) as connection:
        answers = infer(connection, model, draw(model, 3000), delegate="xnnpack")
        for sample, found in zip(draw(model, 3000), answers, strict=True):
            assert np.array_equal(here.run(sample)["Identity"], found["Identity"])


def test_lost_connection_ends_the_evaluation(sshd: Sshd, model: Path) -> None:
    with connect(sshd.device(python=sys.executable)) as connection:
        answers = infer(connection, model, draw(model, 10_000_000), delegate="xnnpack")
        next(answers)
        killer = threading.Timer(1.0, sshd.kill_sessions)
        killer.start()
        begin = time.monotonic()
        with pytest.raises(TransportError) as error:
            for _ in answers:
                pass
        killer.join()
    assert time.monotonic() - begin < 15
    assert error.value.hint


def test_arm64(arm64_device: Arm64, cases: Path, model: Path, tmp_path: Path) -> None:
    """Its kernels round in their own way; its latencies are said to mean nothing."""
    options = BenchOptions(num_runs=2, warmup_runs=0, min_secs=0.0, processes=2)
    data = held_out(cases, tmp_path, 60)
    with connect(arm64_device.device()) as connection:
        found = evaluate_file(model, data, connection=connection)
        report = tune(given_files([model]), connection, options, budget=Budget(data=data))
    assert found.on_device is not None
    assert found.on_device.runtime == "ai-edge-litert"
    assert all((item.largest or 0) <= 2 for item in found.on_device.outputs)
    assert report.recommendation is not None
    assert report.recommendation.verdict == "emulated"
    assert "emulated" in {finding.name for finding in report.findings}
    with latency_on(arm64_device.device()) as latency_ms:
        assert latency_ms(model.read_bytes()) is None

"""``bench`` over ssh: on a native sshd, on an emulated arm64 device, and when the connection is lost."""

import sys
import threading
import time
from pathlib import Path

import msgspec
import pytest

from edgekit.artifact import Artifact
from edgekit.bench import BenchOptions, bench
from edgekit.bench.profile import measure_profile
from edgekit.device import Device
from edgekit.errors import TransportError
from edgekit.transport import connect
from tests.artifacts import make_artifact
from tests.lab.arm64 import Arm64
from tests.lab.tier1 import Sshd

pytestmark = pytest.mark.lab

QUICK = BenchOptions(num_runs=20, warmup_runs=2, min_secs=0.0, processes=2)


@pytest.fixture
def model(cases: Path) -> Path:
    return cases / "models" / "tflite_ref" / "kws_int8.tflite"


def test_bench_over_ssh(sshd: Sshd, model: Path) -> None:
    with connect(sshd.device(python=sys.executable)) as connection:
        report = bench(model, connection, QUICK)
    assert report.device == "lab"
    assert report.results[0].num_runs == 40
    assert report.results[0].latency_ms.median > 0


def test_lost_connection_ends_the_run(sshd: Sshd, model: Path) -> None:
    with connect(sshd.device(python=sys.executable)) as connection:
        bench(model, connection, QUICK)
        killer = threading.Timer(3.0, sshd.kill_sessions)
        killer.start()
        begin = time.monotonic()
        with pytest.raises(TransportError) as error:
            bench(model, connection, msgspec.structs.replace(QUICK, min_secs=60.0))
        killer.join()
    assert time.monotonic() - begin < 15
    assert error.value.hint


def test_bench_on_arm64_says_that_it_is_emulated(arm64_device: Arm64, model: Path, tmp_path: Path) -> None:
    artifact = make_artifact(tmp_path / "kws", model.read_bytes())
    with connect(arm64_device.device()) as connection:
        report = bench(artifact, connection, QUICK)
        again = bench(artifact, connection, QUICK)
    assert report.machine.architecture == "aarch64"
    assert report.artifact_digest == artifact.digest
    assert {"emulated"} <= {finding.name for finding in report.findings}
    assert again.model_sha256 == report.model_sha256


def _require_profile(artifact: Artifact, device: Device) -> None:
    with connect(device) as connection:
        report, _ = measure_profile(artifact, connection, msgspec.structs.replace(QUICK, num_runs=3))
    assert report is not None
    nodes = [op.node for op in report.ops if op.node is not None]
    assert nodes[:10] == list(range(10)), "the ops of the model, in their order"
    assert report.plain_us > 0


def test_profile_over_ssh(sshd: Sshd, model: Path, tmp_path: Path) -> None:
    _require_profile(make_artifact(tmp_path / "kws", model.read_bytes()), sshd.device(python=sys.executable))


def test_profile_on_arm64(arm64_device: Arm64, model: Path, tmp_path: Path) -> None:
    _require_profile(make_artifact(tmp_path / "kws", model.read_bytes()), arm64_device.device())

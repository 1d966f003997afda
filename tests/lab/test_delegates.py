"""A real external delegate on devices over ssh: it runs, it is refused, it is for another processor."""

import subprocess
import sys
from pathlib import Path

import pytest
from msgspec.structs import replace

from edgekit.artifact import Artifact
from edgekit.bench.coverage_findings import require_coverage
from edgekit.bench.coverage_run import measure_coverage, start_coverage
from edgekit.bench.plan import BenchOptions
from edgekit.deploy import deploy
from edgekit.device import Device
from edgekit.errors import CoverageError, DeviceFaultError
from edgekit.target import load_target
from edgekit.transport import connect
from tests.artifacts import make_artifact
from tests.lab.arm64 import Arm64
from tests.lab.tier1 import Sshd
from tests.unit.delegate_library import build_library
from tests.unit.delegate_models import chain

pytestmark = pytest.mark.lab

OPS = ("ADD", "MUL", "SIN", "RELU", "ADD")


@pytest.fixture
def library(sshd: Sshd) -> Path:
    """On the device, which sees this machine's files."""
    return build_library(sshd.folder / "libelementwise.so")


@pytest.fixture
def artifact(tmp_path: Path, library: Path) -> Artifact:
    return make_artifact(tmp_path / "npu", chain(OPS), delegate=str(library), precision="float32", target="x86-64")


def configured(sshd: Sshd, **options: str) -> Device:
    device = sshd.device(python=sys.executable)
    return replace(device, table=replace(device.table, delegate_options=options))


def test_the_delegate_of_a_deployment_is_proven_over_ssh(sshd: Sshd, artifact: Artifact) -> None:
    with connect(configured(sshd)) as connection:
        done = deploy(artifact, connection, target=load_target("x86-64"), require_delegate=True)
        start = start_coverage(artifact, connection, BenchOptions())
        found, _ = measure_coverage(start, connection, secs=0.1)
    assert done.self_test is not None
    assert done.self_test.taken[0].nodes == (0, 1, 3, 4)
    assert (found.taken_ops, found.ops, found.partitions) == (4, 5, 2)
    assert found.time is not None
    require_coverage(found, min_coverage=0.8)


def test_options_of_the_device_reach_it(sshd: Sshd, artifact: Artifact) -> None:
    with (
        connect(configured(sshd, ops="nothing")) as connection,
        pytest.raises(CoverageError, match="took none of the model's 5 ops"),
    ):
        deploy(artifact, connection, target=load_target("x86-64"), require_delegate=True)
    with (
        connect(configured(sshd, fail="crash_prepare")) as connection,
        pytest.raises(DeviceFaultError, match="SIGSEGV"),
    ):
        start_coverage(artifact, connection, BenchOptions())


@pytest.fixture(scope="session")
def old_python(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An interpreter with tflite-runtime, what older boards have; it needs an older numpy than edgekit."""
    folder = tmp_path_factory.mktemp("old")
    python = str(folder / "bin" / "python")
    try:
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True, timeout=120)
        wanted = ["tflite-runtime==2.14.0", "numpy==1.26.4"]
        subprocess.run([python, "-m", "pip", "install", "-q", *wanted], check=True, timeout=240)
    except (subprocess.SubprocessError, OSError) as err:
        pytest.skip(f"tflite-runtime cannot be installed beside this Python: {err}")
    return python


def test_an_older_runtime_is_walked_back(sshd: Sshd, artifact: Artifact, old_python: str) -> None:
    """SIN is new to XNNPACK: tflite-runtime 2.14 leaves it to the plain kernels."""
    with connect(sshd.device(python=old_python)) as connection:
        external = start_coverage(artifact, connection, BenchOptions()).seen
        xnnpack = start_coverage(artifact, connection, BenchOptions(delegate="xnnpack")).seen
        plain = start_coverage(artifact, connection, BenchOptions(delegate="none")).seen
    assert (external.runtime.name, external.runtime.version) == ("tflite-runtime", "2.14.0")
    assert external.route == "walked back"
    assert [(item.nodes, item.partitions) for item in external.taken] == [((0, 1, 3, 4), 2)]
    assert [(item.nodes, item.partitions) for item in xnnpack.taken] == [((0, 1, 3, 4), 2)]
    assert plain.taken == ()


def test_a_library_for_another_processor(arm64_device: Arm64, tmp_path: Path) -> None:
    library = build_library(tmp_path / "libelementwise.so")
    model = tmp_path / "chain.tflite"
    model.write_bytes(chain(OPS))
    with connect(arm64_device.device()) as connection:
        connection.run(["sh", "-c", "cat > /tmp/libelementwise.so"], stdin=library.read_bytes())
        with pytest.raises(DeviceFaultError, match=r"is for x86_64 \(64 bit\), Python on the device is aarch64"):
            start_coverage(model, connection, BenchOptions(delegate="/tmp/libelementwise.so"))

"""``bench`` on this machine as the device: the real agent, real models, the command line."""

import hashlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from edgekit.bench import BenchmarkReport, BenchOptions, bench
from edgekit.cli import cli
from edgekit.cli.failures import guarded
from edgekit.device import Device, DeviceTable
from edgekit.entries import FindingEntry
from edgekit.errors import DeviceFaultError
from edgekit.transport import Connection, connect
from tests.artifacts import make_artifact

pytestmark = pytest.mark.unit

QUICK = BenchOptions(num_runs=20, warmup_runs=2, min_secs=0.0, processes=2)
ARGUMENTS = ["--num-runs", "20", "--warmup-runs", "2", "--min-secs", "0", "--processes", "2"]


@pytest.fixture
def model(cases: Path) -> Path:
    return cases / "models" / "tflite_ref" / "kws_int8.tflite"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EDGEKIT_LOCAL_ROOT", str(tmp_path / "root"))
    return tmp_path / "root"


@pytest.fixture
def connection(root: Path) -> Iterator[Connection]:
    with connect(Device(name="local", transport="local", table=DeviceTable(root=str(root)))) as opened:
        yield opened


def run(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str, str]:
    code = guarded(cli, ["bench", *map(str, arguments)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_report(model: Path, root: Path, connection: Connection) -> None:
    seen: list[tuple[int, int]] = []
    options = msgspec.structs.replace(QUICK, num_threads=(1, 2))
    report = bench(model, connection, options, on_progress=lambda done, total: seen.append((done, total)))
    digest = hashlib.sha256(model.read_bytes()).hexdigest()
    assert report.model_sha256 == digest
    assert (root / "cache" / digest).read_bytes() == model.read_bytes()
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert [result.num_threads for result in report.results] == [1, 2]
    assert all(result.num_runs == 40 and len(result.processes) == 2 for result in report.results)
    assert report.runtime.name
    order = [process.before.monotonic_ns for process in report.results[0].processes + report.results[1].processes]
    first, third, second, fourth = order  # the thread counts take turns
    assert first < second < third < fourth


def test_again_nothing_is_sent(model: Path, root: Path, connection: Connection) -> None:
    bench(model, connection, QUICK)
    (cached,) = (root / "cache").iterdir()
    written = cached.stat().st_ino
    bench(model, connection, QUICK)
    assert cached.stat().st_ino == written


def test_plain_kernels(model: Path, connection: Connection) -> None:
    report = bench(model, connection, msgspec.structs.replace(QUICK, delegate="none"))
    assert report.delegate == "none"


def test_artifact_with_its_golden_inputs(model: Path, root: Path, tmp_path: Path, connection: Connection) -> None:
    artifact = make_artifact(tmp_path / "kws", model.read_bytes())
    report = bench(artifact.path, connection, QUICK)
    assert report.artifact_digest == artifact.digest
    assert report.model == "demo"
    cached = {path.name for path in (root / "cache").iterdir()}
    golden = {entry.sha256 for name, entry in artifact.files.items() if name.startswith("golden/0-input")}
    assert golden
    assert cached == {report.model_sha256, *golden}


def test_artifact_below_build_is_the_default(
    model: Path, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, err = run(capsys, *ARGUMENTS)
    assert (code, "There is no artifact in build" in err) == (1, True)
    artifact = make_artifact(tmp_path / "build" / "kws", model.read_bytes())
    code, out, _ = run(capsys, "--json", *ARGUMENTS)
    assert (code, json.loads(out)["artifact_digest"]) == (0, artifact.digest)


def test_changed_artifact_is_exit_code_8(
    model: Path, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    artifact = make_artifact(tmp_path / "kws", model.read_bytes())
    artifact.model.write_bytes(model.read_bytes() + b"x")
    code, _, err = run(capsys, artifact.path, *ARGUMENTS)
    assert (code, "no longer matches the manifest" in err) == (8, True)
    assert not root.exists()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("negative/model_invoking_error.tflite", "refuses the model: Encountered unresolved custom op"),
        ("coral/mobilenet_v1_0.25_128_quant_edgetpu.tflite", "unresolved custom op: edgetpu-custom-op"),
    ],
)
def test_model_that_does_not_run(cases: Path, connection: Connection, name: str, message: str) -> None:
    with pytest.raises(DeviceFaultError, match=message):
        bench(cases / "models" / name, connection, QUICK)


def test_truncated_model(model: Path, tmp_path: Path, connection: Connection) -> None:
    (tmp_path / "half.tflite").write_bytes(model.read_bytes()[:20_000])
    with pytest.raises(DeviceFaultError) as error:
        bench(tmp_path / "half.tflite", connection, QUICK)
    assert error.value.hint


def test_json(model: Path, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, model, "--json", "--num-threads", "2,1", *ARGUMENTS)
    assert code == 0
    facts = json.loads(out)
    assert facts["schema_version"] == 1
    assert set(facts["latency_ms"]) >= {"median", "p90", "p95", "p99", "min", "median_interval"}
    assert facts["num_runs"] == 40
    assert facts["peak_rss_bytes"] > 1_000_000
    assert facts["device"] == "local"
    assert [result["num_threads"] for result in facts["results"]] == [2, 1]


def test_terminal(model: Path, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, model, *ARGUMENTS)
    assert code == 0
    assert "kws_int8 on local" in out
    assert "50 % interval over 2 processes" in out
    assert "few-runs" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--num-threads", "0"], "no list of different thread counts"),
        (["--cpu-mask", "zz"], "no hexadecimal CPU mask"),
        (["--processes", "0"], "1<=x<=1000"),
        (["--min-secs", "-1"], "x<=3600"),
    ],
)
def test_usage(model: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str) -> None:
    code, _, err = run(capsys, model, *arguments)
    assert code == 2
    assert message in " ".join(err.split())


def test_exit_codes_of_bad_input(tmp_path: Path, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, tmp_path / "none.tflite")
    assert (code, "cannot be read" in err) == (1, True)
    code, _, err = run(capsys, tmp_path / "none.tflite", "--device", "nowhere")
    assert (code, "There is no device 'nowhere'" in err) == (1, True)


@pytest.fixture
def moved(monkeypatch: pytest.MonkeyPatch) -> None:
    """A device whose clock moved: this machine's may not."""
    from edgekit.bench import session

    def invalid(*arguments: Any, **settings: Any) -> BenchmarkReport:
        finding = FindingEntry(name="frequency-moved", severity="error", message="It moved.", fix="Hold it.")
        return msgspec.structs.replace(bench(*arguments, **settings), findings=(finding,))

    monkeypatch.setattr(session, "bench", invalid)


@pytest.mark.usefixtures("moved", "root")
def test_invalid_run_is_exit_code_6(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, model, *ARGUMENTS)
    assert code == 6
    assert "median, ms" in out
    assert "The measurement is invalid: It moved." in err
    code, out, _ = run(capsys, model, "--json", *ARGUMENTS)
    assert code == 6
    error = json.loads(out)["error"]
    assert error["exit_code"] == 6
    assert error["details"]["latency_ms"]["median"] > 0
    assert error["details"]["valid"] is False


@pytest.mark.usefixtures("moved", "root")
def test_allow_invalid(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, model, "--json", "--allow-invalid", *ARGUMENTS)
    assert code == 0
    assert json.loads(out)["valid"] is False


def test_numpy_is_not_needed_to_read_a_report() -> None:
    import subprocess

    code = "import sys, edgekit.bench, edgekit.report; print({'numpy', 'rich', 'paramiko'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"

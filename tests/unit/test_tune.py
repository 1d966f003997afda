"""``tune`` on this machine as the device: real files, the real agent, the command line."""

import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from edgekit.artifact import Artifact
from edgekit.bench import BenchOptions
from edgekit.bench.quick import latency_on
from edgekit.cli import cli
from edgekit.cli.failures import guarded
from edgekit.device import Device, DeviceTable, resolve_device
from edgekit.entries import FindingEntry
from edgekit.errors import (
    AccuracyError,
    DeviceFaultError,
    MeasurementInvalidError,
    ModelError,
    ProjectError,
)
from edgekit.held_out import Data
from edgekit.metrics import metric_of
from edgekit.plan import BuildOptions
from edgekit.plots.figure import render
from edgekit.plots.frontier import _draw, plot_frontier
from edgekit.project import Evaluation, Project
from edgekit.target import load_target
from edgekit.transport import Connection, connect
from edgekit.tune.candidates import build_files, given_files
from edgekit.tune.run import Budget, File, TuneReport, require_sound, tune
from edgekit.tune.table import print_tuning
from tests import kws
from tests.artifacts import make_artifact

pytestmark = pytest.mark.unit

QUICK = BenchOptions(num_runs=5, warmup_runs=1, min_secs=0.0, processes=2)
ARGUMENTS = ["--num-runs", "5", "--warmup-runs", "1", "--min-secs", "0", "--processes", "2"]


@pytest.fixture(scope="module")
def artifacts(cases: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Artifact]:
    """A float32 and an int8 artifact of keyword spotting."""
    build, folder = tmp_path_factory.mktemp("build"), cases / "models" / "tflite_ref"
    return [
        make_artifact(
            build / "kws-float32",
            (folder / "kws_hybrid_named_float32.tflite").read_bytes(), precision="float32", io="float32",
        ),
        make_artifact(build / "kws-int8", (folder / "kws_int8.tflite").read_bytes()),
    ]  # fmt: skip


@pytest.fixture(scope="module")
def files(artifacts: list[Artifact]) -> list[File]:
    return given_files([artifact.path for artifact in artifacts])


@pytest.fixture(scope="module")
def data(cases: Path, tmp_path_factory: pytest.TempPathFactory) -> Data:
    x, y = kws.samples(cases)
    path = tmp_path_factory.mktemp("data") / "held.npz"
    np.savez(path, x=x[200:240], y=y[200:240])
    return Data(spec=str(path), metric=metric_of("top1"))


@pytest.fixture(scope="module")
def report(files: list[File], data: Data, tmp_path_factory: pytest.TempPathFactory) -> TuneReport:
    options = msgspec.structs.replace(QUICK, num_threads=(1, 2))
    table = DeviceTable(root=str(tmp_path_factory.mktemp("device")))
    with connect(Device(name="local", transport="local", table=table)) as connection:
        return tune(files, connection, options, budget=Budget(data=data, max_drop="50pt"))


def test_every_file_with_every_number_of_threads(report: TuneReport) -> None:
    assert {(item.candidate.name, item.num_threads) for item in report.setups} == {
        ("float32", 1), ("float32", 2), ("int8", 1), ("int8", 2),
    }  # fmt: skip
    latencies = [item.latency_ms.median for item in report.setups]
    assert latencies == sorted(latencies)
    assert all(len(item.rounds_ms) == 2 and item.candidate.keeps_budget for item in report.setups)
    assert {item.candidate.drop for item in report.setups if item.candidate.name == "float32"} == {0.0}
    assert report.frontier[0] == 0
    assert report.recommendation is not None
    assert (report.metric, report.samples, report.max_drop) == ("top1", 40, "50pt")
    require_sound(report, allow_invalid=True)


def test_a_plot_of_it(report: TuneReport, tmp_path: Path) -> None:
    plot_frontier(report, tmp_path / "frontier.svg")
    drawn = (tmp_path / "frontier.svg").read_text()
    assert "<svg" in drawn
    assert render(lambda figure: _draw(report, figure), "svg").decode() == drawn


def test_none_keeps_the_budget(report: TuneReport) -> None:
    setups = tuple(
        msgspec.structs.replace(
            item, candidate=msgspec.structs.replace(item.candidate, lost="5.00 points", keeps_budget=False)
        )
        for item in report.setups
    )
    broken = msgspec.structs.replace(report, setups=setups, recommendation=None, max_drop="1pt")
    with pytest.raises(AccuracyError, match=r"No file keeps the budget of 1pt: float32 loses 5\.00 points, int8 loses"):
        require_sound(broken)
    with pytest.raises(AccuracyError) as caught:
        require_sound(broken, allow_invalid=True)
    assert json.loads(json.dumps(caught.value.details))["report"]["max_drop"] == "1pt"


def test_an_invalid_measurement(report: TuneReport) -> None:
    moved = FindingEntry(name="frequency-moved", severity="error", message="It moved.", fix="Hold it.")
    invalid = msgspec.structs.replace(report, findings=(moved,))
    with pytest.raises(MeasurementInvalidError, match=r"The measurement is invalid: It moved\."):
        require_sound(invalid)
    require_sound(invalid, allow_invalid=True)


def test_what_does_not_run_there_is_left_out_and_said(files: list[File], connection: Connection) -> None:
    found = tune(files, connection, QUICK, delegates=["none", "/no/such.so"])
    assert {item.delegate for item in found.setups} == {"none"}
    assert [item.label for item in found.failed] == ["float32, 1 thread, /no/such.so", "int8, 1 thread, /no/such.so"]
    assert "/no/such.so" in found.failed[0].message


def test_nothing_runs_there(files: list[File], connection: Connection) -> None:
    with pytest.raises(DeviceFaultError, match=r"Nothing of this runs on local; float32, 1 thread, /no/such\.so: "):
        tune(files, connection, QUICK, delegates=["/no/such.so"])


def test_accuracy_of_the_device_itself(files: list[File], connection: Connection, data: Data) -> None:
    found = tune(files, connection, QUICK, budget=Budget(data=data, max_drop="50pt", on_device=True))
    assert all(item.candidate.keeps_budget for item in found.setups)


def test_a_budget_needs_a_reference(files: list[File], connection: Connection, data: Data) -> None:
    with pytest.raises(ProjectError, match="no float32 file to hold the others against"):
        tune(files[1:], connection, QUICK, budget=Budget(data=data, max_drop="1pt"))


def test_files_of_the_same_precision_go_by_their_folders(artifacts: list[Artifact], tmp_path: Path) -> None:
    other = make_artifact(tmp_path / "other", artifacts[1].model.read_bytes())
    paths = [artifacts[0].path, artifacts[1].path, other.path]
    assert [file.name for file in given_files(paths)] == ["float32", "kws-int8", "other"]
    with pytest.raises(ModelError, match="Several of the files are called kws-int8"):
        given_files([artifacts[1].path, artifacts[1].path])


def test_a_model_is_built_in_every_precision_that_can_be(
    cases: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    options = BuildOptions(model=str(cases / "models" / "tflm" / "hello_world_float.tflite"))
    project = Project(evaluation=Evaluation(data="not-read.npz", max_drop="1pt"))
    files, findings = build_files(project, load_target("rpi4"), [], options)
    assert {"float32", "float16", "dynamic"} <= {file.name for file in files}
    assert all(file.path.is_file() for file in files)
    missing = [finding.message for finding in findings if finding.name == "not-built"]
    assert any(message.startswith("int8: int8 needs calibration data") for message in missing)
    with pytest.raises(ProjectError, match="int8 needs calibration data"):
        build_files(project, load_target("rpi4"), ["int8"], options)
    with pytest.raises(ModelError, match=r"none\.tflite cannot be read"):
        build_files(project, load_target("rpi4"), [], BuildOptions(model="none.tflite"))


def run(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str, str]:
    code = guarded(cli, ["tune", *map(str, arguments)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.mark.slow
@pytest.mark.usefixtures("root")
def test_command(
    artifacts: list[Artifact],
    data: Data,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    paths = [artifact.path for artifact in artifacts]
    code, out, _ = run(capsys, *paths, "--evaluate", data.spec, "--plot", "f.png", "--allow-invalid", *ARGUMENTS)
    assert code == 0
    assert "recommended: " in out
    assert (tmp_path / "f.png").read_bytes().startswith(b"\x89PNG")
    code, out, _ = run(capsys, *paths, "--json", "--delegate", "none", "--allow-invalid", *ARGUMENTS)
    facts: dict[str, Any] = json.loads(out)
    assert (code, facts["metric"], len(facts["setups"])) == (0, None, 2)
    assert facts["recommendation"]["setup"]["delegate"] == "none"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--max-drop", "1pt"], 1, "there is nothing to measure it on"),
        (["--plot", "f.pdf"], 1, "f.pdf is of no kind that edgekit plots"),
        (["--threads", "0"], 2, "no list of different thread counts"),
        (["a.keras", "b.keras"], 2, "one model to build from"),
        ([], 1, "No target was given"),
        (["--target", "rpi4", "--device", "nowhere"], 1, "There is no device 'nowhere'"),
    ],
)
def test_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    arguments: list[str], code: int, message: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    found, _, err = run(capsys, *arguments)
    assert (found, message in " ".join(err.split())) == (code, True), err


@pytest.mark.usefixtures("root")
def test_latency_of_bytes(cases: Path) -> None:
    model = (cases / "models" / "tflm" / "hello_world_int8.tflite").read_bytes()
    unknown_op = (cases / "models" / "negative" / "model_invoking_error.tflite").read_bytes()
    with latency_on(resolve_device("local")) as latency_ms:
        assert 0 < (latency_ms(model) or 0) < 1000
        assert latency_ms(unknown_op) is None


def test_table(report: TuneReport) -> None:
    import io

    from rich.console import Console

    text = io.StringIO()
    print_tuning(report, Console(file=text, width=120))
    assert "top1 on 40 samples, budget 50pt" in text.getvalue()
    assert text.getvalue().count("xnnpack") >= 4

"""Accuracy here and on a device, paired: the real agent on this machine, and the command line."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit.agent.runtime import Model
from edgekit.cli import cli
from edgekit.cli.failures import guarded
from edgekit.device_evaluation import evaluate_file, judge
from edgekit.differences import Differences
from edgekit.entries import CalibrationEntry
from edgekit.errors import AccuracyError, DataError, ProjectError
from edgekit.held_out import Data
from edgekit.metrics import metric_of
from edgekit.transport import Connection
from tests import kws
from tests.artifacts import make_artifact

pytestmark = pytest.mark.unit


@pytest.fixture
def model(cases: Path) -> Path:
    return cases / "models" / "tflite_ref" / "kws_int8.tflite"


@pytest.fixture
def source(cases: Path) -> Path:
    return cases / "models" / "tflite_ref" / "kws_hybrid_named_float32.tflite"


@pytest.fixture
def data(cases: Path, tmp_path: Path) -> Data:
    """60 labelled samples."""
    x, y = kws.samples(cases)
    np.savez(tmp_path / "held.npz", x=x[200:260], y=y[200:260])
    return Data(spec="held.npz", metric=metric_of("top1"), base=tmp_path)


def test_here(model: Path, data: Data, cases: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    found = evaluate_file(model, data, on_sample=lambda *progress: seen.append(progress))
    x, y = kws.samples(cases)
    here = Model(model)
    hits = 0
    for sample, label in zip(x[200:260], y[200:260], strict=True):
        quantized = np.clip(np.round(sample / here.inputs[0].scale) + here.inputs[0].zero_point, -128, 127)
        hits += here.run({"input_1": quantized.astype(np.int8)[None]})["Identity"].argmax() == label
    assert found.value == hits / 60
    assert (found.samples, found.on_device, found.judged) == (60, None, None)
    assert seen[-1] == (60, 60)


def test_on_a_device_with_the_same_runtime_nothing_differs(
    model: Path, source: Path, data: Data, connection: Connection
) -> None:
    found = evaluate_file(model, data, source=source.read_bytes(), connection=connection)
    there = found.on_device
    assert there is not None
    assert (there.device, there.runtime, there.delegate, there.differing) == ("local", "ai-edge-litert", "xnnpack", 0)
    assert [(item.output, item.unit, item.largest) for item in there.outputs] == [("Identity", "steps", 0.0)]
    assert there.against_host.drop == 0
    assert there.against_source is not None
    assert found.against_source is not None
    assert there.against_source.source == found.against_source.source
    assert found.judged is there.against_source


def test_other_kernels_are_seen(model: Path, data: Data, connection: Connection) -> None:
    there = evaluate_file(model, data, connection=connection, delegate="none").on_device
    assert there is not None
    assert there.delegate == "none"
    assert 0 < there.differing < 60
    assert (there.outputs[0].largest or 0) >= 1


def test_the_artifacts_own_preprocessing_is_applied(model: Path, cases: Path, tmp_path: Path) -> None:
    from msgspec.structs import replace

    from edgekit.project import Preprocessing

    plain = make_artifact(tmp_path / "plain", model.read_bytes())
    entry = replace(plain.manifest.inputs[0], preprocessing=Preprocessing(scale=2.0))
    doubling = make_artifact(tmp_path / "doubling", model.read_bytes(), inputs=(entry,))
    x, y = kws.samples(cases)
    np.savez(tmp_path / "whole.npz", x=x[:40], y=y[:40])
    np.savez(tmp_path / "half.npz", x=x[:40] / 2, y=y[:40])
    whole = evaluate_file(plain, Data(spec="whole.npz", metric=metric_of("top1"), base=tmp_path))
    half = evaluate_file(doubling, Data(spec="half.npz", metric=metric_of("top1"), base=tmp_path))
    assert (whole.value, whole.data_sha256) == (half.value, half.data_sha256)


def test_the_samples_of_the_calibration_are_no_evaluation(model: Path, data: Data, tmp_path: Path) -> None:
    sha256 = evaluate_file(model, data).data_sha256
    calibration = CalibrationEntry(sha256=sha256, samples=60, calibrator="min-max")
    artifact = make_artifact(tmp_path / "kws", model.read_bytes(), calibration=calibration)
    assert "evaluated-on-calibration" in {finding.name for finding in evaluate_file(artifact, data).findings}


def test_a_budget_on_the_device(model: Path, data: Data, connection: Connection) -> None:
    found = evaluate_file(model, data, connection=connection, delegate="none")
    assert {finding.name for finding in judge(found, "5pt")} <= {"budget-not-proven"}
    with pytest.raises(ProjectError, match="nothing to hold the file against"):
        judge(evaluate_file(model, data), "1pt")


def test_data_without_labels(model: Path, tmp_path: Path, cases: Path) -> None:
    np.savez(tmp_path / "bare.npz", x=kws.samples(cases)[0][:3])
    with pytest.raises(DataError, match="has no labels"):
        evaluate_file(model, Data(spec="bare.npz", metric=metric_of("top1"), base=tmp_path))


def run(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str, str]:
    code = guarded(cli, ["evaluate", *map(str, arguments)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_command(model: Path, source: Path, data: Data, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    held = data.base / data.spec
    code, out, _ = run(capsys, model, held, "--device", "local", "--source", source, "--json")
    facts = json.loads(out)
    assert code == 0
    assert facts["on_device"]["differing"] == 0
    assert facts["on_device"]["against_source"]["samples"] == 60
    code, out, _ = run(capsys, model, held, "--device", "local", "--delegate", "none")
    assert code == 0
    assert "samples give other outputs than here, at most: Identity by" in out


def test_a_budget_that_is_broken_is_exit_code_3(
    source: Path, cases: Path, tmp_path: Path, data: Data, capsys: pytest.CaptureFixture[str]
) -> None:
    """The keyword model against a source that is always right: one whose data is labelled by its own outputs."""
    here = Model(source)
    x, _ = kws.samples(cases)
    scores = [here.run({here.inputs[0].name: sample[None]})[here.outputs[0].name] for sample in x[:60]]
    labels = np.array([row.argmax() for row in scores])
    noisy = np.random.default_rng(0).normal(x[:60], 30).astype(np.float32)
    np.savez(tmp_path / "own.npz", x=noisy, y=labels)
    int8 = cases / "models" / "tflite_ref" / "kws_int8.tflite"
    found = evaluate_file(
        int8, Data(spec="own.npz", metric=metric_of("top1"), base=tmp_path), source=source.read_bytes()
    )
    assert found.against_source is not None
    assert found.against_source.drop > 0
    with pytest.raises(AccuracyError):
        judge(found, "0pt")
    code, _, err = run(capsys, int8, tmp_path / "own.npz", "--source", source, "--max-drop", "0pt")
    assert (code, "the budget is 0pt" in err) == (3, True)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--max-drop", "1pt"], 1, "nothing to hold the file against"),
        (["--max-drop", "1"], 1, "'1' has no unit"),
        (["--metric", "top2"], 1, "There is no metric 'top2'"),
        (["--device", "nowhere"], 1, "There is no device 'nowhere'"),
        (["--source", "none.tflite"], 1, "none.tflite cannot be read"),
    ],
)
def test_refused(
    model: Path, data: Data, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, message: str
) -> None:
    found, _, err = run(capsys, model, data.base / data.spec, *arguments)
    assert (found, message in err) == (code, True), err


def test_no_data(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, err = run(capsys, model)
    assert (code, "There is nothing to evaluate on." in err) == (1, True)


def test_differences_of_floats(cases: Path) -> None:
    tensors = Model(cases / "models" / "tflm" / "hello_world_float.tflite").outputs
    name = tensors[0].name

    def largest(*pairs: tuple[Any, Any]) -> tuple[int, float | None]:
        seen = Differences(tensors)
        for expected, found in pairs:
            seen.see({name: np.array([expected], np.float32)}, {name: np.array([found], np.float32)})
        return seen.samples, seen.outputs()[0].largest

    assert largest((1, 1), (np.nan, np.nan), (np.inf, np.inf)) == (0, 0.0)
    assert largest((1, 1.5), (1, 1.25)) == (2, 0.5)
    assert largest((1, np.nan)) == (1, None)
    assert largest((-np.inf, np.inf)) == (1, None)

"""edgekit build, whole, on real trained models."""

import json
import shutil
from pathlib import Path

import jsonschema
import numpy as np
import pytest

from edgekit.artifact import Artifact, read_artifact
from edgekit.build import build
from edgekit.cli import cli
from edgekit.cli.failures import guarded
from edgekit.documents import write_json
from edgekit.inspection import inspect
from edgekit.plan import BuildOptions, plan
from edgekit.predict import predict
from edgekit.progress import silent
from edgekit.project import Project, load_project
from edgekit.steps import convert
from edgekit.target import load_target
from edgekit_converters.types import FloatModel
from tests import kws
from tools.write_schema import schema

pytestmark = [pytest.mark.convert, pytest.mark.xdist_group("build")]
RPI4 = load_target("rpi4")


@pytest.fixture(scope="module")
def folder(cases: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kws")
    kws.write_data(cases, folder)
    return folder


def options(cases: Path, folder: Path, output: str) -> BuildOptions:
    return BuildOptions(
        model=str(kws.saved_model(cases)),
        precision="int8",
        calibration="calibration.npz",
        evaluate="evaluation.npz",
        max_drop="0.5pt",
        output=folder / output,
    )


@pytest.fixture(scope="module")
def artifact(cases: Path, folder: Path) -> Artifact:
    return build(plan(Project(), RPI4, options(cases, folder, "first"), folder))


def test_kws_int8_keeps_half_a_point_and_its_size(artifact: Artifact) -> None:
    evaluation = artifact.manifest.evaluation
    assert evaluation is not None
    assert evaluation.drop <= 0.005
    assert evaluation.samples >= 390
    assert artifact.manifest.audit.model_bytes <= 54_000
    assert set(artifact.manifest.audit.tensor_dtypes) == {"int8", "int32"}
    assert "evaluation-overlap" not in {finding.name for finding in artifact.manifest.findings}


@pytest.mark.slow
def test_two_builds_are_byte_identical(artifact: Artifact, cases: Path, folder: Path) -> None:
    second = build(plan(Project(), RPI4, options(cases, folder, "second"), folder))
    assert second.digest == artifact.digest
    for name in artifact.files:
        assert (second.path / name).read_bytes() == (artifact.path / name).read_bytes()


def test_the_manifest_satisfies_the_published_schema_and_holds_no_path(artifact: Artifact, folder: Path) -> None:
    text = (artifact.path / "manifest.json").read_text()
    jsonschema.validate(json.loads(text), json.loads(schema("manifest")))
    golden = json.loads((artifact.path / "golden" / "golden.json").read_text())
    jsonschema.validate(golden, json.loads(schema("golden")))
    assert str(folder) not in text
    assert text.encode() == write_json(artifact.manifest)


def test_the_metadata_is_read_by_other_tools_and_the_model_still_runs(artifact: Artifact) -> None:
    found = inspect(artifact.path)
    assert found.precision == "int8"
    assert b"TFLITE_METADATA" in artifact.model.read_bytes()


def test_one_prediction(artifact: Artifact, cases: Path, tmp_path: Path) -> None:
    x, y = kws.samples(cases)
    np.save(tmp_path / "one.npy", x[0])
    scores = predict(artifact.path, tmp_path / "one.npy").outputs["dense"]
    assert scores.argmax() == y[0]


@pytest.fixture
def converted_once(artifact: Artifact, monkeypatch: pytest.MonkeyPatch, cases: Path, folder: Path) -> None:
    """The real conversion of KWS, once for the tests that are about what comes after it."""
    if not FLOAT_MODEL:
        FLOAT_MODEL.append(convert(plan(Project(), RPI4, options(cases, folder, "unused"), folder), silent))
    monkeypatch.setattr("edgekit.reuse.convert", lambda _plan, _progress: FLOAT_MODEL[0])


FLOAT_MODEL: list[FloatModel] = []


@pytest.mark.usefixtures("converted_once")
def test_over_the_budget_fails_with_exit_code_3_and_writes_nothing(
    cases: Path, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    x, y = kws.samples(cases)
    np.savez(folder / "wrong.npz", x=np.clip(x[:100], -1, 1))  # a range that has nothing to do with the real one
    np.savez(folder / "held.npz", x=np.clip(x[100:], -8, 8), y=y[100:])
    arguments = ["--calibration", "wrong.npz", "--evaluate", "held.npz", "--max-drop", "1pt", "--output", "over"]
    code = guarded(cli, ["build", str(kws.saved_model(cases)), "--target", "rpi4", "--json", *arguments])
    captured = capsys.readouterr()
    assert code == 3, captured
    assert "the budget is 1pt" in captured.err
    assert json.loads(captured.out)["error"]["kind"] == "AccuracyError"
    assert not (folder / "over").exists()


@pytest.mark.slow
@pytest.mark.usefixtures("converted_once")
@pytest.mark.parametrize("io", ["uint8", "float32"])
def test_other_inputs_and_outputs_of_an_int8_model(cases: Path, folder: Path, io: str) -> None:
    wanted = BuildOptions(
        model=str(kws.saved_model(cases)),
        precision="int8",
        io=io,  # type: ignore[arg-type]
        calibration="calibration.npz",
        output=folder / io,
    )
    manifest = build(plan(Project(), RPI4, wanted, folder)).manifest
    assert {tensor.dtype for tensor in (*manifest.inputs, *manifest.outputs)} == {io}


@pytest.mark.usefixtures("converted_once")
@pytest.mark.parametrize(("precision", "largest"), [("float16", 56_000), ("dynamic", 40_000)])
def test_without_data_the_golden_vectors_are_random_and_said_so(
    cases: Path, folder: Path, precision: str, largest: int
) -> None:
    wanted = BuildOptions(model=str(kws.saved_model(cases)), precision=precision, output=folder / precision)  # type: ignore[arg-type]
    manifest = build(plan(Project(), RPI4, wanted, folder)).manifest
    assert manifest.audit.model_bytes <= largest
    assert {"golden-random", "accuracy-not-measured"} <= {finding.name for finding in manifest.findings}


@pytest.mark.slow
def test_images_with_declared_preprocessing(cases: Path, tmp_path: Path) -> None:
    images = tmp_path / "images"
    for number, name in enumerate(["cat.bmp", "bird.bmp", "grace_hopper.bmp", "hot_dog.jpg", "face.jpg"]):
        (images / str(number % 2)).mkdir(parents=True, exist_ok=True)
        shutil.copy(cases / "data" / "images" / name, images / str(number % 2) / name)
    (tmp_path / "labels.txt").write_text("no person\nperson\n")
    (tmp_path / "edgekit.toml").write_text(
        f"""
name = "vww"
[model]
path = {json.dumps(str(cases / "models/keras_h5/vww_mobilenetv1_025_96.h5"))}
labels = "labels.txt"
[input.input_1]
range = [0.0, 1.0]
[input.input_1.preprocessing]
resize = [96, 96]
scale = 0.00392156862745098
[calibration]
data = "images"
[evaluation]
data = "images"
"""
    )
    artifact = build(plan(load_project(tmp_path), RPI4, BuildOptions(), tmp_path))
    assert artifact.path == tmp_path / "build" / "vww-rpi4-int8"
    names = {finding.name for finding in artifact.manifest.findings}
    assert {"calibration-count", "evaluation-overlap", "budget-not-proven"} & names
    assert artifact.manifest.labels == ("no person", "person")
    prediction = predict(artifact.path, cases / "data" / "images" / "face.jpg")
    (scores,) = prediction.outputs.values()
    assert scores.ravel()[1] > 0.9, "a face belongs to a person"
    assert read_artifact(artifact.path).digest == artifact.digest

"""The application's side: the active model with its preprocessing, labels and delegate."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

import edgekit.agent
from edgekit.agent import load
from edgekit.agent.events import AgentError
from edgekit.agent.runtime import Model, quantize
from edgekit.artifact import MODEL, Artifact
from edgekit.deploy import deploy, rollback
from edgekit.entries import TensorEntry
from edgekit.project import Preprocessing
from edgekit.transport import Connection, connect
from tests.artifacts import make_artifact

pytestmark = pytest.mark.unit
LABELS = tuple(f"class {n}" for n in range(10))
SCALED = Preprocessing(resize=(32, 32), scale=1.0, mean=(0.0,), std=(1.0,))


@pytest.fixture
def artifact(tmp_path: Path, cases: Path) -> Artifact:
    """ResNet8 int8: images of any size in, CIFAR-10 classes out."""
    data = (cases / "models" / "tflite_ref" / "ic_resnet8_int8.tflite").read_bytes()
    plain = make_artifact(tmp_path / "plain", data)
    (entry,) = plain.manifest.inputs
    inputs: tuple[TensorEntry, ...] = (msgspec.structs.replace(entry, preprocessing=SCALED),)
    return make_artifact(tmp_path / "images", data, inputs=inputs, labels=LABELS, name="images")


@pytest.fixture
def image() -> Any:
    return np.random.default_rng(0).integers(0, 256, (64, 48, 3), np.uint8)


def test_a_prediction_is_preprocessing_inference_and_label(artifact: Artifact, image: Any) -> None:
    from edgekit.agent import preprocess

    loaded = load(str(artifact.path))
    found = loaded.predict(image)
    model = Model(str(artifact.model))
    real = preprocess.apply(msgspec.to_builtins(SCALED), image)[np.newaxis]
    (expected,) = model.run({model.inputs[0].name: quantize(real, model.inputs[0])}).values()
    (scores,) = found.outputs.values()
    assert scores.dtype == np.float32
    assert found.label == LABELS[int(expected.argmax())]
    assert found.score == pytest.approx(float(scores.max()))
    assert loaded.digest == artifact.digest
    assert loaded.delegate == "xnnpack"
    assert np.array_equal(loaded.predict({model.inputs[0].name: image[np.newaxis]}).outputs.popitem()[1], scores)


def test_data_that_does_not_fit_is_refused(artifact: Artifact) -> None:
    loaded = load(str(artifact.path))
    with pytest.raises(ValueError, match=r"takes \(1, 32, 32, 3\); the data is"):
        loaded.predict(np.zeros((64, 64, 4)))
    with pytest.raises(ValueError, match=r"the model takes .* the data has \['other'\]"):
        loaded.predict({"other": np.zeros(3)})


def test_reload_follows_the_active_version(
    tmp_path: Path, root: Path, connection: Connection, artifact: Artifact, image: Any
) -> None:
    newer = make_artifact(tmp_path / "newer", artifact.model.read_bytes(), name="images")
    deploy(artifact, connection)
    loaded = load(str(root / "models" / "images"))
    assert not loaded.reload()
    deploy(newer, connection)
    assert loaded.digest == artifact.digest
    assert loaded.reload()
    assert loaded.digest == newer.digest
    assert loaded.labels is None
    rollback(connection, name="images")
    assert load(str(root / "models" / "images" / "current")).digest == artifact.digest


def test_a_damaged_model_is_refused(root: Path, connection: Connection, artifact: Artifact) -> None:
    deploy(artifact, connection)
    path = root / "models" / "images" / "current" / MODEL
    path.write_bytes(path.read_bytes()[:-10] + b"0123456789")
    with pytest.raises(AgentError, match=r"model.tflite was changed after it was built") as caught:
        load(str(root / "models" / "images"))
    assert caught.value.kind == "integrity"
    (path.parent / "manifest.json").write_text("{}")
    with pytest.raises(AgentError, match=r"manifest.json was changed"):
        load(str(root / "models" / "images"))
    with pytest.raises(AgentError, match="no active model"):
        load(str(root / "models" / "nothing"))


def test_the_delegate_of_the_deployment_is_used(
    tmp_path: Path, root: Path, connection: Connection, cases: Path
) -> None:
    artifact = make_artifact(tmp_path / "sine", (cases / "models" / "tflm" / "hello_world_int8.tflite").read_bytes())
    table = msgspec.structs.replace(connection.device.table, delegate="none")
    with connect(msgspec.structs.replace(connection.device, table=table)) as opened:
        deploy(artifact, opened)
    assert load(str(root / "models" / "demo")).delegate == "none"
    assert load(str(root / "models" / "demo"), delegate="xnnpack").delegate == "xnnpack"


def test_the_library_on_the_device_needs_nothing_else_of_edgekit(
    tmp_path: Path, root: Path, connection: Connection, artifact: Artifact
) -> None:
    deploy(artifact, connection)
    example = Path(__file__).parents[2] / "examples" / "classify.py"
    picture = tmp_path / "picture.npy"
    np.save(picture, np.zeros((40, 40, 3), np.uint8))
    done = subprocess.run(
        [sys.executable, example, root / "models" / "images", picture],
        env={"PYTHONPATH": str(root / "lib" / "edgekit.pyz"), "PATH": ""},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith(f"{artifact.digest[:12]} class ")


def test_there_is_nothing_else_in_the_package() -> None:
    with pytest.raises(AttributeError, match="no attribute 'store_all'"):
        _ = edgekit.agent.store_all

"""Hostile and damaged source models: nothing in them runs, and the error says what is wrong."""

import json
import zipfile
from pathlib import Path
from typing import Any

import h5py
import pytest

from edgekit_converters.child import convert
from edgekit_converters.errors import ConversionError, SourceError
from edgekit_converters.sources import open_source

pytestmark = pytest.mark.convert


def write_keras(path: Path, config: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", config)
        archive.writestr("metadata.json", b"{}")
        archive.writestr("model.weights.h5", b"")
    return path


def sequential(layer: dict[str, Any]) -> bytes:
    """The configuration of a Sequential model with four inputs and this layer."""
    start = {
        "module": "keras.layers",
        "class_name": "InputLayer",
        "config": {"batch_shape": [None, 4], "dtype": "float32", "name": "input"},
        "registered_name": None,
    }
    model = {
        "module": "keras",
        "class_name": "Sequential",
        "config": {"name": "m", "layers": [start, layer], "build_input_shape": [None, 4]},
        "registered_name": None,
    }
    return json.dumps(model).encode()


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (b"[" * 200_000, "damaged: its configuration cannot be read: maximum recursion depth"),
        (b" " * (65 * 1024 * 1024), "damaged: its configuration cannot be read: it is larger than"),
        (b"\xff\xfe", "damaged: its configuration cannot be read"),
        (sequential({"class_name": "Lambda", "config": {}}), "has a Lambda layer: Python code"),
    ],
    ids=["deep", "bomb", "bytes", "lambda"],
)
def test_a_configuration_is_judged_before_a_framework_starts(tmp_path: Path, config: bytes, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        convert(open_source(write_keras(tmp_path / "m.keras", config)), log_folder=tmp_path / "logs")
    assert not (tmp_path / "logs").exists()


@pytest.mark.parametrize("config", [3, "[" * 60_000, "{}"], ids=["number", "deep", "empty"])
def test_an_h5_configuration_that_is_none(tmp_path: Path, config: Any) -> None:
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file.attrs["model_config"] = config
    with pytest.raises(SourceError, match=r"damaged|could not read"):
        convert(open_source(tmp_path / "m.h5"), log_folder=tmp_path / "logs")


@pytest.mark.slow
def test_a_class_from_elsewhere_is_never_called(tmp_path: Path) -> None:
    command = {"command": f"touch {tmp_path / 'called'}"}
    layer = {"module": "os", "class_name": "system", "config": command, "registered_name": "system"}
    with pytest.raises(SourceError, match="needs a class 'system'"):
        convert(open_source(write_keras(tmp_path / "m.keras", sequential(layer))), log_folder=tmp_path / "logs")
    assert not (tmp_path / "called").exists()


@pytest.mark.slow
def test_a_layer_that_fits_no_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layer = {
        "module": "keras.layers",
        "class_name": "Dense",
        "config": {"name": "d", "units": 10**11},
        "registered_name": None,
    }
    (tmp_path / "file").touch()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(ConversionError, match="ran out of memory") as caught:
        convert(
            open_source(write_keras(tmp_path / "m.keras", sequential(layer))), log_folder=tmp_path / "file" / "logs"
        )
    (log,) = tmp_path.glob("edgekit-log-*/convert.log")
    assert str(log) in caught.value.hint, "a log that cannot be kept in its place is kept elsewhere"

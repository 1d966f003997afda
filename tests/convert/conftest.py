"""Models that Keras writes, each converted once a session."""

import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit_converters.child import convert
from edgekit_converters.sources import open_source
from edgekit_converters.types import FloatModel, QuantizedModel, TensorSpec

HERE = Path(__file__).parent
GENERATED = ("sequential.keras", "keras3.h5", "multi.keras", "dicts.keras", "lstm.keras", "gru.keras")


@pytest.fixture(scope="session")
def keras_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keras")
    subprocess.run([sys.executable, str(HERE / "make_models.py"), str(folder)], check=True, capture_output=True)
    return folder


@pytest.fixture(scope="session")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], FloatModel]:
    logs = tmp_path_factory.mktemp("logs")
    return cache(lambda path: convert(open_source(path), log_folder=logs))


@pytest.fixture(scope="session")
def keras_answers(cases: Path, keras_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``<model>.npz`` of keras_reference.py: one start of TensorFlow for all of them."""
    folder = tmp_path_factory.mktemp("answers")
    real = [cases / "models/keras_h5" / name for name in ("ic_resnet8.h5", "vww_mobilenetv1_025_96.h5")]
    made = [keras_models / name for name in GENERATED]
    reference("predict", folder, *real, *made)
    return folder


def reference(*arguments: str | Path) -> None:
    """Run keras_reference.py."""
    command = [sys.executable, str(HERE / "keras_reference.py"), *map(str, arguments)]
    subprocess.run(command, check=True, capture_output=True)


def run(model: FloatModel | QuantizedModel, inputs: dict[str, Any]) -> list[Any]:
    """Outputs for every sample, real values in and out, in the order of the model's outputs."""
    return run_bytes(model.tflite, model.inputs, model.outputs, inputs)


def run_bytes(
    tflite: bytes, inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...], data: dict[str, Any]
) -> list[Any]:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=tflite)
    interpreter.allocate_tensors()
    runner = interpreter.get_signature_runner()
    rows: list[list[Any]] = []
    for number in range(len(data[inputs[0].name])):
        arrays = {spec.name: _quantized(data[spec.name][number : number + 1], spec) for spec in inputs}
        results = runner(**arrays)
        rows.append([_real(results[spec.name], spec) for spec in outputs])
    return [np.concatenate(column) for column in zip(*rows, strict=True)]


def _quantized(values: Any, spec: TensorSpec) -> Any:
    if spec.scale is None or spec.zero_point is None:
        return values.astype(spec.dtype)
    limits = np.iinfo(spec.dtype)
    return np.clip(np.round(values / spec.scale) + spec.zero_point, limits.min, limits.max).astype(spec.dtype)


def _real(values: Any, spec: TensorSpec) -> Any:
    return values if spec.scale is None else (values.astype(np.float32) - spec.zero_point) * spec.scale

"""What Keras itself, or TFLiteConverter, makes of a model: run in a process of its own.

``keras_reference.py predict FOLDER MODEL...`` or ``int8 MODEL INPUTS.npz OUTPUT.tflite``.
"""

import os
import sys
from pathlib import Path
from typing import Any

os.environ.update(TF_CPP_MIN_LOG_LEVEL="3", CUDA_VISIBLE_DEVICES="-1")

import keras
import numpy as np
import tensorflow as tf

SAMPLES = 5
HIGHEST = {"ic_resnet8.h5": 255}
"""Model -> the largest value that it takes; 1 for the others."""


class DepthwiseConv2D(keras.layers.DepthwiseConv2D):  # type: ignore[misc]
    def __init__(self, *args: Any, groups: int = 1, **options: Any) -> None:
        super().__init__(*args, **options)


def load(path: str) -> Any:
    return keras.models.load_model(path, compile=False, custom_objects={"DepthwiseConv2D": DepthwiseConv2D})


def predict(folder: str, *models: str) -> None:
    """For each model ``FOLDER/<name>.npz``: five seeded samples of its inputs by name, and ``output_0`` ..."""
    for path in models:
        model, random = load(path), np.random.default_rng(0)
        high = HIGHEST.get(Path(path).name, 1)
        inputs = {
            tensor.name: (random.random((SAMPLES, *tensor.shape[1:])) * high).astype(np.float32)
            for tensor in model.inputs
        }
        rows = [[array[i : i + 1] for array in inputs.values()] for i in range(SAMPLES)]
        structure = model.inputs[0] if isinstance(model, keras.Sequential) else model.input
        results = [model(keras.tree.pack_sequence_as(structure, row)) for row in rows]
        outputs = [np.concatenate(column) for column in zip(*map(keras.tree.flatten, results), strict=True)]
        named: dict[str, Any] = {**inputs, **{f"output_{position}": array for position, array in enumerate(outputs)}}
        np.savez(Path(folder) / f"{Path(path).name}.npz", **named)


def int8(path: str, inputs: str, output: str) -> None:
    model, data = load(path), np.load(inputs)
    arrays = [data[tensor.name] for tensor in model.inputs]
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([array[i : i + 1]] for array in arrays for i in range(len(array)))
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    Path(output).write_bytes(converter.convert())


if __name__ == "__main__":
    (predict if sys.argv[1] == "predict" else int8)(*sys.argv[2:])

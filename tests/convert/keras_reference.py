"""What Keras itself, or TFLiteConverter, makes of a model: run in a process of its own.

``keras_reference.py predict MODEL INPUTS.npz OUTPUT.npy`` or ``int8 MODEL INPUTS.npz OUTPUT.tflite``.
"""

import os
import sys
from typing import Any

os.environ.update(TF_CPP_MIN_LOG_LEVEL="3", CUDA_VISIBLE_DEVICES="-1")

import keras
import numpy as np
import tensorflow as tf


class DepthwiseConv2D(keras.layers.DepthwiseConv2D):  # type: ignore[misc]
    def __init__(self, *args: Any, groups: int = 1, **options: Any) -> None:
        super().__init__(*args, **options)


def main(command: str, path: str, inputs: str, output: str) -> None:
    model = keras.models.load_model(path, compile=False, custom_objects={"DepthwiseConv2D": DepthwiseConv2D})
    data = np.load(inputs)
    arrays = [data[tensor.name] for tensor in model.inputs]
    if command == "predict":
        rows = [[array[i : i + 1] for array in arrays] for i in range(len(arrays[0]))]
        structure = model.inputs[0] if isinstance(model, keras.Sequential) else model.input
        results = [model(keras.tree.pack_sequence_as(structure, row)) for row in rows]
        np.savez(output, *[np.concatenate(column) for column in zip(*map(keras.tree.flatten, results), strict=True)])
        return
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([array[i : i + 1]] for array in arrays for i in range(len(array)))
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    with open(output, "wb") as stream:  # noqa: PTH123
        stream.write(converter.convert())


if __name__ == "__main__":
    main(*sys.argv[1:])

"""The peer of ``edgekit build``: post-training full-integer quantization as TensorFlow's documentation shows it.

python tflite_converter_int8.py MODEL SAMPLES.npz OUT.tflite    (MODEL: .keras, .h5 or a SavedModel folder)
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf


def main(model: str, samples: str, out: str) -> None:
    x = np.load(samples)["x"]

    def representative_dataset() -> Iterator[list[Any]]:
        for sample in x:
            yield [sample[np.newaxis].astype(np.float32)]

    if Path(model).is_dir():
        converter = tf.lite.TFLiteConverter.from_saved_model(model)
    else:
        converter = tf.lite.TFLiteConverter.from_keras_model(tf.keras.models.load_model(model, compile=False))
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = representative_dataset
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = tf.int8
    converter.inference_output_type = tf.int8
    Path(out).write_bytes(converter.convert())


if __name__ == "__main__":
    main(*sys.argv[1:])

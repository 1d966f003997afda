"""Writes tests/unit/data/tflite: float files as TFLiteConverter leaves them; run by hand, it imports TensorFlow."""

import os
import sys
from pathlib import Path

os.environ.update(TF_CPP_MIN_LOG_LEVEL="3", CUDA_VISIBLE_DEVICES="-1")

import keras
import tensorflow as tf
from keras import layers


def main(folder: Path) -> None:
    keras.utils.set_random_seed(3)
    image = layers.Input((8, 8, 3), name="image")
    found = layers.Flatten()(layers.Conv2D(4, 3, activation="relu")(image))
    rows = layers.Reshape((4, 4))(layers.Dense(16, activation="relu")(found))
    scores = layers.Dense(3, name="scores")(layers.Flatten()(layers.Conv1D(3, 2)(rows)))
    open_batch = tf.lite.TFLiteConverter.from_keras_model(keras.Model(image, scores))
    (folder / "open_batch.tflite").write_bytes(open_batch.convert())

    frame = layers.Input(batch_shape=(1, 1, 6), name="frame")
    stateful = keras.Model(frame, layers.Dense(3, name="scores")(layers.LSTM(8, stateful=True)(frame)))
    variables = tf.lite.TFLiteConverter.from_keras_model(stateful)
    variables.experimental_enable_resource_variables = True
    (folder / "variables.tflite").write_bytes(variables.convert())


if __name__ == "__main__":
    main(Path(sys.argv[1]))

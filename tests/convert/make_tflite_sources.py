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

    frame, state = layers.Input((6,), name="frame"), layers.Input((8,), name="state")
    after, _ = layers.GRUCell(8)(frame, [state])
    outputs = {"scores": layers.Dense(3, name="scores")(after), "new_state": layers.Identity()(after)}
    cell = tf.lite.TFLiteConverter.from_keras_model(keras.Model([frame, state], outputs))
    (folder / "cell.tflite").write_bytes(cell.convert())
    bounded = layers.Activation("tanh")(layers.Dense(8)(frame) + layers.Dense(8)(state))
    outputs = {"scores": layers.Dense(3, name="scores")(bounded), "state_out": bounded}
    cell = tf.lite.TFLiteConverter.from_keras_model(keras.Model([frame, state], outputs))
    (folder / "tanh_cell.tflite").write_bytes(cell.convert())
    window = layers.Input((5, 6), name="window")
    seen = layers.Concatenate(axis=1)([window[:, 1:], layers.Reshape((1, 6))(frame)])
    outputs = {"scores": layers.Dense(3)(layers.Flatten()(layers.Conv1D(4, 3)(seen))), "new_window": seen}
    ring = tf.lite.TFLiteConverter.from_keras_model(keras.Model([frame, window], outputs))
    (folder / "window.tflite").write_bytes(ring.convert())

    frame = layers.Input(batch_shape=(1, 1, 6), name="frame")
    stateful = keras.Model(frame, layers.Dense(3, name="scores")(layers.LSTM(8, stateful=True)(frame)))
    variables = tf.lite.TFLiteConverter.from_keras_model(stateful)
    variables.experimental_enable_resource_variables = True
    (folder / "variables.tflite").write_bytes(variables.convert())


if __name__ == "__main__":
    main(Path(sys.argv[1]))

"""Writes small Keras models into a folder; run in a process of its own, because it imports TensorFlow."""

import os
import sys
from pathlib import Path

os.environ.update(TF_CPP_MIN_LOG_LEVEL="3", CUDA_VISIBLE_DEVICES="-1")

import keras
from keras import layers


def main(folder: Path) -> None:
    keras.utils.set_random_seed(1)
    image = keras.Sequential(
        [
            layers.Input((8, 8, 3), name="image"),
            layers.Conv2D(4, 3, activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(3, name="scores"),
        ]
    )
    image.save(folder / "sequential.keras")
    image.save(folder / "keras3.h5")
    image.export(folder / "exported", verbose=False)
    image.save_weights(folder / "only.weights.h5")
    first, second = layers.Input((4,), name="first"), layers.Input((6,), name="second")
    joined = layers.Concatenate()([first, second])
    left, right = layers.Dense(2, name="left")(joined), layers.Dense(3, name="right")(joined)
    keras.Model([second, first], [left, right]).save(folder / "multi.keras")
    keras.Model({"second": second, "first": first}, {"p": left, "q": right}).save(folder / "dicts.keras")
    sequence = layers.Input((10, 5), name="sequence")
    keras.Model(sequence, layers.Dense(2)(layers.LSTM(16)(sequence))).save(folder / "lstm.keras")
    keras.Model(sequence, layers.Dense(2)(layers.GRU(16)(sequence))).save(folder / "gru.keras")
    both = layers.Bidirectional(layers.GRU(4, return_sequences=True))(sequence)
    keras.Model(sequence, layers.Dense(2)(layers.LSTM(8)(both))).save(folder / "loops.keras")

    open_length = layers.Input((None, 5), name="sequence")
    keras.Model(open_length, layers.Dense(2)(layers.LSTM(16)(open_length))).save(folder / "open.keras")
    keras.Sequential([layers.Dense(3)]).save(folder / "unbuilt.keras")
    four = layers.Input((4,))
    keras.Model(four, layers.Dense(3, name="a layer")(four)).save(folder / "spaced.keras")
    for name in ("lambda.keras", "lambda.h5"):
        keras.Model(four, layers.Lambda(lambda x: x * 2)(four)).save(folder / name)


if __name__ == "__main__":
    main(Path(sys.argv[1]))

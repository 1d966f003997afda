"""An ordinary small network: three convolutions with batch norm and ReLU, then a dense layer with softmax."""

from __future__ import annotations

from typing import Any

from benchmarks.models.mnist import Array

EPOCHS, BATCH = 8, 32


def view(x: Array, seed: int) -> Array:
    """The samples as this model takes them: pixels 0..1; nothing is drawn."""
    del seed
    return x


def network() -> Any:
    """An untrained keras.Model."""
    import keras

    layers = keras.layers
    stack: list[Any] = [keras.Input((28, 28, 1), name="image")]
    for filters, stride in ((8, 2), (16, 2), (32, 1)):
        stack += [
            layers.Conv2D(filters, 3, stride, padding="same", use_bias=False),
            layers.BatchNormalization(),
            layers.ReLU(),
        ]
    stack += [layers.Flatten(), layers.Dense(10, activation="softmax", name="digit")]
    return keras.Sequential(stack, name="plain_cnn")

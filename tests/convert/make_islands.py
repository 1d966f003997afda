"""Writes tests/unit/data/islands/*.tflite: float models around ops that ai-edge-quantizer does not know.

``python tests/convert/make_islands.py FOLDER``; seeded, so the same TensorFlow writes the same files.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf
from keras import layers

SHAPE = (1, 8, 8, 4)


def conv(filters: int) -> Any:
    return layers.Conv2D(filters, 3, padding="same")


def dense(values: Any) -> Any:
    return layers.Dense(5)(layers.Flatten()(values))


def leaky(x: Any) -> Any:
    return layers.LeakyReLU(negative_slope=0.2)(conv(8)(layers.LeakyReLU(negative_slope=0.1)(conv(8)(x))))


def prelu(x: Any) -> Any:
    return dense(layers.PReLU(shared_axes=[1, 2], alpha_initializer="random_uniform")(conv(8)(x)))


def op(function: Callable[[Any], Any]) -> Any:
    class Op(layers.Layer):  # type: ignore[misc]
        def call(self, inputs: Any) -> Any:
            return function(inputs)

    return Op()


MODELS: dict[str, Callable[[Any], Any]] = {
    "amax": lambda x: op(lambda v: tf.argmax(v, -1))(dense(x)),
    "d2s": lambda x: op(lambda v: tf.nn.depth_to_space(v, 2))(conv(8)(x)),
    "elu": lambda x: layers.ELU()(conv(4)(x)),
    "l2n": lambda x: op(lambda v: tf.math.l2_normalize(v, -1))(dense(x)),
    "leaky": leaky,
    "lsm": lambda x: op(tf.nn.log_softmax)(dense(x)),
    "misc": lambda x: conv(3)(
        op(lambda v: tf.tile(tf.exp(tf.abs(tf.reverse(v, [1])) * -1.0), [1, 1, 2, 1]))(conv(3)(x))
    ),
    "prelu": prelu,
    "rev": lambda x: conv(2)(op(lambda v: tf.reverse(v, [1]))(x)),
}


def main(folder: Path) -> None:
    keras.utils.set_random_seed(3)
    for name, make in MODELS.items():
        inputs = keras.Input(SHAPE[1:], batch_size=1)
        model = keras.Model(inputs, make(inputs))
        function = tf.function(model).get_concrete_function(tf.TensorSpec(SHAPE))
        converter = tf.lite.TFLiteConverter.from_concrete_functions([function])
        converter.exclude_conversion_metadata = True
        (folder / f"{name}.tflite").write_bytes(converter.convert())


if __name__ == "__main__":
    main(Path(sys.argv[1]))

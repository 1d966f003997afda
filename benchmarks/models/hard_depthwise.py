"""A network that int8 finds hard, with nothing in it that real ones do not have.

- Its input is a sensor without gain control: each picture is multiplied by a gain that spans two orders of
  magnitude, so a range that covers the brightest leaves the dim ones a few steps.
- Depthwise-separable blocks with hard-swish and swish, which have no upper bound (no ReLU6) and a negative tail that
  a scale for thousands rounds away; cross-layer equalization is exact for neither.
- The batch norms after the depthwise convolutions keep gammas spread over orders of magnitude, as MobileNets trained
  for long have them (Nagel et al. 2019, section 4.1): one scale for all channels of an activation loses the quiet ones.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.models.mnist import Array

EPOCHS, BATCH = 12, 40
GAMMA_DECADES = 1.0
"""Gammas begin at 10 ** uniform(-this, this); a minute of training leaves them spread."""
GAIN_SIGMA = 0.8
"""Of the natural logarithm of the gain: the brightest of 1,000 pictures is some 150 times the dimmest."""


def view(x: Array, seed: int) -> Array:
    """The samples as this model takes them: pixels 0..255 times a gain of their own."""
    gain = np.random.default_rng(seed).lognormal(0, GAIN_SIGMA, (len(x), 1, 1, 1))
    return (255 * x * gain).astype(np.float32)


def network() -> Any:
    """An untrained keras.Model."""
    import keras

    layers = keras.layers
    spread = np.random.default_rng(5)

    def norm(channels: int) -> Any:
        gammas = 10 ** spread.uniform(-GAMMA_DECADES, GAMMA_DECADES, channels)
        return layers.BatchNormalization(gamma_initializer=keras.initializers.Constant(gammas.astype(np.float32)))

    image = keras.Input((28, 28, 1), name="sensor")
    x = layers.Conv2D(16, 3, 2, padding="same", use_bias=False)(image)
    x = layers.BatchNormalization()(x)
    x = layers.Activation("hard_silu")(x)
    for filters, stride, activation in ((24, 1, "silu"), (32, 2, "hard_silu"), (32, 1, "silu"), (32, 1, "hard_silu")):
        x = layers.DepthwiseConv2D(3, stride, padding="same", use_bias=False)(x)
        x = norm(x.shape[-1])(x)
        x = layers.Activation(activation)(x)
        x = layers.Conv2D(filters, 1, use_bias=False)(x)
        x = norm(filters)(x)
        x = layers.Activation(activation)(x)
    x = layers.Dense(10, activation="softmax", name="digit")(layers.Dropout(0.2)(layers.Flatten()(x)))
    return keras.Model(image, x, name="hard_depthwise")

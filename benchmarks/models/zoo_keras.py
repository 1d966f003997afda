"""Networks of the kinds that people deploy, untrained, from seeds, as float .tflite files: a process of its own.

    python -m benchmarks.models.zoo_keras FOLDER

They are small for their kind: what a delegate takes depends on ops, dtypes and shapes, not on how many channels or
layers there are. The conversion is edgekit's own, and one start of TensorFlow serves all of them.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.update(TF_CPP_MIN_LOG_LEVEL="3", CUDA_VISIBLE_DEVICES="-1")

import keras
from keras import layers

from edgekit_converters import from_keras
from edgekit_converters.sources import open_source


def mobilenet_v2() -> Any:
    """Sandler et al. 2018, as Keras has it: width 0.35, 96 x 96."""
    return keras.applications.MobileNetV2((96, 96, 3), alpha=0.35, weights=None, classes=10)


def efficientnet_lite() -> Any:
    """Like EfficientNet-Lite0: inverted bottlenecks of kernels 3 and 5, ReLU6, no squeeze-and-excite."""
    image = layers.Input((64, 64, 3), name="image")
    x = layers.Activation("relu6")(layers.BatchNormalization()(layers.Conv2D(16, 3, 2, "same", use_bias=False)(image)))
    for width, kernel, stride in ((8, 3, 1), (12, 3, 2), (12, 3, 1), (20, 5, 2), (20, 5, 1), (40, 3, 2), (40, 5, 1)):
        y = layers.Conv2D(x.shape[-1] * 6, 1, use_bias=False)(x)
        y = layers.Activation("relu6")(layers.BatchNormalization()(y))
        y = layers.DepthwiseConv2D(kernel, stride, "same", use_bias=False)(y)
        y = layers.Activation("relu6")(layers.BatchNormalization()(y))
        y = layers.BatchNormalization()(layers.Conv2D(width, 1, use_bias=False)(y))
        x = layers.Add()([x, y]) if x.shape == y.shape else y
    scores = layers.Dense(10, activation="softmax")(layers.Dropout(0.2)(layers.GlobalAveragePooling2D()(x)))
    return keras.Model(image, scores)


def ds_cnn() -> Any:
    """Depthwise separable keyword spotter (Zhang et al. 2017), the small one."""
    sound = layers.Input((49, 10, 1), name="mfcc")
    x = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(64, (10, 4), 2, "same")(sound)))
    for _ in range(4):
        x = layers.ReLU()(layers.BatchNormalization()(layers.DepthwiseConv2D(3, padding="same")(x)))
        x = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(64, 1)(x)))
    x = layers.Flatten()(layers.AveragePooling2D(x.shape[1:3])(x))
    return keras.Model(sound, layers.Dense(12, activation="softmax")(x))


def lstm() -> Any:
    """A loop, unless it is written out step by step."""
    sequence = layers.Input((12, 8), name="sequence")
    return keras.Model(sequence, layers.Dense(4)(layers.LSTM(16)(sequence)))


def transformer() -> Any:
    """One encoder block: attention of two heads, layer normalization, GELU."""
    tokens = layers.Input((10, 16), name="tokens")
    x = layers.LayerNormalization()(tokens + layers.MultiHeadAttention(2, 8)(tokens, tokens))
    y = layers.Dense(16)(layers.Dense(32, activation="gelu")(x))
    return keras.Model(tokens, layers.Dense(4)(layers.GlobalAveragePooling1D()(layers.LayerNormalization()(x + y))))


def unet() -> Any:
    """A small encoder and decoder: transposed convolution, bilinear resize, skips, hard-swish, leaky ReLU."""
    image = layers.Input((32, 32, 3), name="image")
    first = layers.Activation("hard_silu")(layers.Conv2D(8, 3, padding="same")(image))
    second = layers.LeakyReLU(0.1)(layers.Conv2D(16, 3, 2, "same")(first))
    third = layers.PReLU(shared_axes=[1, 2])(layers.Conv2D(16, 3, 2, "same")(layers.ZeroPadding2D(1)(second)))
    up = layers.UpSampling2D(2, interpolation="bilinear")(layers.Cropping2D(((0, 1), (0, 1)))(third))
    up = layers.Concatenate()([up, second])
    up = layers.Concatenate()([layers.Conv2DTranspose(8, 3, 2, "same")(up), first])
    mask = layers.Conv2D(1, 1, activation="sigmoid")(layers.MaxPooling2D(2)(up))
    return keras.Model(image, mask)


NETWORKS: dict[str, tuple[Callable[[], Any], bool]] = {
    "mobilenet-v2": (mobilenet_v2, False),
    "efficientnet-lite": (efficientnet_lite, False),
    "ds-cnn": (ds_cnn, False),
    "lstm-loop": (lstm, False),
    "lstm-unrolled": (lstm, True),
    "transformer": (transformer, False),
    "unet": (unet, False),
}
"""Name -> what makes the network, and whether its loops are written out."""


def main(folder: Path) -> None:
    """Write ``NAME.tflite`` for every network."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, (make, unroll) in NETWORKS.items():
        keras.utils.set_random_seed(1)
        source = folder / f"{name}.keras"
        make().save(source)
        loaded = from_keras.load(open_source(source, unroll=unroll), hints={})
        converted = from_keras.convert(loaded, batch=1, hints={}, say=lambda _: None)
        (folder / f"{name}.tflite").write_bytes(converted.tflite)


if __name__ == "__main__":
    main(Path(sys.argv[1]))

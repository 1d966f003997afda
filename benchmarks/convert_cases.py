"""The source models of the convert benchmarks, each with samples to calibrate on and others to measure on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import cases, model
from benchmarks.models.store import trained

Array = np.ndarray[Any, Any]
CALIBRATION, HELD_OUT = 100, 400


@dataclass(frozen=True, kw_only=True)
class Case:
    """A source model and its data, ``x`` as the source takes it, batch first, float32."""

    source: Path
    calibration: Array
    held_out: Array
    labels: Array | None
    """(N,) classes of ``held_out``; None where there are none to be had."""
    keras: bool
    """TFLiteConverter reads it."""
    hard: bool = False
    """Made so that int8 loses much: edgekit is to be above its peers, not only not below."""


def kws() -> Case:
    """MLPerf Tiny keyword spotting, a SavedModel, on real features."""
    with np.load(cases() / "data/kws/kws_mfcc_int8.npz", allow_pickle=False) as arrays:
        x = (arrays["x"].astype(np.float32) - arrays["zero_point"]) * arrays["scale"]
        y = arrays["y"].astype(np.int64)
    x = x.astype(np.float32)
    source = model("saved_model/kws_ref_model")
    held_out, labels = x[CALIBRATION:], y[CALIBRATION:]
    return Case(source=source, calibration=x[:CALIBRATION], held_out=held_out, labels=labels, keras=True)


def resnet8() -> Case:
    """MLPerf Tiny image classification, .h5; there are no images with a licence, so crops of photographs."""
    return _of_crops(model("keras_h5/ic_resnet8.h5"), crops(32), keras=True)


def vww() -> Case:
    """MLPerf Tiny visual wake words, MobileNetV1-0.25, a Keras 2 .h5."""
    return _of_crops(model("keras_h5/vww_mobilenetv1_025_96.h5"), crops(96) / 255, keras=True)


def resnet20_torch() -> Case:
    """CIFAR-10 ResNet20, torch.export, NCHW."""
    return _of_crops(model("pytorch_derived/resnet20_cifar10.pt2"), _cifar(crops(32)), keras=False)


def resnet20_onnx() -> Case:
    """The same network as ONNX."""
    return _of_crops(model("pytorch_derived/resnet20_cifar10.onnx"), _cifar(crops(32)), keras=False)


def lstm() -> Case:
    """TensorFlow Lite Micro's MNIST LSTM, a float .tflite."""
    with np.load(cases() / "data/mnist/mnist_t10k_part.npz", allow_pickle=False) as arrays:
        x, y = arrays["x"].astype(np.float32) / 255, arrays["y"].astype(np.int64)
    held_out = slice(CALIBRATION, CALIBRATION + HELD_OUT)
    source = model("tflm/mnist_lstm_float.tflite")
    return Case(source=source, calibration=x[:CALIBRATION], held_out=x[held_out], labels=y[held_out], keras=False)


def plain_cnn() -> Case:
    """Trained here: an ordinary one."""
    return _trained("plain_cnn", hard=False)


def hard_depthwise() -> Case:
    """Trained here: the hard one."""
    return _trained("hard_depthwise", hard=True)


CASES: dict[str, Callable[[], Case]] = {
    "kws": kws,
    "resnet8": resnet8,
    "vww": vww,
    "plain_cnn": plain_cnn,
    "hard_depthwise": hard_depthwise,
    "resnet20.pt2": resnet20_torch,
    "resnet20.onnx": resnet20_onnx,
    "lstm": lstm,
}


def crops(side: int) -> Array:
    """(CALIBRATION + HELD_OUT, side, side, 3) float32, 0..255: squares of the test photographs, shrunk to ``side``."""
    from PIL import Image

    generator = np.random.default_rng(5)
    names = ("cat.bmp", "bird.bmp", "grace_hopper.bmp", "hot_dog.jpg", "face.jpg")
    images = [Image.open(cases() / "data" / "images" / name).convert("RGB") for name in names]
    found = []
    for number in range(CALIBRATION + HELD_OUT):
        image = images[number % len(images)]
        length = int(generator.integers(32, min(4 * side, *image.size) + 1))
        left, top = (int(generator.integers(0, whole - length + 1)) for whole in image.size)
        square = image.crop((left, top, left + length, top + length))
        found.append(np.asarray(square.resize((side, side)), np.float32))
    return np.stack(found)


def _cifar(x: Array) -> Array:
    """NCHW, normalized with CIFAR-10's mean and deviation as this ResNet20 was trained."""
    mean, deviation = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    normalized: Array = ((x / 255 - mean) / deviation).transpose(0, 3, 1, 2).astype(np.float32)
    return normalized


def _of_crops(source: Path, x: Array, *, keras: bool) -> Case:
    return Case(source=source, calibration=x[:CALIBRATION], held_out=x[CALIBRATION:], labels=None, keras=keras)


def _trained(name: str, *, hard: bool) -> Case:
    files = trained(name)
    with np.load(files.calibration, allow_pickle=False) as arrays:
        calibration = arrays["x"]
    with np.load(files.held_out, allow_pickle=False) as arrays:
        held_out, labels = arrays["x"], arrays["y"]
    return Case(source=files.model, calibration=calibration, held_out=held_out, labels=labels, keras=True, hard=hard)

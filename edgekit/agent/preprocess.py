"""From what an application has (an image, a vector) to what the model's input takes.

One implementation for calibration, evaluation, ``edgekit run`` and the device. It is made of elementwise IEEE
operations only (no matrix product, whose order of additions differs between machines): the same sample
gives the same bytes on every machine.

The steps, in this order, each only when the specification asks for it:

1. ``resize`` [height, width]: bilinear with half-pixel centres. Output pixel i samples the input at
   ``(i + 0.5) * input / output - 0.5``, clipped to the image, between its two neighbours per axis, first
   rows then columns, in float32 and without rounding. It does **not** antialias when it shrinks: that is
   what ``keras.layers.Resizing``, ``tf.image.resize`` and OpenCV's INTER_LINEAR do, hence what most models
   were trained with and what camera code does. Pillow and torchvision average when they shrink; for a model
   trained with those, shrink with them first and leave ``resize`` out.
2. ``color``: ``rgb`` leaves the channels, ``bgr`` reverses them, ``gray`` is 0.299 R + 0.587 G + 0.114 B
   (ITU-R BT.601) in one channel.
3. ``(x * scale - mean) / std`` in float32, mean and std per channel or one value.
4. ``layout`` ``nchw``: the last axis moves before height and width.
5. ``dtype``: integers are rounded half to even and clipped to the dtype's range, never wrapped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Mapping

import numpy as np

from . import runtime

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

KEYS = ("resize", "color", "scale", "mean", "std", "layout", "dtype")
CHANNEL_WEIGHTS = (0.299, 0.587, 0.114)
IMAGE_RANK = 3
RGB = 3


def apply(spec: Mapping[str, Any], array: Array) -> Array:
    """Preprocess one sample, or a batch of them.

    ``spec`` is the Preprocessing document as a plain mapping. ``array`` is (H, W, C) or (N, H, W, C), an
    image without channels (H, W) where ``spec`` speaks of images, or anything else whose last axis is the
    channels; numbers of any dtype. Returns an array of ``spec["dtype"]`` with the same leading axes.

    Raises:
        ValueError: the array does not fit the specification, or the specification is not one.
    """
    unknown = sorted(key for key in spec if key not in KEYS)
    if unknown:
        raise ValueError("preprocessing has unknown steps %s; this version knows %s" % (unknown, list(KEYS)))
    if array.dtype.kind not in "biuf":
        raise ValueError("the data is of dtype %s; numbers are needed" % array.dtype)
    resize, color = spec.get("resize"), spec.get("color")
    if resize or color or spec.get("layout") == "nchw":
        array = _as_image(array)
    if resize:
        array = _resize(array, int(resize[0]), int(resize[1]))
    if color:
        array = _color(array, color)
    array = _normalize(array, spec)
    if spec.get("layout") == "nchw":
        array = np.moveaxis(array, -1, -3)
    return _cast(array, np.dtype(spec.get("dtype") or "float32"))


def prepare(spec: Mapping[str, Any] | None, array: Array, tensor: runtime.Tensor) -> Array:
    """One sample as the bytes of a model's input: preprocessed, with the batch, quantized, C order.

    ``spec`` None means that the array already holds the real values the model wants. ``tensor`` is one of
    ``runtime.Model.inputs``; the result has its shape and dtype.

    Raises:
        ValueError: a shape that is not the model's, values that are not finite, what ``apply`` refuses.
    """
    array = np.asarray(array)
    found = array.shape
    array = array if spec is None else apply(spec, array)
    if array.dtype.kind not in "biuf":
        raise ValueError("the data is of dtype %s; numbers are needed" % array.dtype)
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise ValueError("the data for input %r holds NaN or infinity" % tensor.name)
    if (1, *array.shape) == tensor.shape:
        array = array[np.newaxis]
    if array.shape != tensor.shape:
        after = "" if spec is None else ", %s after preprocessing" % (array.shape,)
        raise ValueError("input %r takes %s; the data is %s%s" % (tensor.name, tensor.shape, found, after))
    prepared: Array = runtime.quantize(array, tensor)
    return prepared


def _as_image(array: Array) -> Array:
    if array.ndim == IMAGE_RANK - 1:
        return array[..., np.newaxis]
    if array.ndim not in (IMAGE_RANK, IMAGE_RANK + 1) or 0 in array.shape:
        raise ValueError("an image is (H, W, C), a batch of them (N, H, W, C); the data is %s" % (array.shape,))
    return array


def _resize(image: Array, height: int, width: int) -> Array:
    return _resize_axis(_resize_axis(image, image.ndim - 3, height), image.ndim - 2, width)


def _resize_axis(image: Array, axis: int, size: int) -> Array:
    length = image.shape[axis]
    if length == size:
        return image
    positions = (np.arange(size, dtype=np.float64) + 0.5) * (length / float(size)) - 0.5
    positions = np.clip(positions, 0, length - 1)
    low = np.floor(positions).astype(np.intp)
    high = np.minimum(low + 1, length - 1)
    weight = (positions - low).astype(np.float32)
    weight = weight.reshape([size if index == axis else 1 for index in range(image.ndim)])
    before = np.take(image, low, axis=axis).astype(np.float32)
    after = np.take(image, high, axis=axis).astype(np.float32)
    resized: Array = before + (after - before) * weight
    return resized


def _color(image: Array, color: str) -> Array:
    channels = image.shape[-1]
    if color == "gray" and channels == 1:
        return image
    if channels != RGB:
        raise ValueError("color %r is made from 3 channels (RGB); the image has %d" % (color, channels))
    if color == "rgb":
        return image
    if color == "bgr":
        return image[..., ::-1]
    if color != "gray":
        raise ValueError("color is %r; expected rgb, bgr or gray" % color)
    red, green, blue = (
        image[..., index].astype(np.float32) * np.float32(weight) for index, weight in enumerate(CHANNEL_WEIGHTS)
    )
    gray: Array = (red + green) + blue
    return gray[..., np.newaxis]


def _normalize(array: Array, spec: Mapping[str, Any]) -> Array:
    scale = float(spec.get("scale", 1.0))
    if scale != 1.0:
        array = array.astype(np.float32) * np.float32(scale)
    if spec.get("mean"):
        array = array.astype(np.float32) - _per_channel("mean", spec["mean"], array)
    if spec.get("std"):
        std = _per_channel("std", spec["std"], array)
        if not std.all():
            raise ValueError("std holds a zero; the data would be divided by it")
        array = array.astype(np.float32) / std
    return array


def _per_channel(name: str, values: Any, array: Array) -> Array:
    channels = array.shape[-1] if array.ndim else 1
    if len(values) not in (1, channels):
        raise ValueError("%s has %d values; the data has %d channels" % (name, len(values), channels))
    return np.asarray(values, dtype=np.float32)


def _cast(array: Array, dtype: np.dtype[Any]) -> Array:
    if dtype.kind in "iu" and array.dtype != dtype:
        limits = np.iinfo(dtype)
        rounded = np.rint(array) if array.dtype.kind == "f" else array
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise ValueError("the data holds NaN or infinity, which %s cannot hold" % dtype)
        # compared, not clipped: 2**31 - 1 is no float32, and clipping to the float nearest to it would wrap
        low, high = rounded <= limits.min, rounded >= limits.max
        inside = np.where(low | high, 0, rounded).astype(dtype)
        array = np.where(low, dtype.type(limits.min), np.where(high, dtype.type(limits.max), inside))
    return np.ascontiguousarray(array, dtype=dtype)

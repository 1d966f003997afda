"""The test data that is a selection of upstream's: how it is made, and when two .npz hold the same."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import re
import zipfile
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

DownloadAll = Callable[[Sequence[str]], list[bytes]]
"""Paths in the repository of the file that is made -> their bytes, in that order."""

KWS_SAMPLES, KWS_SHAPE = 500, (49, 10, 1)
KWS_CLASSES = ("down", "go", "left", "no", "off", "on", "right", "stop", "up", "yes", "silence", "unknown")
# The quantization of the features: the input of the model that upstream prepared them for.
KWS_SCALE, KWS_ZERO_POINT = np.float32(0.5847029), np.int32(83)
MNIST_SAMPLES, MNIST_SHAPE = 5000, (28, 28)
# IDX files: a header of big-endian words (magic, count; of images also rows, columns), then bytes.
MNIST_PIXELS_AT, MNIST_LABELS_AT = 16, 8
MNIST_LARGEST_BYTES = 16 * 2**20  # unpacked: 10,000 images and the header are 7.8 MB


def _kws_rows(download: DownloadAll) -> list[list[str]]:
    """Name, number of classes and label of the even rows: the tests' data. Raises ValueError."""
    (labels,) = download(["datasets/kws01/y_labels.csv"])
    rows = [row for row in csv.reader(io.StringIO(labels.decode())) if row]
    if not all(re.fullmatch(r"\w+\.bin,\d+,\d+", ",".join(row)) for row in rows):
        raise ValueError("upstream's y_labels.csv is not rows of name,classes,label")
    return rows[::2]


def repack_kws_labels(download: DownloadAll) -> bytes:
    """The labels of the ten features in data/kws/bin."""
    return "".join(f"{','.join(row)}\n" for row in _kws_rows(download)[:10]).encode()


def repack_kws(download: DownloadAll) -> bytes:
    """500 MFCC features: x int8 (500, 49, 10, 1), real = (x - zero_point) * scale; y int64; names, classes."""
    rows = _kws_rows(download)[:KWS_SAMPLES]
    features = download([f"datasets/kws01/{name}" for name, _, _ in rows])
    return _npz(
        x=np.stack([np.frombuffer(feature, np.int8).reshape(KWS_SHAPE) for feature in features]),
        y=np.array([int(label) for _, _, label in rows], np.int64),
        name=np.array([name for name, _, _ in rows]),
        scale=np.array(KWS_SCALE),
        zero_point=np.array(KWS_ZERO_POINT),
        classes=np.array(KWS_CLASSES),
    )


def repack_mnist(download: DownloadAll) -> bytes:
    """The first 5,000 digits of the test set: x uint8 (5000, 28, 28), y uint8."""
    images, labels = (
        gzip.GzipFile(fileobj=io.BytesIO(packed)).read(MNIST_LARGEST_BYTES)
        for packed in download(["t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"])
    )
    pixels = MNIST_SAMPLES * MNIST_SHAPE[0] * MNIST_SHAPE[1]
    return _npz(
        x=np.frombuffer(images, np.uint8, pixels, MNIST_PIXELS_AT).reshape(MNIST_SAMPLES, *MNIST_SHAPE),
        y=np.frombuffer(labels, np.uint8, MNIST_SAMPLES, MNIST_LABELS_AT),
    )


def _npz(**arrays: NDArray[Any]) -> bytes:
    packed = io.BytesIO()
    np.savez_compressed(packed, allow_pickle=False, **arrays)
    return packed.getvalue()


REPACKED: dict[str, Callable[[DownloadAll], bytes]] = {
    "data/kws/bin/y_labels.csv": repack_kws_labels,
    "data/kws/kws_mfcc_int8.npz": repack_kws,
    "data/mnist/mnist_t10k_part.npz": repack_mnist,
}


def content_digest(npz: bytes) -> str | None:
    """sha256 over every array of an .npz, by name, with its dtype and shape; None if it is no such file.

    Two .npz of the same arrays differ in their bytes when two versions of zlib packed them.
    """
    digest = hashlib.sha256()
    try:
        with np.load(io.BytesIO(npz), allow_pickle=False) as arrays:
            for name in sorted(arrays.files):
                array = arrays[name]
                digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
                digest.update(array.tobytes())
    except (ValueError, OSError, EOFError, AttributeError, zipfile.BadZipFile):
        return None
    return digest.hexdigest()

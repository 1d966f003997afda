"""Preprocessing: identities, known values, Pillow's bilinear, ranges, clear refusals."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from edgekit.agent import preprocess, runtime

pytestmark = pytest.mark.unit

images = hnp.arrays(np.uint8, st.tuples(st.integers(1, 12), st.integers(1, 12), st.just(3)))


def tensor(shape: tuple[int, ...], dtype: str, scale: float | None = None, zero_point: int = 0) -> runtime.Tensor:
    quantized = {"scales": [], "zero_points": []} if scale is None else {"scales": [scale], "zero_points": [zero_point]}
    details = {"index": 0, "shape": shape, "dtype": np.dtype(dtype), "quantization_parameters": quantized}
    return runtime.Tensor("image", details)


@given(images)
def test_an_empty_specification_changes_only_the_dtype(image: Any) -> None:
    assert np.array_equal(preprocess.apply({}, image), image.astype(np.float32))
    assert np.array_equal(preprocess.apply({"dtype": "uint8", "color": "rgb"}, image), image)


@given(images)
def test_resizing_to_its_own_size_is_the_identity(image: Any) -> None:
    assert np.array_equal(preprocess.apply({"resize": image.shape[:2]}, image), image.astype(np.float32))


@given(images, st.integers(1, 40), st.integers(1, 40))
def test_resizing_stays_within_the_range_and_keeps_constants(image: Any, height: int, width: int) -> None:
    out = preprocess.apply({"resize": (height, width)}, image)
    assert out.shape == (height, width, 3)
    assert out.min() >= image.min() - 1e-3
    assert out.max() <= image.max() + 1e-3
    constant = np.full_like(image, 7)
    assert np.array_equal(preprocess.apply({"resize": (height, width)}, constant), np.full(out.shape, 7.0))


@given(hnp.arrays(np.float32, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.floats(0, 255, width=32)))
def test_enlarging_agrees_with_pillow(image: Any) -> None:
    height, width = image.shape[0] * 2 + 1, image.shape[1] * 3
    expected = np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))
    found = preprocess.apply({"resize": [height, width]}, image)
    np.testing.assert_allclose(found[..., 0], expected, atol=1e-3)


def test_shrinking_by_two_samples_between_the_middle_pixels_and_does_not_average_the_rest() -> None:
    row = np.array([[[0.0], [0.0], [8.0], [0.0], [0.0], [0.0], [0.0], [0.0]]], np.float32)
    assert preprocess.apply({"resize": (1, 2)}, row).ravel().tolist() == [4.0, 0.0]
    assert preprocess.apply({"resize": (1, 4)}, row).ravel().tolist() == [0.0, 4.0, 0.0, 0.0]


@given(images)
def test_a_batch_is_its_samples(image: Any) -> None:
    spec = {
        "resize": [5, 4],
        "color": "gray",
        "scale": 1 / 255,
        "mean": [0.5],
        "std": [0.25],
        "layout": "nchw",
    }
    batch = np.stack([image, image[::-1]])
    each = [preprocess.apply(spec, sample) for sample in batch]
    assert np.array_equal(preprocess.apply(spec, batch), np.stack(each))
    assert each[0].shape == (1, 5, 4)
    assert each[0].flags.c_contiguous


def test_known_values() -> None:
    pixel = np.array([[[255, 0, 51]]], np.uint8)
    assert preprocess.apply({"color": "bgr"}, pixel).ravel().tolist() == [51, 0, 255]
    assert preprocess.apply({"color": "gray"}, pixel).ravel() == pytest.approx([0.299 * 255 + 0.114 * 51])
    scaled = preprocess.apply({"scale": 1 / 255, "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.25, 0.1]}, pixel)
    assert scaled.ravel() == pytest.approx([1.0, -2.0, -3.0], rel=1e-5)
    assert scaled.dtype == np.float32


def test_integers_are_rounded_and_clipped_never_wrapped() -> None:
    values = np.array([-300.0, -0.5, 0.5, 1.5, 254.6, 300.0, 1e20])
    assert preprocess.apply({"dtype": "uint8"}, values).tolist() == [0, 0, 0, 2, 255, 255, 255]
    assert preprocess.apply({"dtype": "int32"}, values).tolist()[-1] == 2**31 - 1
    ids = np.array([2**24 + 1, -5], np.int64)
    assert preprocess.apply({"dtype": "int32"}, ids).tolist() == [2**24 + 1, -5], "never through float32"


@pytest.mark.parametrize(
    ("spec", "shape", "message"),
    [
        ({"color": "gray"}, (4, 4, 4), "3 channels"),
        ({"color": "cmyk"}, (4, 4, 3), "expected rgb, bgr or gray"),
        ({"resize": (2, 2)}, (4,), r"an image is \(H, W, C\)"),
        ({"resize": (2, 2)}, (0, 4, 3), r"the data is \(0, 4, 3\)"),
        ({"mean": [1.0, 2.0]}, (4, 4, 3), "mean has 2 values; the data has 3 channels"),
        ({"std": [0.0]}, (4, 4, 3), "std holds a zero"),
        ({"resise": (2, 2)}, (4, 4, 3), "unknown steps"),
    ],
)
def test_what_does_not_fit_is_refused(spec: dict[str, Any], shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        preprocess.apply(spec, np.zeros(shape, np.uint8))


def test_text_and_nan_are_refused() -> None:
    with pytest.raises(ValueError, match="numbers are needed"):
        preprocess.apply({}, np.array(["a"]))
    with pytest.raises(ValueError, match="NaN or infinity, which uint8"):
        preprocess.apply({"dtype": "uint8"}, np.array([np.nan]))
    with pytest.raises(ValueError, match="'image' holds NaN"):
        preprocess.prepare(None, np.array([np.nan]), tensor((1, 1), "float32"))


def test_prepare_adds_the_batch_and_quantizes() -> None:
    image = np.array([[[0, 255, 128]]], np.uint8)
    wanted = tensor((1, 1, 1, 3), "int8", scale=1 / 255, zero_point=-128)
    found = preprocess.prepare({"scale": 1 / 255}, image, wanted)
    assert found.dtype == np.int8
    assert found.shape == (1, 1, 1, 3)
    assert found.ravel().tolist() == [-128, 127, 0]
    assert np.array_equal(preprocess.prepare({"scale": 1 / 255}, image[None], wanted), found)


def test_prepare_names_both_shapes() -> None:
    with pytest.raises(ValueError, match=r"takes \(1, 8, 8, 3\); the data is \(9, 9, 3\), \(4, 4, 3\) after"):
        preprocess.prepare({"resize": (4, 4)}, np.zeros((9, 9, 3)), tensor((1, 8, 8, 3), "float32"))
    with pytest.raises(ValueError, match=r"takes \(1, 4\); the data is \(5,\)$"):
        preprocess.prepare(None, np.zeros(5), tensor((1, 4), "float32"))

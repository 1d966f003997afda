"""``edgekit run``: what a sample that cannot be used is told."""

from pathlib import Path

import numpy as np
import pytest

from edgekit.errors import DataError
from edgekit.predict import predict, read_sample

pytestmark = pytest.mark.unit


def test_a_sample_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"one\.png does not exist"):
        read_sample(tmp_path / "one.png", ["x"])
    with pytest.raises(DataError, match="is no file"):
        read_sample(tmp_path, ["x"])


def test_an_image_of_another_size_is_told_what_fits_it(cases: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "sample.npy", np.zeros((31, 32, 3), np.float32))
    with pytest.raises(DataError, match=r"takes \(1, 32, 32, 3\); the data is \(31, 32, 3\)") as caught:
        predict(cases / "models" / "tflite_ref" / "ic_resnet8_int8.tflite", tmp_path / "sample.npy")
    assert "`resize` and `color` of [input.NAME.preprocessing]" in caught.value.hint

"""What a path is told to be, and what is said of everything else."""

import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit_converters.errors import SourceError
from edgekit_converters.shapes import InputHint, static_shapes
from edgekit_converters.sources import detect_format

pytestmark = pytest.mark.unit


def said(shape: tuple[int, ...]) -> InputHint:
    return InputHint(shape=shape, dtype=None, declared=True)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("keras_h5/ic_resnet8.h5", "keras-h5"),
        ("saved_model/kws_ref_model", "saved-model"),
        ("tflite_ref/kws_int8.tflite", "tflite"),
        ("onnx/ultraface_slim-320.onnx", "onnx"),
    ],
)
def test_real_models(cases: Path, name: str, expected: str) -> None:
    assert detect_format(cases / "models" / name) == expected


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("pytorch/resnet20-12fca82f.th", "is a PyTorch checkpoint: weights without a network"),
        ("saved_model/kws_ref_model/saved_model.pb", "inside of a SavedModel"),
        ("saved_model", "is no SavedModel"),
    ],
)
def test_models_of_other_frameworks_are_named(cases: Path, name: str, message: str) -> None:
    with pytest.raises(SourceError, match=message) as caught:
        detect_format(cases / "models" / name)
    assert caught.value.hint


def test_a_wrong_suffix_does_not_matter(cases: Path, tmp_path: Path) -> None:
    (tmp_path / "model.keras").write_bytes((cases / "models/keras_h5/ic_resnet8.h5").read_bytes())
    assert detect_format(tmp_path / "model.keras") == "keras-h5"


def test_missing_empty_and_random_files(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="No such file"):
        detect_format(tmp_path / "model.keras")
    (tmp_path / "model.keras").write_bytes(b"")
    with pytest.raises(SourceError, match="is empty"):
        detect_format(tmp_path / "model.keras")
    (tmp_path / "model.h5").write_bytes(b"not a model at all")
    with pytest.raises(SourceError, match="damaged or no Keras model"):
        detect_format(tmp_path / "model.h5")


def test_zips(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.keras", "w") as archive:
        archive.writestr("notes.txt", "hello " * 100)
    with pytest.raises(SourceError, match=r"zip archive that is neither a \.keras nor a PyTorch model"):
        detect_format(tmp_path / "a.keras")
    np.savez(tmp_path / "d.npz", x=np.ones(3))
    with pytest.raises(SourceError, match="zip archive"):
        detect_format(tmp_path / "d.npz")
    data = (tmp_path / "a.keras").read_bytes()
    (tmp_path / "a.keras").write_bytes(data[:-30])
    with pytest.raises(SourceError, match="is damaged: File is not a zip file"):
        detect_format(tmp_path / "a.keras")


def test_open_dimensions() -> None:
    inputs = {"image": (None, 8, 8, 3), "sequence": (None, None, 5)}
    with pytest.raises(
        SourceError, match=r"Dimension 1 of input 'sequence' is open: its shape is \(\?, \?, 5\)"
    ) as caught:
        static_shapes(inputs, batch=1, hints={})
    assert "[input.sequence] shape = [1, ?, 5]" in caught.value.hint
    shapes, findings = static_shapes(inputs, batch=2, hints={"sequence": said((1, 40, 5))})
    assert shapes == {"image": (2, 8, 8, 3), "sequence": (1, 40, 5)}
    assert findings == []


def test_a_batch_the_model_fixes_wins_and_is_said() -> None:
    shapes, (finding,) = static_shapes({"x": (4, 3)}, batch=1, hints={})
    assert shapes == {"x": (4, 3)}
    assert finding.name == "fixed-batch"


@pytest.mark.parametrize("given", [(1, 8, 8), (1, 9, 8, 3), (1, 8, 8, 3, 1)])
def test_shapes_that_contradict_the_model(given: tuple[int, ...]) -> None:
    with pytest.raises(SourceError, match=r"Input 'image' has shape \(\?, 8, 8, 3\); edgekit.toml says"):
        static_shapes({"image": (None, 8, 8, 3)}, batch=1, hints={"image": said(given)})


def test_an_input_the_model_does_not_have() -> None:
    with pytest.raises(SourceError, match="an input 'imagee' that the model does not have"):
        static_shapes({"image": (None, 8)}, batch=1, hints={"imagee": said((1, 8))})


@given(shape=st.lists(st.one_of(st.none(), st.integers(1, 9)), min_size=1, max_size=5), batch=st.integers(1, 9))
def test_what_comes_out_is_static_and_keeps_what_was_fixed(shape: list[int | None], batch: int) -> None:
    try:
        shapes, _ = static_shapes({"x": tuple(shape)}, batch=batch, hints={})
    except SourceError:
        assert None in shape[1:]
    else:
        assert shapes["x"] == tuple(batch if size is None else size for size in shape)

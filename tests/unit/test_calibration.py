"""Calibration data in all its forms: streamed, exact, and refused with a reason."""

import dataclasses
import io
import pickle
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edgekit_converters.calibration import open_dataset
from edgekit_converters.errors import DataError
from edgekit_converters.functions import import_function, items
from edgekit_converters.npy import open_member, open_npy, open_npz, read_rows
from edgekit_converters.types import TensorSpec

pytestmark = pytest.mark.unit

VECTOR = (TensorSpec(name="in", shape=(1, 4), dtype="float32"),)
IMAGE = (TensorSpec(name="image", shape=(1, 6, 5, 3), dtype="float32"),)
PAIR = (
    TensorSpec(name="a", shape=(1, 2), dtype="float32"),
    TensorSpec(name="b", shape=(1, 3), dtype="int32"),
)


def rows(path: Path, spec: Any = VECTOR, **options: Any) -> list[Any]:
    return [sample.inputs[spec[0].name] for sample in open_dataset(str(path), spec, **options).samples()]


@given(
    array=hnp.arrays(
        dtype=st.sampled_from(["<f4", ">f8", "<i2", "u1", "?", "<f2"]),
        shape=hnp.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=4),
    ),
    compressed=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_every_row_of_every_array_is_the_array(
    tmp_path_factory: pytest.TempPathFactory, array: Any, compressed: bool
) -> None:
    folder = tmp_path_factory.mktemp("npz")
    np.save(folder / "a.npy", array)
    (np.savez_compressed if compressed else np.savez)(folder / "a.npz", x=array)
    with open_npy(folder / "a.npy") as (stream, header):
        plain = list(read_rows(stream, header, "a"))
    with open_npz(folder / "a.npz") as archive, open_member(archive, "x") as (stream, header):
        zipped = list(read_rows(stream, header, "a"))
    for read in (plain, zipped):
        assert len(read) == len(array)
        for found, expected in zip(read, array, strict=True):
            assert found.dtype.isnative
            np.testing.assert_array_equal(found, expected)


@given(data=st.binary(max_size=300))
@settings(max_examples=150, deadline=None)
def test_random_bytes_are_refused_and_nothing_else_happens(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    folder = tmp_path_factory.mktemp("random")
    for name, prefix in (("a.npy", b""), ("b.npy", b"\x93NUMPY\x01\x00"), ("c.npz", b""), ("d.npz", b"PK\x03\x04")):
        (folder / name).write_bytes(prefix + data)
        with pytest.raises(DataError):
            rows(folder / name)


@pytest.mark.parametrize("cut", [1, 40, 200])
@pytest.mark.parametrize("form", ["npy", "npz"])
def test_a_truncated_file_says_so(tmp_path: Path, form: str, cut: int) -> None:
    whole = io.BytesIO()
    array = np.arange(400, dtype=np.float32).reshape(100, 4)
    if form == "npy":
        np.save(whole, array)
    else:
        np.savez(whole, x=array)
    path = tmp_path / f"data.{form}"
    path.write_bytes(whole.getvalue()[:-cut])
    with pytest.raises(DataError, match=r"damaged|cannot be read|more than"):
        rows(path)


def test_a_flipped_byte_is_found(tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    np.savez(path, x=np.zeros((10_000, 4), np.float32))
    data = bytearray(path.read_bytes())
    data[80_000] ^= 1
    path.write_bytes(data)
    with pytest.raises(DataError, match="damaged at sample"):
        rows(path)


def test_pickles_are_never_read(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "exploded",))

    np.savez(tmp_path / "objects.npz", x=np.array([Bomb(), Bomb()], dtype=object), allow_pickle=True)
    (tmp_path / "plain.npy").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(DataError, match="never unpickles"):
        rows(tmp_path / "objects.npz")
    with pytest.raises(DataError, match="no array of numpy"):
        rows(tmp_path / "plain.npy")
    assert not (tmp_path / "exploded").exists()


def test_a_header_that_promises_more_than_the_file_holds_is_refused(tmp_path: Path) -> None:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": (10**12, 4)})
    (tmp_path / "huge.npy").write_bytes(header.getvalue() + b"\0" * 64)
    with pytest.raises(DataError, match="more than the"):
        rows(tmp_path / "huge.npy")


def test_fortran_order_is_refused_with_the_fix(tmp_path: Path) -> None:
    np.save(tmp_path / "f.npy", np.asfortranarray(np.ones((3, 4), np.float32)))
    with pytest.raises(DataError, match="column by column") as caught:
        rows(tmp_path / "f.npy")
    assert "ascontiguousarray" in caught.value.hint


def test_npz_by_the_inputs_names_with_labels(tmp_path: Path) -> None:
    a, b = np.random.default_rng(0).random((5, 2)), np.arange(15).reshape(5, 3)
    np.savez(tmp_path / "two.npz", a=a, b=b, y=[4, 3, 2, 1, 0])
    dataset = open_dataset("two.npz", PAIR, base=tmp_path, targets="class")
    assert dataset.count == 5
    for _ in range(2):  # it can be read again
        samples = list(dataset.samples())
        assert [sample.label for sample in samples] == [4, 3, 2, 1, 0]
        np.testing.assert_array_equal(samples[2].inputs["a"], a[2:3].astype(np.float32))
        assert samples[2].inputs["b"].dtype == np.int32
        assert samples[2].source_dtypes == {"a": "float64", "b": "int64"}
        assert len({sample.digest for sample in samples}) == 5


def test_a_limit_spreads_over_the_file(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", x=np.arange(400, dtype=np.float32).reshape(100, 4))
    assert [row[0, 0] for row in rows(tmp_path / "d.npz", limit=4)] == [0, 100, 200, 300]
    assert len(rows(tmp_path / "d.npz", limit=1000)) == 100


def test_a_batch_repeats_the_sample(tmp_path: Path) -> None:
    np.save(tmp_path / "d.npy", np.arange(8, dtype=np.float32).reshape(2, 4))
    batched = (TensorSpec(name="in", shape=(3, 4), dtype="float32"),)
    np.testing.assert_array_equal(rows(tmp_path / "d.npy", batched)[1], np.tile([[4.0, 5, 6, 7]], (3, 1)))


def test_missing_axes_of_length_one_are_forgiven(tmp_path: Path) -> None:
    np.save(tmp_path / "d.npy", np.ones((2, 49, 10), np.float32))
    spec = (TensorSpec(name="in", shape=(1, 49, 10, 1), dtype="float32"),)
    assert rows(tmp_path / "d.npy", spec)[0].shape == (1, 49, 10, 1)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": np.ones((3, 5))}, r"input 'in' has shape \(5,\), the model takes \(4,\)"),
        ({"z": np.ones((3, 4))}, "holds z; the model's inputs are in"),
        ({"x": np.ones((3, 4)), "y": np.zeros((2,), int)}, r"do not hold the same number of samples \(x: 3, y: 2\)"),
        ({"x": np.ones((3, 4)), "y": np.eye(3)}, "one class index a sample"),
        ({"x": np.ones((3, 4)), "y": np.array([0, -1, 2])}, "no class index"),
        ({"x": np.array(["a", "b"])}, "not real numbers"),
        ({"x": np.float32(3)}, "single number"),
    ],
)
def test_wrong_npz(tmp_path: Path, arrays: Any, message: str) -> None:
    np.savez(tmp_path / "d.npz", **arrays)
    with pytest.raises(DataError, match=message):
        rows(tmp_path / "d.npz", targets="class" if "y" in arrays else "any")


def test_floats_for_an_integer_input_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", a=np.ones((2, 2)), b=np.ones((2, 3)))
    with pytest.raises(DataError, match="the model takes int32, and not every value fits"):
        list(open_dataset("d.npz", PAIR, base=tmp_path).samples())


def test_labels_are_asked_for(tmp_path: Path) -> None:
    np.save(tmp_path / "d.npy", np.ones((2, 4), np.float32))
    with pytest.raises(DataError, match="has no labels, and accuracy needs them"):
        open_dataset("d.npy", VECTOR, base=tmp_path, targets="class")


def test_no_such_data(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        open_dataset("nowhere.npz", VECTOR, base=tmp_path)
    (tmp_path / "data.csv").write_text("1,2")
    with pytest.raises(DataError, match="of no form that edgekit reads"):
        open_dataset("data.csv", VECTOR, base=tmp_path)


def image(path: Path, colour: tuple[int, int, int], size: tuple[int, int] = (5, 6)) -> None:
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)


def test_folders_of_images_are_classes(tmp_path: Path) -> None:
    image(tmp_path / "dog" / "1.png", (0, 255, 0))
    image(tmp_path / "cat" / "b.png", (255, 0, 0))
    image(tmp_path / "cat" / "a.bmp", (1, 2, 3))
    (tmp_path / "cat" / ".DS_Store").write_bytes(b"x")
    dataset = open_dataset(str(tmp_path), IMAGE, targets="class")
    samples = list(dataset.samples())
    assert dataset.class_names == ("cat", "dog")
    assert [sample.label for sample in samples] == [0, 0, 1]
    assert samples[0].inputs["image"].shape == (1, 6, 5, 3)
    assert samples[0].inputs["image"][0, 0, 0].tolist() == [1, 2, 3]
    assert samples[0].source_dtypes == {"image": "uint8"}


def test_images_go_through_the_preprocessing(tmp_path: Path) -> None:
    image(tmp_path / "a.png", (255, 0, 51), size=(50, 60))
    seen = []

    def transform(name: str, array: Any) -> Any:
        seen.append((name, array.shape, array.dtype))
        return array[:6, :5].astype(np.float32) / 255

    (row,) = rows(tmp_path, IMAGE, transform=transform)
    assert seen == [("image", (60, 50, 3), np.uint8)]
    np.testing.assert_allclose(row[0, 0, 0], [1, 0, 0.2])


def test_an_image_of_the_wrong_size_names_the_setting(tmp_path: Path) -> None:
    image(tmp_path / "a.png", (0, 0, 0), size=(50, 60))
    with pytest.raises(DataError, match=r"a\.png: input 'image' has shape \(60, 50, 3\)") as caught:
        rows(tmp_path, IMAGE)
    assert "resize = [6, 5]" in caught.value.hint
    assert "color" not in caught.value.hint


def test_a_colour_image_for_a_gray_model_names_the_setting(tmp_path: Path) -> None:
    image(tmp_path / "a.png", (0, 0, 0), size=(5, 6))
    with pytest.raises(DataError, match="the model takes") as caught:
        rows(tmp_path, (dataclasses.replace(IMAGE[0], shape=(1, 6, 5, 1)),))
    assert caught.value.hint.endswith('For images set [input.image.preprocessing] color = "gray".')


def test_broken_and_oversized_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 not a jpeg")
    with pytest.raises(DataError, match=r"broken\.jpg is no image that can be read"):
        rows(tmp_path, IMAGE)
    (tmp_path / "broken.jpg").unlink()
    image(tmp_path / "big.png", (0, 0, 0), size=(200, 200))
    monkeypatch.setattr("PIL.Image.MAX_IMAGE_PIXELS", 100)
    with pytest.raises(DataError, match="is refused"):
        rows(tmp_path, IMAGE)


def test_truncated_image(tmp_path: Path) -> None:
    from PIL import Image

    pixels = np.random.default_rng(0).integers(0, 255, (60, 50, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    data = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(data[: len(data) // 2])
    with pytest.raises(DataError, match="is no image that can be read"):
        rows(tmp_path, IMAGE)


def test_folders_of_arrays(tmp_path: Path) -> None:
    for number in range(3):
        np.save(tmp_path / f"{number}.npy", np.full(4, number, np.float32))
    assert [row[0, 0] for row in rows(tmp_path)] == [0, 1, 2]


def test_an_empty_folder_and_a_mixed_one(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds no images and no \.npy files"):
        rows(tmp_path, IMAGE)
    image(tmp_path / "cat" / "a.png", (0, 0, 0))
    image(tmp_path / "loose.png", (0, 0, 0))
    with pytest.raises(DataError, match=r"1 loose samples, such as loose\.png"):
        rows(tmp_path, IMAGE)


def test_functions(tmp_path: Path) -> None:
    (tmp_path / "generators_of_this_test.py").write_text(
        "import numpy as np\n"
        "def arrays():\n    yield from np.arange(8, dtype=np.float32).reshape(2, 4)\n"
        "def pairs():\n    yield np.ones((1, 4)), 3\n"
        "def dicts():\n    yield {'a': np.ones(2), 'b': np.ones(3, int)}\n"
        "def fails():\n    yield np.ones(4)\n    raise KeyError('lost')\n"
        "number = 3\n"
    )
    module = "generators_of_this_test"
    dataset = open_dataset(f"{module}:arrays", VECTOR, base=tmp_path)
    assert dataset.count is None
    assert [len(list(dataset.samples())) for _ in range(2)] == [2, 2]
    assert len(rows(Path(f"{module}:arrays"), base=tmp_path, limit=1)) == 1
    (pair,) = open_dataset(f"{module}:pairs", VECTOR, base=tmp_path, targets="class").samples()
    assert pair.label == 3
    (both,) = open_dataset(f"{module}:dicts", PAIR, base=tmp_path).samples()
    assert set(both.inputs) == {"a", "b"}
    with pytest.raises(DataError, match="fails failed: KeyError: 'lost'"):
        rows(Path(f"{module}:fails"), base=tmp_path)
    with pytest.raises(DataError, match="is not a function"):
        rows(Path(f"{module}:number"), base=tmp_path)
    with pytest.raises(DataError, match="cannot be imported"):
        rows(Path("no_such_module:f"), base=tmp_path)


def test_memory_is_constant_in_the_number_of_samples(tmp_path: Path) -> None:
    peaks = []
    for count in (100, 4000):
        path = tmp_path / f"{count}.npz"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("x.npy", "w") as member:
            np.lib.format.write_array(member, np.zeros((count, 1000), np.float32))
        spec = (TensorSpec(name="in", shape=(1, 1000), dtype="float32"),)
        tracemalloc.start()
        for _ in open_dataset(str(path), spec).samples():
            pass
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 256 * 1024, "the larger array has 16 MB"


def test_what_a_function_of_the_user_s_prints_is_not_on_stdout(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "loud.py").write_text(
        "print('imported')\ndef data():\n    print('called')\n    yield 1\n    print('again')\n"
    )
    assert list(items(import_function("loud:data", tmp_path))) == [1]
    said = capsys.readouterr()
    assert (said.out, said.err.split()) == ("", ["imported", "called", "again"])

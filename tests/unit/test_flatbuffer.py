"""Reading and writing .tflite: damaged files are errors, never crashes; what is written runs."""

import random
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit_converters.errors import ConversionError, SourceError
from edgekit_converters.flatbuffer import (
    SIGNATURE_KEY,
    add_signature,
    read,
    shorten_names,
    signature_specs,
    text,
    write,
)
from edgekit_converters.metadata import Normalization, embed_metadata, read_labels
from tests.unit.float_models import float_model

pytestmark = pytest.mark.unit


def run(data: bytes, seed: int = 0) -> Any:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=data)
    interpreter.allocate_tensors()
    rng = np.random.default_rng(seed)
    for details in interpreter.get_input_details():
        interpreter.set_tensor(details["index"], rng.random(details["shape"]).astype(details["dtype"]))
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])


REAL = ["tflite_ref/ic_resnet8_float.tflite", "tflite_ref/kws_int8.tflite", "coral/keras_lstm_mnist_ptq.tflite"]


@pytest.mark.parametrize("name", REAL)
def test_what_is_read_and_written_computes_the_same(cases: Path, name: str) -> None:
    data = (cases / "models" / name).read_bytes()
    written = write(read(data))
    np.testing.assert_array_equal(run(written), run(data))
    assert write(read(written)) == written, "writing is a fixed point"


@pytest.mark.parametrize("size", [0, 3, 7, 8, 9, 100, 5000, 53_000, 53_935])
def test_a_truncated_file_is_named(cases: Path, size: int) -> None:
    data = (cases / "models/tflite_ref/kws_int8.tflite").read_bytes()
    with pytest.raises(SourceError, match=r"the model is (damaged|not a \.tflite file)"):
        read(data[:size])


def test_random_and_flipped_bytes_never_crash_or_hang(cases: Path) -> None:
    data = (cases / "models/tflite_ref/kws_int8.tflite").read_bytes()
    chance = random.Random(7)

    def alarm(*_: Any) -> None:
        pytest.fail("reading a damaged file hangs")

    signal.signal(signal.SIGALRM, alarm)
    signal.alarm(120)
    outcomes = {"read": 0, "refused": 0}
    for attempt in range(150):
        damaged = bytearray(data)
        for _ in range(chance.randint(1, 40)):
            damaged[chance.randrange(8, len(data) if attempt % 2 else 3000)] = chance.randrange(256)
        try:
            signature_specs(read(bytes(damaged)))
            outcomes["read"] += 1
        except SourceError:
            outcomes["refused"] += 1
        noise = b"\x18\0\0\0TFL3" + chance.randbytes(chance.randint(1, 3000))
        with pytest.raises(SourceError):
            read(noise)
    signal.alarm(0)
    assert outcomes["refused"] > 20


def test_a_signature_by_names_and_by_order(cases: Path) -> None:
    model = read((cases / "models/tflite_ref/ic_resnet8_float.tflite").read_bytes())
    tensor = text(model.subgraphs[0].tensors[model.subgraphs[0].inputs[0]].name)
    add_signature(model, inputs={"image": tensor}, outputs={"scores": ""})
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=write(model))
    assert interpreter.get_signature_list() == {SIGNATURE_KEY: {"inputs": ["image"], "outputs": ["scores"]}}
    with pytest.raises(ConversionError, match="lost 'other'"):
        add_signature(model, inputs={"other": "no such tensor"}, outputs={"scores": ""})


def test_short_names_are_unique_and_smaller(cases: Path) -> None:
    model = read(float_model(cases / "models/tflite_ref/vww_float.tflite").tflite)
    before = write(model)
    shorten_names(model)
    names = [text(tensor.name) for graph in model.subgraphs for tensor in graph.tensors]
    assert len(set(names)) == len(names)
    assert {"in0", "out0"} <= set(names)
    assert not any(";" in name or "PartitionedCall" in name for name in names)
    after = write(model)
    assert len(after) <= len(before)
    np.testing.assert_array_equal(run(after), run(before))


def test_metadata_and_labels(cases: Path) -> None:
    model = float_model(cases / "models/tflite_ref/ic_resnet8_float.tflite")
    labels = [f"class {number}" for number in range(10)]
    arguments: dict[str, Any] = {
        "name": "resnet8",
        "labels": labels,
        "normalization": {"in0": Normalization(mean=(127.5,), std=(128.0,))},
    }
    data = embed_metadata(model.tflite, **arguments)
    assert data == embed_metadata(model.tflite, **arguments)
    assert read_labels(data) == tuple(labels)
    assert read_labels(model.tflite) == ()
    np.testing.assert_array_equal(run(data), run(model.tflite))
    parsed = read(data)
    (entry,) = (item for item in parsed.metadata if text(item.name) == "TFLITE_METADATA")
    content = bytes(parsed.buffers[entry.buffer].data)
    assert content[4:8] == b"M001"
    graph = Table.root(content).tables(3)[0]
    (image,), (scores,) = graph.tables(2), graph.tables(3)
    assert image.string(0) == "in0"
    content_properties = image.table(3)
    assert content_properties.byte(0) == 2, "ImageProperties"
    assert content_properties.table(1).byte(0) == 1, "RGB"
    (unit,) = image.tables(4)
    assert unit.byte(0) == 1, "NormalizationOptions"
    assert (unit.table(1).floats(0), unit.table(1).floats(1)) == ([127.5], [128.0])
    (file,) = scores.tables(6)
    assert (file.string(0), file.byte(2)) == ("labels.txt", 2)
    again = embed_metadata(data, name="resnet8")
    assert read_labels(again) == ()
    assert sum(text(item.name) == "TFLITE_METADATA" for item in read(again).metadata) == 1


class Table:
    """A reader of any flatbuffer by slot, written from the format's description and not from our writer."""

    def __init__(self, data: bytes, position: int) -> None:
        self.data, self.position = data, position

    @classmethod
    def root(cls, data: bytes) -> "Table":
        return cls(data, int.from_bytes(data[:4], "little"))

    def at(self, slot: int) -> int:
        vtable = self.position - int.from_bytes(self.data[self.position : self.position + 4], "little", signed=True)
        assert 4 + 2 * slot < self.number(vtable, 2), "the field is there"
        offset = self.number(vtable + 4 + 2 * slot, 2)
        assert offset, "the field is set"
        return self.position + offset

    def number(self, position: int, size: int) -> int:
        return int.from_bytes(self.data[position : position + size], "little")

    def follow(self, position: int) -> int:
        return position + self.number(position, 4)

    def table(self, slot: int) -> "Table":
        return Table(self.data, self.follow(self.at(slot)))

    def tables(self, slot: int) -> "list[Table]":
        start = self.follow(self.at(slot))
        return [Table(self.data, self.follow(start + 4 + 4 * item)) for item in range(self.number(start, 4))]

    def floats(self, slot: int) -> list[float]:
        start = self.follow(self.at(slot))
        return [float(value) for value in np.frombuffer(self.data, "<f4", self.number(start, 4), start + 4)]

    def string(self, slot: int) -> str:
        start = self.follow(self.at(slot))
        return self.data[start + 4 : start + 4 + self.number(start, 4)].decode()

    def byte(self, slot: int) -> int:
        return self.data[self.at(slot)]

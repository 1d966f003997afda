"""``infer`` on this machine as the device: a stream of inputs through the real agent."""

import base64
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit.agent.infer import CHUNK_BYTES, _Outgoing
from edgekit.agent.runtime import Model
from edgekit.device_inference import Ready, _Stream, infer
from edgekit.errors import DataError, DeviceFaultError, ModelError
from edgekit.transport import Connection

pytestmark = pytest.mark.unit

Arrays = dict[str, np.ndarray[Any, Any]]


@pytest.fixture
def kws(cases: Path) -> Path:
    return cases / "models" / "tflite_ref" / "kws_int8.tflite"


def draw(model: Path, count: int) -> Iterator[Arrays]:
    """Seeded inputs in the model's own dtype."""
    random = np.random.default_rng(0)
    inputs = Model(model).inputs
    for _ in range(count):
        yield {item.name: random.integers(-128, 128, item.shape).astype(item.dtype) for item in inputs}


@pytest.mark.parametrize("count", [0, 1, 255, 256, 700])  # around the window of 256, and more than two of them
def test_the_device_computes_what_this_machine_computes(kws: Path, connection: Connection, count: int) -> None:
    here = Model(kws)
    ready: list[Ready] = []
    found = list(infer(connection, kws, draw(kws, count), delegate="xnnpack", on_ready=ready.append))
    assert len(found) == count
    assert ready[0].runtime.name == "ai-edge-litert"
    for expected, outputs in zip(map(here.run, draw(kws, count)), found, strict=True):
        assert all(np.array_equal(expected[name], outputs[name]) for name in expected)


def test_samples_are_drawn_a_window_ahead_and_no_further(kws: Path, connection: Connection) -> None:
    drawn = 0

    def counted() -> Iterator[Arrays]:
        nonlocal drawn
        for sample in draw(kws, 10_000):
            drawn += 1
            yield sample

    outputs = infer(connection, kws, counted(), delegate="xnnpack")
    for position, _ in zip(range(1000), outputs, strict=False):
        assert drawn - position <= 2 * 256
    outputs.close()  # type: ignore[attr-defined]  # a generator: leaving early ends the agent
    assert drawn < 2000


def test_floats_come_back_bit_for_bit(cases: Path, connection: Connection) -> None:
    model = cases / "models" / "tflm" / "mnist_lstm_float.tflite"
    random = np.random.default_rng(0)
    samples = [{item.name: random.random(item.shape, np.float32) for item in Model(model).inputs} for _ in range(3)]
    here = Model(model)
    for sample, found in zip(samples, infer(connection, model, samples, delegate="xnnpack"), strict=True):
        here.reset()  # as the device does: samples are independent of each other
        expected = here.run(sample)
        assert all(np.array_equal(expected[name], found[name]) for name in expected)


def test_large_outputs_are_sent_in_pieces() -> None:
    events: list[dict[str, Any]] = []
    outgoing = _Outgoing(lambda event, **fields: events.append({"event": event, **fields}), 8)
    data = np.random.default_rng(0).bytes(3 * CHUNK_BYTES)
    outgoing.add(data[: CHUNK_BYTES // 2])
    assert not events, "small ones wait for others"
    outgoing.add(data[CHUNK_BYTES // 2 :])
    assert [event["count"] for event in events] == [0, 0, 2]
    assert b"".join(base64.b64decode(event["data"]) for event in events) == data


def test_a_source_that_fails_is_the_error(kws: Path, connection: Connection) -> None:
    def samples() -> Iterator[Arrays]:
        yield from draw(kws, 300)
        raise DataError("Sample 300 is damaged.", hint="Mend it.")

    with pytest.raises(DataError, match="Sample 300 is damaged"):
        list(infer(connection, kws, samples(), delegate="xnnpack"))


def test_a_crash_of_the_runtime_is_said(
    kws: Path, connection: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A delegate that kills its process: loaded by the runtime, ended by a signal while it prepares."""
    (tmp_path / "ai_edge_litert").mkdir()
    (tmp_path / "ai_edge_litert" / "__init__.py").write_text("")
    (tmp_path / "ai_edge_litert" / "interpreter.py").write_text("import os\nos.kill(os.getpid(), 11)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(DeviceFaultError, match=r"infer-process\) was killed by SIGSEGV") as caught:
        list(infer(connection, kws, draw(kws, 3), delegate="xnnpack"))
    assert caught.value.details == {"status": -signal.SIGSEGV}
    assert "try xnnpack or none" in caught.value.hint


def test_a_delegate_that_is_not_there(kws: Path, connection: Connection) -> None:
    with pytest.raises(DeviceFaultError, match=r"cannot be used: There is no file /no/such/delegate\.so"):
        list(infer(connection, kws, draw(kws, 3), delegate="/no/such/delegate.so"))


def test_a_model_that_does_not_run_there(cases: Path, connection: Connection) -> None:
    with pytest.raises(DeviceFaultError, match="refuses the model: Encountered unresolved custom op"):
        list(infer(connection, cases / "models" / "negative" / "model_invoking_error.tflite", [], delegate="xnnpack"))


def test_no_file(connection: Connection, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot be read"):
        list(infer(connection, tmp_path / "none.tflite", [], delegate="xnnpack"))


def test_a_sample_that_is_not_the_devices(kws: Path, connection: Connection) -> None:
    with pytest.raises(DeviceFaultError, match=r"its runtime takes int8 \[1, 49, 10, 1\] for input 'input_1'"):
        list(infer(connection, kws, [{"input_1": np.zeros((1, 49, 10, 1), np.float32)}], delegate="xnnpack"))


READY = {
    "event": "ready",
    "runtime": {"name": "r", "version": "1"},
    "window": 2,
    "inputs": [{"name": "x", "shape": [1], "dtype": "int8"}],
    "outputs": [{"name": "y", "shape": [2], "dtype": "int8"}],
}


def stream(*events: dict[str, Any], count: int = 4) -> list[Arrays]:
    under_test = _Stream(({"x": np.array([n], np.int8)} for n in range(count)), "board", lambda _ready: None)
    found = []
    for event in events:
        under_test.answer(event)
        found += list(under_test.take(event))
    under_test.check_end()
    return found


def outputs(count: int, data: bytes) -> dict[str, Any]:
    return {"event": "outputs", "count": count, "data": base64.b64encode(data).decode()}


def test_pieces_need_not_end_where_samples_do() -> None:
    found = stream(READY, outputs(0, b"\1"), outputs(1, b"\2\3"), outputs(1, b"\4"), outputs(2, b"\5\6\7\10"))
    assert [sample["y"].tolist() for sample in found] == [[1, 2], [3, 4], [5, 6], [7, 8]]


@pytest.mark.parametrize(
    ("events", "message"),
    [
        ([READY], "ended before every sample was answered"),
        ([READY, outputs(1, b"\1\2")], "ended before every sample was answered"),
        ([READY, outputs(1, b"\1")], "the answer for 'y' is too short"),
        ([READY, outputs(3, b"\1\2\3\4\5\6")], "more answers than samples"),
        ([READY, outputs(0, b"\1" * 100)], "more answers than samples"),
        ([outputs(0, b"")], "it answers before it is ready"),
        ([READY, {"event": "outputs", "count": 1, "data": "no base64!"}], "an answer is no base64"),
        ([READY, {"event": "outputs", "count": -1, "data": ""}], "'outputs' event"),
        ([{**READY, "window": 0}], "'ready' event"),
        ([{**READY, "inputs": [{"name": "x", "shape": [1], "dtype": "object"}]}], "'ready' event"),
    ],
)
def test_what_a_device_says_is_checked(events: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(DeviceFaultError, match=message):
        stream(*events)

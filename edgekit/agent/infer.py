"""``infer``: a stream of inputs through this device's runtime and delegate; their outputs go back in order.

The model runs in a process of its own, because a delegate may take its process along. That process reads the inputs
itself: the host sends none before ``ready``, so none of them can be in a buffer of ours.
"""

import base64
import io
import os
import struct
import time
from typing import TYPE_CHECKING, Any, BinaryIO, Dict, Iterator, Optional, Sequence

from . import runtime
from .cache import fetch
from .child import Child
from .events import AgentError, Emit, Request, Result
from .host import Host

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

COUNT = struct.Struct("<I")
"""What a frame begins with: how many samples follow."""
CHUNK_BYTES = 256 * 1024
"""Raw bytes in one ``outputs`` event."""
FLIGHT_BYTES = 1024 * 1024
"""Inputs, and outputs, under way at any time; more only where one sample is larger."""
MAX_WINDOW = 256
LONGEST_S = 0.5
"""Outputs wait no longer than this, and one inference, for others to be sent with."""


def infer(request: Request, stdin: BinaryIO, emit: Emit) -> Result:
    """The ``infer`` command.

    request: ``root``; ``files`` (see ``cache.fetch``); ``model`` (sha256), ``delegate``, ``delegate_options``,
    ``num_threads``.

    ``ready`` tells ``window`` and the tensors. Then the host sends frames: a count (uint32, little-endian) and that
    many samples, each the raw little-endian tensors of ``inputs`` one after the other; 0 ends. At most ``window``
    samples may be on their way to an answer, so neither side ever waits for the other to read.

    ``outputs`` events hold the samples' tensors of ``outputs`` as one stream of bytes in pieces (``data``, base64);
    ``count`` is the number of samples that end in the piece. Returns ``samples``, how many there were.
    """
    paths = fetch(request["root"], request["files"], stdin, emit)
    host = Host(stdin, emit)
    options = {key: request[key] for key in ("delegate", "num_threads")}
    options["delegate_options"] = request.get("delegate_options") or {}
    data = os.dup(stdin.fileno())
    try:
        child = Child("infer-process", dict(options, model=paths[request["model"]], data=data), (data,))
    finally:
        os.close(data)
    try:
        return child.relay(host.emit, host.alive)
    finally:
        child.kill()


def infer_process(request: Request, _stdin: BinaryIO, emit: Emit) -> Result:
    """The ``infer-process`` command: the child of ``infer``; ``data`` is the file descriptor of the frames."""
    model = runtime.Model(
        request["model"], request["delegate"], request["num_threads"], delegate_options=request["delegate_options"]
    )
    largest = max(_size(model.inputs), _size(model.outputs), 1)
    window = max(2, min(MAX_WINDOW, FLIGHT_BYTES // largest))
    facts = {"inputs": _describe(model.inputs), "outputs": _describe(model.outputs), "window": window}
    emit("ready", runtime={"name": model.runtime, "version": model.version}, **facts)
    outgoing = _Outgoing(emit, window // 2)
    count = 0
    with io.open(request["data"], "rb") as stream:
        for sample in _samples(stream, model.inputs, window):
            model.reset()  # samples are independent of each other
            outgoing.add(_pack(model.run(sample), model.outputs))
            count += 1
    outgoing.flush()
    return {"samples": count}


class _Outgoing:
    """Outputs that were computed and not sent yet. ``most``: samples after which they are sent."""

    def __init__(self, emit: Emit, most: int) -> None:
        self._emit = emit
        self._most = most
        self._data = bytearray()
        self._count = 0
        self._sent = time.monotonic()

    def add(self, data: bytes) -> None:
        self._data += data
        self._count += 1
        late = time.monotonic() - self._sent > LONGEST_S
        if late or self._count >= self._most or len(self._data) >= CHUNK_BYTES:
            self.flush()

    def flush(self) -> None:
        while self._count:
            piece = bytes(self._data[:CHUNK_BYTES])
            del self._data[:CHUNK_BYTES]
            ended = 0 if self._data else self._count
            self._count -= ended
            self._emit("outputs", count=ended, data=base64.b64encode(piece).decode())
        self._sent = time.monotonic()


def _samples(stream: BinaryIO, tensors: Sequence[runtime.Tensor], window: int) -> "Iterator[Dict[str, Array]]":
    while True:
        count = COUNT.unpack(_read(stream, COUNT.size))[0]
        if count == 0:
            return
        if count > window:
            raise AgentError(
                "device",
                "A frame of %d samples came; at most %d were asked for." % (count, window),
                "Something else than edgekit sent it; run it again with -v.",
            )
        for _ in range(count):
            yield {tensor.name: _read_tensor(stream, tensor) for tensor in tensors}


def _read(stream: BinaryIO, size: int) -> bytes:
    data = stream.read(size)
    if len(data) < size:
        raise AgentError("device", "The inputs ended in the middle.", "The host went away; do it again.")
    return data


def _read_tensor(stream: BinaryIO, tensor: runtime.Tensor) -> "Array":
    import numpy as np

    data = _read(stream, _size([tensor]))
    return np.frombuffer(data, tensor.dtype.newbyteorder("<")).astype(tensor.dtype).reshape(tensor.shape)


def _pack(outputs: "Dict[str, Array]", tensors: Sequence[runtime.Tensor]) -> bytes:
    parts = []
    for tensor in tensors:
        array = outputs[tensor.name]
        if array.shape != tensor.shape:
            raise AgentError(
                "device",
                "Output %r has the shape %s now and was announced as %s." % (tensor.name, array.shape, tensor.shape),
                "Outputs whose size follows the data cannot be evaluated; convert the model with static shapes.",
            )
        parts.append(array.astype(tensor.dtype.newbyteorder("<"), copy=False).tobytes())
    return b"".join(parts)


def _size(tensors: Sequence[runtime.Tensor]) -> int:
    """Bytes of one sample."""
    total = 0
    for tensor in tensors:
        size = _itemsize(tensor)
        for length in tensor.shape:
            size *= length
        total += size
    return total


def _itemsize(tensor: runtime.Tensor) -> int:
    size: Optional[int] = tensor.dtype.itemsize if tensor.dtype.kind in "biuf" else None
    if not size:
        raise AgentError(
            "device",
            "Tensor %r is of %s; only numbers can be sent." % (tensor.name, tensor.dtype),
            "Take strings out of the model's inputs and outputs.",
        )
    return size


def _describe(tensors: Sequence[runtime.Tensor]) -> "list[Dict[str, Any]]":
    return [{"name": item.name, "shape": list(item.shape), "dtype": item.dtype.name} for item in tensors]

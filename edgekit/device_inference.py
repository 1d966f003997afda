"""A stream of inputs through a model on a device, its outputs back in order; memory is constant in their number."""

import base64
import binascii
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from math import prod
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import msgspec

from edgekit.digests import sha256_file
from edgekit.documents import Document, convert
from edgekit.errors import DeviceFaultError, ModelError
from edgekit.transport import Connection
from edgekit.transport.agent import call, prepare_agent
from edgekit.transport.files import answer_need

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]
    Arrays = Mapping[str, Array]

T = TypeVar("T")
SILENCE_S = 60.0
"""The agent says something every few seconds."""
COUNT = struct.Struct("<I")
Length = Annotated[int, msgspec.Meta(ge=0, le=2**31)]
Text = Annotated[str, msgspec.Meta(max_length=1000)]


class DeviceTensor(Document, frozen=True, kw_only=True):
    """An input or output as the device's runtime sees it."""

    name: Text
    shape: Annotated[tuple[Length, ...], msgspec.Meta(max_length=16)]
    dtype: Literal["float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32",
                   "uint64", "bool"]  # fmt: skip

    @property
    def size_bytes(self) -> int:
        """Of one sample."""
        import numpy as np

        return prod(self.shape) * np.dtype(self.dtype).itemsize


class DeviceRuntime(Document, frozen=True, kw_only=True):
    """What answers on the device."""

    name: Text
    version: Text


class Ready(Document, frozen=True, kw_only=True):
    """The device has loaded the model."""

    runtime: DeviceRuntime
    inputs: tuple[DeviceTensor, ...]
    outputs: tuple[DeviceTensor, ...]
    window: Annotated[int, msgspec.Meta(ge=1, le=100_000)]
    """Samples that may be on their way to an answer."""


class _Piece(Document, frozen=True, kw_only=True):
    """An ``outputs`` event: bytes of the stream of outputs, and how many samples end in them."""

    count: Annotated[int, msgspec.Meta(ge=0, le=100_000)]
    data: str


def infer(
    connection: Connection,
    model: Path,
    samples: "Iterable[Arrays]",
    *,
    delegate: str,
    delegate_options: Mapping[str, str] = MappingProxyType({}),
    num_threads: int = 1,
    on_ready: Callable[[Ready], None] = lambda _ready: None,
) -> "Iterator[dict[str, Array]]":
    """Outputs of every sample, in order, computed by the device's runtime and delegate from the bytes of ``model``.

    A sample holds an array per input name and an answer one per output name, in the model's own dtypes and shapes
    (quantized values for an int8 model). Samples are drawn ahead of the answers, as many as the device's window says.

    Raises:
        ModelError: the model cannot be read.
        DeviceFaultError: no runtime, a model or delegate that does not run or crashes there, a sample that does not
            fit the model as the device sees it.
        TransportError: connection lost.
    """
    stream = _Stream(samples, connection.device.name, on_ready)
    try:
        digest, size = sha256_file(model), model.stat().st_size
    except OSError as err:
        raise ModelError(f"{model} cannot be read: {err.strerror}.", hint="Check the path.") from err
    agent = prepare_agent(connection)
    request = {
        "root": agent.root,
        "files": [{"sha256": digest, "bytes": size}],
        "model": digest,
        "delegate": delegate,
        "delegate_options": dict(delegate_options),
        "num_threads": num_threads,
    }

    def answer(event: Mapping[str, Any]) -> Iterable[bytes]:
        return answer_need(event, {digest: model}, stream.device) if event["event"] == "need" else stream.answer(event)

    for event in call(agent, "infer", request, answer=answer, timeout_s=SILENCE_S):
        yield from stream.take(event)
    stream.check_end()


class _Stream:
    """Both directions of one call: samples on their way to the device, pieces of its outputs on their way back."""

    def __init__(self, samples: "Iterable[Arrays]", device: str, on_ready: Callable[[Ready], None]) -> None:
        self.device = device
        self._samples = iter(samples)
        self._on_ready = on_ready
        self._ready: Ready | None = None
        self._in_flight = 0
        self._ended = False
        self._received = bytearray()

    def answer(self, event: Mapping[str, Any]) -> list[bytes]:
        """The frames an event gives room for."""
        if event["event"] == "ready":
            self._ready = self._convert(event, Ready)
            self._on_ready(self._ready)
            return self._frame(self._ready.window)
        if event["event"] == "outputs":
            count = self._convert(event, _Piece).count
            if count > self._in_flight:
                raise self._nonsense("there are more answers than samples")
            return self._frame(count)
        return []

    def take(self, event: Mapping[str, Any]) -> "Iterator[dict[str, Array]]":
        """The outputs that an event completes."""
        if event["event"] != "outputs":
            return
        piece = self._convert(event, _Piece)
        try:
            self._received += base64.b64decode(piece.data, validate=True)
        except (binascii.Error, ValueError) as err:
            raise self._nonsense(f"an answer is no base64 ({err})") from err
        tensors = self._facts().outputs
        if len(self._received) > self._in_flight * sum(tensor.size_bytes for tensor in tensors):
            raise self._nonsense("there are more answers than samples")
        for _ in range(piece.count):
            yield {tensor.name: self._cut(tensor) for tensor in tensors}
            self._in_flight -= 1

    def check_end(self) -> None:
        """Raise DeviceFaultError unless every sample was answered."""
        if self._ready is None or self._in_flight or self._received or not self._ended:
            raise self._nonsense("it ended before every sample was answered")

    def _frame(self, room: int) -> list[bytes]:
        """Up to ``room`` further samples; an empty frame after the last of them."""
        if room == 0 or self._ended:
            return []
        packed = [self._pack(sample) for sample in islice(self._samples, room)]
        self._in_flight += len(packed)
        self._ended = len(packed) < room
        frame = [COUNT.pack(len(packed)), *packed] if packed else []
        return [b"".join([*frame, COUNT.pack(0)] if self._ended else frame)]

    def _pack(self, sample: "Arrays") -> bytes:
        import numpy as np

        parts = []
        for tensor in self._facts().inputs:
            array = sample.get(tensor.name)
            if array is None or array.shape != tensor.shape or array.dtype != np.dtype(tensor.dtype):
                found = "nothing" if array is None else f"{array.dtype} {list(array.shape)}"
                raise DeviceFaultError(
                    f"{self.device}: its runtime takes {tensor.dtype} {list(tensor.shape)} for input {tensor.name!r}; "
                    f"this machine has {found}.",
                    hint="The runtimes disagree about the model; install the same one with `edgekit device setup`.",
                )
            parts.append(array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes())
        return b"".join(parts)

    def _cut(self, tensor: DeviceTensor) -> "Array":
        import numpy as np

        size = tensor.size_bytes
        if len(self._received) < size:
            raise self._nonsense(f"the answer for {tensor.name!r} is too short")
        dtype = np.dtype(tensor.dtype)
        array = np.frombuffer(bytes(self._received[:size]), dtype.newbyteorder("<")).astype(dtype)
        del self._received[:size]
        return array.reshape(tensor.shape)

    def _facts(self) -> Ready:
        if self._ready is None:
            raise self._nonsense("it answers before it is ready")
        return self._ready

    def _convert(self, event: Mapping[str, Any], kind: type[T]) -> T:
        fields = {key: value for key, value in event.items() if key != "event"}
        return convert(fields, kind, DeviceFaultError, where=f"{self.device}: the agent's {event['event']!r} event")

    def _nonsense(self, what: str) -> DeviceFaultError:
        return DeviceFaultError(
            f"{self.device}: the agent's answers do not fit the samples: {what}.",
            hint="Something else than edgekit's agent answers there; run it again with -v.",
        )

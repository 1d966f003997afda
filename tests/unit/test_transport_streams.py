"""A command's output and its end, in every order in which a connection may bring them."""

from collections.abc import Iterator

import pytest

from edgekit.errors import TransportError
from edgekit.transport import streams
from edgekit.transport.streams import StreamProcess

pytestmark = pytest.mark.unit


class Scripted:
    """A channel that brings ``chunks``; the command has ended from the start."""

    def __init__(self, *chunks: bytes | None) -> None:
        self._chunks: Iterator[bytes | None] = iter(chunks)

    def send(self, data: bytes) -> None:
        raise NotImplementedError

    def send_eof(self) -> None:
        pass

    def receive(self) -> bytes | None:
        return next(self._chunks)

    def exit_code(self, timeout_s: float) -> int | None:
        return 0

    def stderr(self) -> bytes:
        return b""

    def close(self) -> None:
        pass


@pytest.mark.parametrize(
    "chunks",
    [(b"all ", b"of it", b""), (None, b"all ", b"of it", b""), (None, b"all of it", None), (b"all of it", None, None)],
    ids=["at once", "late, with its end", "late, and a daemon holds stdout", "and a daemon holds stdout"],
)
def test_what_comes_with_the_exit_status_is_not_lost(chunks: tuple[bytes | None, ...]) -> None:
    done = StreamProcess(Scripted(*chunks), device="lab", command="cat").wait(timeout_s=1)
    assert (done.exit_code, done.stdout) == (0, b"all of it")


def test_late_output_is_bounded_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "MAX_OUTPUT_BYTES", 4)
    with pytest.raises(TransportError, match="lab: cat printed more than 4 bytes"):
        StreamProcess(Scripted(None, b"12345", b""), device="lab", command="cat").wait(timeout_s=1)

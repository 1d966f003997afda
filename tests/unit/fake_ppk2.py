"""A Power Profiler Kit II at a pseudo terminal: it speaks the protocol, and the real library drives it.

The protocol as Nordic's own application has it (github.com/NordicSemiconductor/pc-nrfconnect-ppk, src/device).
"""

import os
import pty
import select
import struct
import threading
import tty
from collections.abc import Iterable, Iterator
from contextlib import suppress
from types import TracebackType
from typing import Self

GET_META_DATA, AVERAGE_START, AVERAGE_STOP, REGULATOR_SET = 0x19, 0x06, 0x07, 0x0D
ARGUMENTS = {REGULATOR_SET: 2, 0x11: 1, 0x0C: 1}
OHMS = 0.05
"""Of the shunt of the range for the largest currents."""
METADATA = "\n".join(
    [
        "Calibrated: 0",
        *(f"R{number}: {ohms}" for number, ohms in enumerate((1003.35, 101.58, 10.30, 0.96, OHMS))),
        *(f"GS{number}: 0.0" for number in range(5)),
        *(f"GI{number}: 1.0" for number in range(5)),
        *(f"O{number}: 0.0" for number in range(5)),
        *(f"S{number}: 0.0" for number in range(5)),
        *(f"I{number}: 0.0" for number in range(5)),
        *(f"UG{number}: 1.0" for number in range(5)),
        "VDD: 3300",
        "HW: 9173",
        "mode: 2",
        "IA: 56",
        "END",
    ]
)
AMPERES_PER_STEP = 4 * 1.8 / 163840 / OHMS


def frames(steps: Iterable[int], start: int = 0) -> bytes:
    """Samples of the ADC in the last range, with their counter."""
    words = (step | 4 << 14 | ((start + number) & 0x3F) << 18 for number, step in enumerate(steps))
    return b"".join(struct.pack("<I", word) for word in words)


class FakePpk2(threading.Thread):
    """Answers commands; while it measures, ``chunks`` are sent one after the other; an empty one: it is pulled out."""

    def __init__(self, chunks: Iterable[bytes], metadata: str = METADATA) -> None:
        super().__init__(daemon=True)
        self._chunks: Iterator[bytes] = iter(chunks)
        self._metadata = metadata
        self._master, slave = pty.openpty()
        tty.setraw(slave)
        self.port = os.ttyname(slave)
        self._slave = slave
        self._told, self._tell = os.pipe()
        self.commands: list[tuple[int, ...]] = []

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.write(self._tell, b"x")
        self.join(5)
        for descriptor in (self._told, self._tell):
            os.close(descriptor)
        self._unplug()

    def _unplug(self) -> None:
        for descriptor in (self._master, self._slave):
            with suppress(OSError):
                os.close(descriptor)

    def run(self) -> None:
        measuring = False
        while True:
            ready = select.select([self._master, self._told], [], [], 0 if measuring else 1)[0]
            if self._master in ready:
                data = os.read(self._master, 4096)
                while data:
                    size = 1 + ARGUMENTS.get(data[0], 0)
                    command, data = tuple(data[:size]), data[size:]
                    self.commands.append(command)
                    measuring = command[0] == AVERAGE_START or (measuring and command[0] != AVERAGE_STOP)
                    if command[0] == GET_META_DATA:
                        os.write(self._master, self._metadata.encode())
            elif self._told in ready:
                return
            elif measuring:
                chunk = next(self._chunks, None)
                if chunk is None:
                    measuring = False
                elif not chunk:
                    self._unplug()
                    return
                else:
                    os.write(self._master, chunk)

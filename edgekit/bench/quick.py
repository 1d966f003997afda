"""How long a .tflite takes on a device, in one number: for a search that asks many times."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from msgspec.structs import replace

from edgekit.bench.findings import is_emulated
from edgekit.bench.latency import NS_PER_MS
from edgekit.bench.plan import BenchOptions, configurations, read_subject
from edgekit.bench.run import measure
from edgekit.bench.statistics import estimate
from edgekit.device import Device
from edgekit.transport import connect

QUICK = BenchOptions(num_runs=10, warmup_runs=3, min_secs=0.4, processes=2)
"""About two seconds of a small model with the start of its two processes."""


@contextmanager
def latency_on(device: Device, *, num_threads: int = 1) -> Iterator[Callable[[bytes], float | None]]:
    """A function from the bytes of a .tflite to its median latency there, in ms; the connection lasts for the block.

    None where the file does not run on the device, or where the CPU is emulated, whose latencies mean nothing. Two
    fresh processes a file, not interleaved with other files: good for an order, not for a report.

    Raises TransportError (exit code 4) when the device cannot be reached.
    """
    options: BenchOptions = replace(QUICK, num_threads=(num_threads,))
    with connect(device) as connection, tempfile.TemporaryDirectory(prefix="edgekit-") as folder:

        def latency_ms(tflite: bytes) -> float | None:
            path = Path(folder) / "model.tflite"
            path.write_bytes(tflite)
            asked = configurations(read_subject(path), options, device)
            found = measure(asked, connection, options, keep_going=True)
            if found.failed or is_emulated(found):
                return None
            return estimate([item.samples_ns for item in found.processes]) / NS_PER_MS

        yield latency_ms

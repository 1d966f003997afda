"""The process that loads TFLite Micro: ``python -P -m edgekit.micro.worker FOLDER``.

FOLDER holds ``request.json`` (``arena_bytes``: of an arena that is surely enough; ``cpu_s``: the time after which the
process ends; ``vectors``, ``inputs``, ``outputs``: how many), ``model.tflite`` and ``VECTOR-input-INPUT.npy``;
``VECTOR-output-OUTPUT.npy`` and ``answer.json`` are written there.

TFLite Micro ends the process where the model or the arena does not suit it, and it shares symbols with LiteRT. So every
interpreter is made in a fork of this process, which has loaded neither LiteRT nor TensorFlow. What a fork says is in
``said.txt``, which the next one overwrites.
"""

import json
import os
import resource
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgekit.agent import parent

ALIGNMENT = 16
"""Of an arena and of what lies in it, bytes: MicroArenaBufferAlignment in micro_arena_constants.h."""
MAX_SAID_BYTES = 2**20
MAX_FILE_BYTES = 2**30
SAID = "said.txt"
FAILED = 1
ROOM_BYTES = 2**30
"""Memory beside the arena: Python, numpy, the model and its copy as Python objects."""


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One interpreter that was made in a fork."""

    status: int
    """0: it did as asked. Negative: the signal that ended it."""
    said: str


def main(folder: Path) -> None:
    """Serve the one request; without ``answer.json`` the process died."""
    parent.end_with_parent()
    request = json.loads((folder / "request.json").read_bytes())
    # an arena that ends elsewhere loses bytes to alignment, and what is recorded would depend on its size
    request["arena_bytes"] -= request["arena_bytes"] % ALIGNMENT
    _limit(memory_bytes=request["arena_bytes"] + ROOM_BYTES, cpu_s=request["cpu_s"])
    import tflite_micro

    answer: dict[str, Any] = {"version": tflite_micro.__version__, "arena_bytes": None}
    first = _attempt(folder, request, request["arena_bytes"], vectors=0)
    if first.status != 0:
        _answer(folder, {**answer, "status": first.status, "said": first.said})
        return
    arena = _smallest(folder, request, _recorded_total(first.said))
    ran = _attempt(folder, request, arena, vectors=request["vectors"])
    if ran.status != 0:  # an op that asks for more when it runs: the large arena tells whether that was all
        arena = request["arena_bytes"]
        ran = _attempt(folder, request, arena, vectors=request["vectors"])
    _answer(folder, {**answer, "arena_bytes": arena, "status": ran.status, "said": ran.said})


def _smallest(folder: Path, request: dict[str, Any], used: int) -> int:
    """The smallest arena that all tensors can be allocated in, to ``ALIGNMENT``, at least ``used`` bytes."""

    def fits(units: int) -> bool:
        return _attempt(folder, request, units * ALIGNMENT, vectors=0).status == 0

    least, most = -(-used // ALIGNMENT), int(request["arena_bytes"]) // ALIGNMENT
    if fits(least):
        return least * ALIGNMENT
    step = 1
    while least + step < most and not fits(least + step):
        least, step = least + step, 2 * step
    low, high = least, min(least + step, most)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if fits(middle) else (middle, high)
    return high * ALIGNMENT


def _attempt(folder: Path, request: dict[str, Any], arena_bytes: int, *, vectors: int) -> Attempt:
    """In a fork: allocate all tensors in an arena, run the first ``vectors`` inputs, print the allocations."""
    said = folder / SAID
    with said.open("wb") as stream:
        sys.stderr.flush()
        pid = os.fork()
        if pid == 0:
            os.dup2(stream.fileno(), 2)
            status = FAILED
            try:
                _run(folder, request, arena_bytes, vectors)
                status = 0
            except Exception as err:  # noqa: BLE001 - it ends here, as an answer
                os.write(2, f"{type(err).__name__}: {err}\n".encode())
            finally:
                os._exit(status)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    with said.open("rb") as lines:
        return Attempt(status=status, said=lines.read(MAX_SAID_BYTES).decode(errors="replace"))


def _run(folder: Path, request: dict[str, Any], arena_bytes: int, vectors: int) -> None:
    import numpy as np
    from tflite_micro import runtime

    model = (folder / "model.tflite").read_bytes()
    interpreter = runtime.Interpreter.from_bytes(model, arena_size=arena_bytes)
    for vector in range(vectors):
        if vector:
            interpreter.reset()  # vectors are independent: state that an earlier one left is emptied
        for position in range(request["inputs"]):
            array = np.load(folder / f"{vector}-input-{position}.npy", allow_pickle=False)
            interpreter.set_input(array, position)
        interpreter.invoke()
        for position in range(request["outputs"]):
            found = interpreter.get_output(position)
            np.save(folder / f"{vector}-output-{position}.npy", found, allow_pickle=False)
    interpreter.print_allocations()


def _recorded_total(said: str) -> int:
    from edgekit.micro.allocations import NotAllocations, parse_allocations

    try:
        return parse_allocations(said).total
    except NotAllocations:  # the host tells it as an error; the search starts from nothing
        return ALIGNMENT


def _limit(*, memory_bytes: int, cpu_s: int) -> None:
    """Bounds for a model that may be hostile: memory, time (of a fork that outlives us, too), output, no core files."""
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s))
    resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_FSIZE, (MAX_FILE_BYTES, MAX_FILE_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _answer(folder: Path, answer: dict[str, Any]) -> None:
    (folder / "answer.json").write_text(json.dumps(answer), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

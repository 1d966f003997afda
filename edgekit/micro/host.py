"""TFLite Micro on this machine: a model and its inputs go to a child process, outputs and the arena come back."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekit.agent.parent import VARIABLE
from edgekit.errors import MicroError
from edgekit.micro.allocations import Allocations, NotAllocations, parse_allocations
from edgekit.micro.refusal import explain

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

PACKAGE = "tflite-micro"
TIMEOUT_S = 600.0
"""Reference kernels take seconds for an inference that a phone does in milliseconds; a loop may never end."""
MAX_LOG_CHARACTERS = 400


@dataclass(frozen=True, kw_only=True)
class HostRun:
    """What the interpreter did with a model and its vectors."""

    version: str
    refusal: str | None
    """Why it refuses the model, a sentence without its full stop; None where it ran."""
    outputs: "tuple[tuple[Array, ...], ...]" = ()
    """Of every vector, in the model's order."""
    arena_bytes: int | None = None
    """The smallest that was enough, to 16 bytes; None where the model is refused."""
    allocations: Allocations | None = None


def check_installed() -> str:
    """The version of tflite-micro; raises MicroError saying how to get it."""
    try:
        return metadata.version(PACKAGE)
    except metadata.PackageNotFoundError as err:
        raise MicroError(
            "TFLite Micro is not installed here, so nothing can tell whether a microcontroller's runtime takes the "
            "model, nor how large its arena is.",
            hint='`pip install "edgekit[micro]"` (its package is made for Linux on x86-64); elsewhere --no-micro-check '
            "builds without the check, and the manifest says so.",
        ) from err


def run_on_host(
    tflite: bytes, vectors: "Sequence[Sequence[Array]]", *, outputs: int, arena_bytes: int, timeout_s: float = TIMEOUT_S
) -> HostRun:
    """Run every vector (its arrays in the model's order of inputs, their own dtypes) from an emptied state.

    ``arena_bytes`` is the largest arena that is tried, ``outputs`` how many the model has. Raises MicroError where the
    package is missing or the process cannot be started, dies, or takes longer than ``timeout_s``.
    """
    check_installed()
    import numpy as np

    with tempfile.TemporaryDirectory(prefix="edgekit-micro-") as name:
        folder = Path(name)
        (folder / "model.tflite").write_bytes(tflite)
        for number, arrays in enumerate(vectors):
            for position, array in enumerate(arrays):
                np.save(folder / f"{number}-input-{position}.npy", np.ascontiguousarray(array), allow_pickle=False)
        request = {
            "arena_bytes": arena_bytes,
            "cpu_s": int(timeout_s) + 1,
            "vectors": len(vectors),
            "inputs": len(vectors[0]) if vectors else 0,
            "outputs": outputs,
        }
        (folder / "request.json").write_text(json.dumps(request), encoding="utf-8")
        _serve(folder, timeout_s)
        return _read_answer(folder, vectors=len(vectors), outputs=outputs)


def _serve(folder: Path, timeout_s: float) -> None:
    with (folder / "log.txt").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "edgekit.micro.worker", str(folder)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, VARIABLE: str(os.getpid()), "OPENBLAS_NUM_THREADS": "1"},
            start_new_session=True,
        )
        try:
            process.wait(timeout_s)
        except subprocess.TimeoutExpired as err:
            raise MicroError(
                f"TFLite Micro did not run the model within {timeout_s:g} s.",
                hint="A loop in it may have no end; otherwise it is too large for a microcontroller.",
            ) from err
        finally:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _read_answer(folder: Path, *, vectors: int, outputs: int) -> HostRun:
    import numpy as np

    try:
        answer = json.loads((folder / "answer.json").read_bytes())
    except (OSError, ValueError) as err:
        last = (folder / "log.txt").read_bytes()[-MAX_LOG_CHARACTERS:].decode(errors="replace").strip()
        raise MicroError(
            f"The process that runs TFLite Micro died: {last or 'it said nothing'}.",
            hint="With little memory, close other programs; otherwise report the model.",
        ) from err
    if answer["status"] != 0:
        return HostRun(version=answer["version"], refusal=explain(answer["status"], answer["said"]))
    try:
        allocations = parse_allocations(answer["said"])
    except NotAllocations as err:
        raise MicroError(
            f"tflite-micro {answer['version']} prints its allocations in a way that edgekit does not know: {err}.",
            hint='Install the version that edgekit was tested with: pip install "edgekit[micro]" -c constraints.txt.',
        ) from err
    found = tuple(
        tuple(np.load(folder / f"{number}-output-{place}.npy", allow_pickle=False) for place in range(outputs))
        for number in range(vectors)
    )
    return HostRun(
        version=answer["version"],
        refusal=None,
        outputs=found,
        arena_bytes=answer["arena_bytes"],
        allocations=allocations,
    )

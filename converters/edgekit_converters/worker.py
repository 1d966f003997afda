"""The child process: one JSON request on stdin, events as JSON lines on a pipe, the .tflite in a file.

``python -P -m edgekit_converters.worker EVENT_FD``; stdout and stderr belong to the framework and go to the log.
"""

import dataclasses
import errno
import gc
import importlib
import json
import os
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Any, TextIO

from edgekit_converters.errors import ConversionError, ConverterError
from edgekit_converters.sources import CONVERTERS

OUT_OF_MEMORY = ("Cannot allocate memory", "bad_alloc", "OOM when allocating", "failed to map segment")
"""What the C library, C++, TensorFlow and the dynamic linker say, wrapped in errors of any class."""


def main(event_fd: int) -> int:
    """Serve one request; the exit status says only whether an answer was given."""
    request = json.loads(sys.stdin.readline())
    _die_with_parent()
    if request["max_memory_mib"] is not None:
        _limit_memory(request["max_memory_mib"])
    with os.fdopen(event_fd, "w", encoding="utf-8") as events:
        try:
            answer = _serve(request, events)
        except Exception as err:  # noqa: BLE001 - a framework may raise anything; it ends here as an answer
            traceback.print_exc()
            answer = _explain(err)
        _send(events, answer)
    sys.stdout.flush()
    sys.stderr.flush()
    # Tearing TensorFlow down takes a quarter of a second and can crash; everything is written.
    os._exit(0)


def _serve(request: dict[str, Any], events: TextIO) -> dict[str, Any]:
    converter: Any = importlib.import_module(CONVERTERS[request["source_format"]])
    _send(events, {"event": "progress", "text": "loading the model"})
    # A framework's import makes a million objects that stay: collecting among them costs a fifth of the time.
    gc.disable()
    loaded = converter.load(Path(request["path"]), request["source_format"])
    if request["tflite"] is None:
        return {"event": "done", "inputs": loaded.inputs, "outputs": loaded.outputs}
    _send(events, {"event": "progress", "text": "converting"})
    shapes = {name: tuple(shape) for name, shape in request["input_shapes"].items()}
    converted = converter.convert(loaded, batch=request["batch"], input_shapes=shapes)
    Path(request["tflite"]).write_bytes(converted.tflite)
    return {
        "event": "done",
        "input_tensors": converted.input_tensors,
        "output_tensors": converted.output_tensors,
        "inputs": list(loaded.inputs),
        "outputs": list(loaded.outputs),
        "route": converted.route,
        "tools": loaded.tools,
        "findings": [dataclasses.asdict(finding) for finding in converted.findings],
    }


def _explain(err: Exception) -> dict[str, Any]:
    if isinstance(err, MemoryError) or any(words in str(err) for words in OUT_OF_MEMORY):
        return {"event": "out-of-memory"}
    if isinstance(err, OSError) and err.errno == errno.ENOSPC:
        return {
            "event": "error",
            "kind": ConversionError.__name__,
            "message": f"There is no space left for temporary files in {tempfile.gettempdir()}.",
            "hint": "Free some space, or set TMPDIR to a folder with more.",
        }
    if isinstance(err, ConverterError):
        return {"event": "error", "kind": type(err).__name__, "message": err.message, "hint": err.hint}
    return {
        "event": "error",
        "kind": ConversionError.__name__,
        "message": f"The framework failed: {type(err).__name__}: {str(err)[:300]}",
        "hint": "The log holds its full output.",
    }


def _send(events: TextIO, event: dict[str, Any]) -> None:
    events.write(json.dumps(event) + "\n")
    events.flush()


def _die_with_parent() -> None:
    """SIGKILL when the parent is gone, even by SIGKILL (Linux; elsewhere the parent's own cleanup must do)."""
    if not sys.platform.startswith("linux"):
        return
    import ctypes
    import signal

    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, int(signal.SIGKILL), 0, 0, 0)


def _limit_memory(limit_mib: int) -> None:
    import resource

    limit = limit_mib * 1024 * 1024
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))

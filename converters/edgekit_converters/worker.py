"""The child process: JSON requests on stdin, events as JSON lines on a pipe, the .tflite and arrays in files.

The first request says what to convert; after ``converted`` a second one may ask for the source's own outputs.

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

from edgekit_converters.converter import Converter, Loaded
from edgekit_converters.errors import ConversionError, ConverterError
from edgekit_converters.shapes import InputHint
from edgekit_converters.sources import CONVERTERS, ModelSource

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
    def say(text: str) -> None:
        _send(events, {"event": "progress", "text": text})

    source = _source(request["source"])
    hints = {name: InputHint(**{**hint, "shape": _tuple(hint["shape"])}) for name, hint in request["hints"].items()}
    converter: Converter = importlib.import_module(CONVERTERS[source.format])
    say("loading the model")
    # A framework's import makes a million objects that stay: collecting among them costs a fifth of the time.
    gc.disable()
    loaded: Loaded = converter.load(source, hints=hints)
    if request["tflite"] is None:
        return {"event": "done", "inputs": loaded.inputs, "outputs": loaded.outputs}
    converted = converter.convert(loaded, batch=request["batch"], hints=hints, say=say)
    Path(request["tflite"]).write_bytes(converted.tflite)
    _send(
        events,
        {
            "event": "converted",
            "input_tensors": converted.input_tensors,
            "output_tensors": converted.output_tensors,
            "input_permutations": converted.input_permutations,
            "output_permutations": converted.output_permutations,
            "inputs": list(loaded.inputs),
            "outputs": list(loaded.outputs),
            "route": converted.route,
            "tools": loaded.tools,
            "findings": [dataclasses.asdict(finding) for finding in converted.findings],
            "files": _files_below(source.directory) if source.path is None else list(getattr(loaded, "files", ())),
        },
    )
    answer = sys.stdin.readline()
    if answer:
        say("comparing with the source")
        _answer_for(converter, loaded, json.loads(answer))
    return {"event": "done"}


def _source(fields: dict[str, Any]) -> ModelSource:
    weights = Path(fields["weights"]) if fields["weights"] else None
    return ModelSource(**{**fields, "directory": Path(fields["directory"]), "weights": weights})


def _tuple(shape: list[int] | None) -> tuple[int, ...] | None:
    return None if shape is None else tuple(shape)


def _answer_for(converter: Converter, loaded: Loaded, request: dict[str, Any]) -> None:
    """The source's outputs for the samples of an .npz; arrays are called by sample and position."""
    import numpy as np

    outputs: dict[str, Any] = {}
    with np.load(request["samples"], allow_pickle=False) as samples:
        for number in range(request["count"]):
            inputs = {name: samples[f"{number}-{i}"] for i, name in enumerate(request["inputs"])}
            answer = converter.run(loaded, inputs)
            outputs.update({f"{number}-{i}": np.asarray(answer[name]) for i, name in enumerate(request["outputs"])})
    np.savez(request["answers"], **outputs)


def _files_below(directory: Path) -> list[str]:
    """The user's own modules that were imported: what a function's network depends on."""
    folder = directory.resolve()
    found = set()
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        # torch.ops and the like call themselves files that are not there, by relative names
        if not file or not Path(file).is_absolute() or "site-packages" in file:
            continue
        if Path(file).resolve().is_relative_to(folder):
            found.add(Path(file).resolve().relative_to(folder).as_posix())
    return sorted(found)


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

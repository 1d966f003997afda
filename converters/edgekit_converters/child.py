"""Conversion in a child process: a crash, an out-of-memory or a Ctrl-C there is a clear error here.

The parent imports neither numpy nor a framework before the child is done, unless ``warm`` does it meanwhile.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from edgekit_converters.errors import ConversionError, ConverterError, DataError, QuantizationError, SourceError
from edgekit_converters.shapes import OpenShape
from edgekit_converters.sources import detect_format
from edgekit_converters.types import Finding, FloatModel

_ERRORS: dict[str, type[ConverterError]] = {
    kind.__name__: kind for kind in (SourceError, ConversionError, QuantizationError, DataError)
}
_ENVIRONMENT = {
    # A conversion needs no GPU, and looking for one costs time and memory.
    "CUDA_VISIBLE_DEVICES": "-1",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "KERAS_BACKEND": "tensorflow",
    "TF_USE_LEGACY_KERAS": "0",
    # The same bytes from every run.
    "PYTHONHASHSEED": "0",
}
_SIGNALS = {
    signal.SIGKILL: "was killed, most likely because the machine ran out of memory",
    signal.SIGSEGV: "crashed (segmentation fault)",
    signal.SIGABRT: "aborted",
    signal.SIGTERM: "was terminated",
}


def _ignore(_text: str) -> None:
    """Nobody listens to progress."""


def convert(
    path: Path,
    *,
    batch: int = 1,
    input_shapes: Mapping[str, tuple[int, ...]] | None = None,
    log_folder: Path,
    max_memory_mib: int | None = None,
    on_event: Callable[[str], None] = _ignore,
    warm: Callable[[], None] | None = None,
) -> FloatModel:
    """Convert a source model to a float32 .tflite with a static batch and the signature ``serving_default``.

    ``input_shapes`` (name -> shape with the batch) settles open dimensions; ``warm`` runs here while the child works,
    for imports that are needed next. The framework's output goes to a log in ``log_folder`` that is kept only if it
    failed. Raises SourceError or ConversionError.
    """
    source_format = detect_format(path)
    with _workspace() as workspace:
        tflite = workspace / "model.tflite"
        request = {
            "tflite": str(tflite),
            "batch": batch,
            "input_shapes": {name: list(shape) for name, shape in (input_shapes or {}).items()},
        }
        answer = _ask(path, source_format, request, workspace, log_folder, max_memory_mib, on_event, warm)
        data = tflite.read_bytes()
    return _float_model(data, answer, source_format)


def describe(
    path: Path, *, log_folder: Path, on_event: Callable[[str], None] = _ignore
) -> tuple[dict[str, tuple[OpenShape, str]], dict[str, tuple[OpenShape, str]], str]:
    """Inputs and outputs (name -> shape with open dimensions as None, dtype) and source format of a model.

    Raises SourceError or ConversionError.
    """
    source_format = detect_format(path)
    with _workspace() as workspace:
        answer = _ask(path, source_format, {"tflite": None}, workspace, log_folder, None, on_event, None)
    inputs, outputs = (
        {name: (tuple(shape), dtype) for name, (shape, dtype) in answer[side].items()} for side in ("inputs", "outputs")
    )
    return inputs, outputs, source_format


def _float_model(data: bytes, answer: dict[str, Any], source_format: str) -> FloatModel:
    from edgekit_converters.flatbuffer import add_signature, read, shorten_names, signature_specs, write

    model = read(data)
    add_signature(
        model,
        inputs=answer["input_tensors"] or dict.fromkeys(answer["inputs"], ""),
        outputs=answer["output_tensors"] or dict.fromkeys(answer["outputs"], ""),
    )
    shorten_names(model)
    inputs, outputs = signature_specs(model)
    return FloatModel(
        tflite=write(model),
        inputs=inputs,
        outputs=outputs,
        source_format=source_format,
        route=answer["route"],
        tools=answer["tools"],
        findings=tuple(Finding(**finding) for finding in answer["findings"]),
    )


@contextlib.contextmanager
def _workspace() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="edgekit-convert-") as folder:
        yield Path(folder)


def _ask(
    path: Path,
    source_format: str,
    request: dict[str, Any],
    workspace: Path,
    log_folder: Path,
    max_memory_mib: int | None,
    on_event: Callable[[str], None],
    warm: Callable[[], None] | None,
) -> dict[str, Any]:
    whole = {
        "path": str(path.absolute()),
        "source_format": source_format,
        "max_memory_mib": max_memory_mib,
        "batch": 1,
        "input_shapes": {},
        **request,
    }
    log = workspace / "log.txt"
    answer, status = _run(whole, log, on_event, warm)
    if answer is not None and answer["event"] == "done":
        return answer
    if answer is not None and answer["event"] == "error" and answer["kind"] == SourceError.__name__:
        raise SourceError(answer["message"], hint=answer["hint"])  # says everything: no log is needed
    kept = _keep_log(log, log_folder, path)
    if answer is None or answer["event"] == "out-of-memory":
        raise _died(path, status, max_memory_mib, kept, out_of_memory=answer is not None)
    raise _ERRORS[answer["kind"]](answer["message"], hint=f"{answer['hint']} Log: {kept}.")


def _run(
    request: dict[str, Any], log: Path, on_event: Callable[[str], None], warm: Callable[[], None] | None
) -> tuple[dict[str, Any] | None, int]:
    """The child's answer, or None if it died, and its exit status (negative: the signal)."""
    read_fd, write_fd = os.pipe()
    with os.fdopen(read_fd, encoding="utf-8") as events, log.open("wb") as output:
        try:
            process = subprocess.Popen(
                # -P: a `keras.py` in the user's folder must not shadow the framework
                [sys.executable, "-P", "-m", "edgekit_converters.worker", str(write_fd)],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                pass_fds=(write_fd,),
                env={**os.environ, **_ENVIRONMENT},
                start_new_session=True,
            )
        finally:
            os.close(write_fd)
        try:
            _send_request(process, request)
            if warm is not None:
                warm()
            answer = _read_answer(events, on_event)
            return answer, process.wait()
        finally:
            _kill_group(process)


def _send_request(process: "subprocess.Popen[bytes]", request: dict[str, Any]) -> None:
    assert process.stdin is not None  # noqa: S101 - Popen was told to make it
    with contextlib.suppress(BrokenPipeError):  # it died at once: its exit status says how
        process.stdin.write(json.dumps(request).encode() + b"\n")
        process.stdin.close()


def _read_answer(events: Any, on_event: Callable[[str], None]) -> dict[str, Any] | None:
    for line in events:
        event: dict[str, Any] = json.loads(line)
        if event["event"] != "progress":
            return event
        on_event(event["text"])
    return None


def _kill_group(process: "subprocess.Popen[bytes]") -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _keep_log(log: Path, log_folder: Path, path: Path) -> Path:
    try:
        log_folder.mkdir(parents=True, exist_ok=True)
        return Path(shutil.copyfile(log, log_folder / f"convert-{path.name}.log"))
    except OSError:  # a read-only folder must not hide why the conversion failed
        return Path(shutil.copyfile(log, Path(tempfile.mkdtemp(prefix="edgekit-log-")) / "convert.log"))


def _died(path: Path, status: int, max_memory_mib: int | None, log: Path, *, out_of_memory: bool) -> ConversionError:
    # Under a limit a library ends as it likes when an allocation fails: exit 1, abort, a null pointer.
    if out_of_memory or (max_memory_mib is not None and status != -signal.SIGKILL):
        limit = f"the {max_memory_mib} MiB it was allowed" if max_memory_mib else "memory"
        return ConversionError(
            f"The process that converts {path} ran out of {limit}.",
            hint=f"Give it more memory, or convert on a larger machine. Log: {log}.",
        )
    what = f"ended with exit status {status}"
    if status < 0:
        what = _SIGNALS.get(signal.Signals(-status), f"was ended by {signal.Signals(-status).name}")
    return ConversionError(
        f"The process that converts {path} {what}.",
        hint=f"The framework's output is in {log}; with little memory, close other programs or add swap.",
    )

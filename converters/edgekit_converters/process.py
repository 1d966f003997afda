"""The child process seen from the parent: started, spoken to, watched, and ended with everything it started."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edgekit_converters.errors import (
    ConversionError,
    ConverterError,
    DataError,
    MismatchError,
    QuantizationError,
    SourceError,
)

_ERRORS: dict[str, type[ConverterError]] = {
    kind.__name__: kind for kind in (SourceError, ConversionError, MismatchError, QuantizationError, DataError)
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

Answer = dict[str, Any]


def ask(
    request: Answer,
    *,
    what: str,
    workspace: Path,
    log_folder: Path,
    on_event: Callable[[str], None],
    on_converted: Callable[[Answer], Answer | None],
) -> Answer:
    """The child's last answer; ``on_converted`` may give a second request for it.

    Its output goes to a log that is kept in ``log_folder`` only if it failed. Raises the ConverterError that the child
    names, or ConversionError if it died.
    """
    log = workspace / "log.txt"
    answer, status = _run(request, log, on_event, on_converted)
    if answer is not None and answer["event"] == "done":
        return answer
    if answer is not None and answer["event"] == "error" and answer["kind"] == SourceError.__name__:
        raise SourceError(answer["message"], hint=answer["hint"])  # says everything: no log is needed
    kept = _keep_log(log, log_folder, what)
    if answer is None or answer["event"] == "out-of-memory":
        raise _died(what, status, request["max_memory_mib"], kept, out_of_memory=answer is not None)
    raise _ERRORS[answer["kind"]](answer["message"], hint=f"{answer['hint']} Log: {kept}.")


def _run(
    request: Answer,
    log: Path,
    on_event: Callable[[str], None],
    on_converted: Callable[[Answer], Answer | None],
) -> tuple[Answer | None, int]:
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
                # what a killed child leaves in its temporary folder goes with ours
                env={**os.environ, **_ENVIRONMENT, "TMPDIR": str(log.parent)},
                start_new_session=True,
            )
        finally:
            os.close(write_fd)
        try:
            _send(process, request)
            answer = _read(events, process, on_event, on_converted)
            return answer, process.wait()
        finally:
            _kill_group(process)
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()  # type: ignore[union-attr]  # Popen was told to make it


def _send(process: "subprocess.Popen[bytes]", request: Answer) -> None:
    assert process.stdin is not None  # noqa: S101 - Popen was told to make it
    with contextlib.suppress(BrokenPipeError):  # it died at once: its exit status says how
        process.stdin.write(json.dumps(request).encode() + b"\n")
        process.stdin.flush()


def _read(
    events: Any,
    process: "subprocess.Popen[bytes]",
    on_event: Callable[[str], None],
    on_converted: Callable[[Answer], Answer | None],
) -> Answer | None:
    for line in events:
        event: Answer = json.loads(line)
        if event["event"] == "progress":
            on_event(event["text"])
        elif event["event"] == "converted":
            second = on_converted(event)
            if second is None:
                return {"event": "done"}  # nothing more is wanted of it
            _send(process, second)
        else:
            return event
    return None


def _kill_group(process: "subprocess.Popen[bytes]") -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _keep_log(log: Path, log_folder: Path, what: str) -> Path:
    name = f"convert-{Path(what).name.replace(':', '-')}.log"
    try:
        log_folder.mkdir(parents=True, exist_ok=True)
        return Path(shutil.copyfile(log, log_folder / name))
    except OSError:  # a read-only folder must not hide why the conversion failed
        return Path(shutil.copyfile(log, Path(tempfile.mkdtemp(prefix="edgekit-log-")) / "convert.log"))


def _died(what: str, status: int, max_memory_mib: int | None, log: Path, *, out_of_memory: bool) -> ConversionError:
    # Under a limit a library ends as it likes when an allocation fails: exit 1, abort, a null pointer.
    if out_of_memory or (max_memory_mib is not None and status != -signal.SIGKILL):
        limit = f"the {max_memory_mib} MiB it was allowed" if max_memory_mib else "memory"
        return ConversionError(
            f"The process that converts {what} ran out of {limit}.",
            hint=f"Give it more memory, or convert on a larger machine. Log: {log}.",
        )
    how = f"ended with exit status {status}"
    if status < 0:
        how = _SIGNALS.get(signal.Signals(-status), f"was ended by {signal.Signals(-status).name}")
    return ConversionError(
        f"The process that converts {what} {how}.",
        hint=f"The framework's output is in {log}; with little memory, close other programs or add swap.",
    )

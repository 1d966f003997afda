"""An external compiler as a process: in its own group, with a limit of time and of output, gone when we are."""

import contextlib
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from edgekit.compilers.types import CompileRequest, Ran
from edgekit.errors import CompilerError

TIMEOUT_S = 1800.0
MAX_OUTPUT_BYTES = 16 * 2**20
"""Many times what a compiler says of a model with thousands of layers."""
MAX_MADE_BYTES = 2**31 - 1
"""Of a file that a compiler makes: as large as a .tflite can be."""
TICK_S = 0.05
"""How often it is looked whether the process still lives: what it started may hold its output open."""
CHUNK_BYTES = 2**16
LAST_LINES = 3
SIGNALS = {
    signal.SIGKILL: "was killed, most likely because the machine ran out of memory",
    signal.SIGSEGV: "crashed (segmentation fault)",
    signal.SIGFPE: "crashed (SIGFPE, an arithmetic error)",
    signal.SIGABRT: "aborted",
    signal.SIGTERM: "was terminated",
}


def run_tool(
    request: CompileRequest,
    command: tuple[str, ...],
    said: Callable[[str], None],
    *,
    timeout_s: float = TIMEOUT_S,
    environment: Mapping[str, str] | None = None,
) -> Ran:
    """Run ``command`` in ``request.folder``; ``said`` is told its lines, ``request.log`` gets all of them.

    However this ends (Ctrl-C and SIGTERM too), every process that it started is killed. ``environment`` replaces
    ours. Raises CompilerError where it cannot be started, takes longer than ``timeout_s`` seconds, or says more than
    ``MAX_OUTPUT_BYTES``.
    """
    kept = bytearray()
    with request.log.open("wb") as log, _started(command, request.folder, environment) as process:
        for chunk in _chunks(process, command, timeout_s):
            log.write(chunk)
            kept += chunk
            line = chunk.decode(errors="replace").strip().rpartition("\n")[2]
            if line:
                said(line)
        return Ran(status=process.wait(), output=kept.decode(errors="replace"))


def ask(
    command: Sequence[str],
    *,
    timeout_s: float,
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> Ran:
    """What a tool says in a short call, such as its version; limits and errors as of ``run_tool``."""
    with _started(command, folder, environment) as process:
        output = b"".join(_chunks(process, command, timeout_s))
        return Ran(status=process.wait(), output=output.decode(errors="replace"))


def read_made(path: Path) -> bytes:
    """A file that a tool wrote; raises CompilerError for a link, and for one that no accelerator's memory holds."""
    if path.is_symlink():
        raise CompilerError(f"{path.name} is a link and no file of its own.", hint="Look into the log for its errors.")
    size = path.stat().st_size
    if size > MAX_MADE_BYTES:
        raise CompilerError(
            f"{path.name} has {size:,} bytes, more than {MAX_MADE_BYTES:,}.", hint="Look into the log for its errors."
        )
    return path.read_bytes()


@contextlib.contextmanager
def _started(
    command: Sequence[str], folder: Path | None, environment: Mapping[str, str] | None
) -> "Iterator[subprocess.Popen[bytes]]":
    """The running tool; its whole group is killed at the end."""
    try:
        process = subprocess.Popen(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=None if environment is None else dict(environment),
            start_new_session=True,
        )
    except OSError as err:
        message = f"{Path(command[0]).name} cannot be started: {err.strerror}."
        raise CompilerError(message, hint="Check that it is executable.") from err
    try:
        yield process
    finally:
        kill_group(process)


def how_it_ended(name: str, ran: Ran) -> str:
    """``vela ended with exit status 1: last line``, for an error's message."""
    how = f"ended with exit status {ran.status}"
    if ran.status < 0:
        number = -ran.status
        known = number in set(signal.Signals)
        how = SIGNALS.get(signal.Signals(number), "") if known else ""
        how = how or f"was ended by signal {signal.Signals(number).name if known else number}"
    last = [line.strip() for line in ran.output.splitlines() if line.strip()]
    last = last[-1:] if any(line.startswith("Traceback (most recent") for line in last) else last[-LAST_LINES:]
    return f"{name} {how}: {' / '.join(last)}" if last else f"{name} {how} and said nothing."


def _chunks(process: "subprocess.Popen[bytes]", command: Sequence[str], timeout_s: float) -> Iterator[bytes]:
    """What it says, until it ends; raises CompilerError past ``timeout_s`` and ``MAX_OUTPUT_BYTES``."""
    assert process.stdout is not None  # noqa: S101 - Popen was told to make it
    name, count = Path(command[0]).name, 0
    end = time.monotonic() + timeout_s
    with process.stdout as stream, selectors.DefaultSelector() as selector:
        os.set_blocking(stream.fileno(), False)
        selector.register(stream, selectors.EVENT_READ)
        while True:
            ended = process.poll() is not None  # asked first: what it said before it ended is still read
            ready = selector.select(0 if ended else TICK_S)
            chunk = os.read(stream.fileno(), CHUNK_BYTES) if ready else b""
            count += len(chunk)
            if count > MAX_OUTPUT_BYTES:
                raise CompilerError(
                    f"{name} said more than {MAX_OUTPUT_BYTES // 2**20} MiB and was ended.",
                    hint="Look into its log; it does not do what a compiler does.",
                )
            if chunk:
                yield chunk
            elif ended:
                return
            elif ready:  # it closed its output and lives on
                time.sleep(TICK_S)
            if time.monotonic() > end:
                raise CompilerError(
                    f"{name} did not end within {timeout_s:g} s and was ended.",
                    hint="Look into its log for what it was doing; a smaller model or another setting may help.",
                )


def kill_group(process: "subprocess.Popen[bytes]") -> None:
    """End a process that was started in a session of its own, with all that it started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()

"""``bench``: fresh processes, one after the other, interleaved over the thread counts."""

from contextlib import contextmanager
from typing import Any, BinaryIO, Dict, Iterator, Optional

from .cache import fetch
from .child import run_child
from .events import AgentError, Emit, Request, Result
from .machine import describe, read_state
from .sensors.cpufreq import restore_governor, set_governor


def bench(request: Request, stdin: BinaryIO, emit: Emit) -> Result:
    """The ``bench`` command; the host keeps stdin open, and its end stops the run.

    request: ``root``; ``files`` (see ``cache.fetch``); ``model`` (sha256), ``inputs`` (input name -> sha256);
    ``processes``, ``num_threads`` (list), ``governor`` (or None), and what ``measure.bench_process`` takes.

    Emits ``machine``, ``started`` before and ``process`` after each process, ``alive`` while one runs long.
    Returns the machine's state ``before`` and ``after`` it all.
    """
    paths = fetch(request["root"], request["files"], stdin, emit)
    emit("machine", **describe())
    options = {key: request[key] for key in ("delegate", "num_runs", "warmup_runs", "min_secs", "cpus")}
    options["model"] = paths[request["model"]]
    options["inputs"] = {name: paths[digest] for name, digest in request["inputs"].items()}
    before = read_state(slow=True)
    with governor(request["governor"]):
        for number in range(request["processes"]):
            for threads in request["num_threads"]:
                _measure(dict(options, num_threads=threads), number, stdin, emit)
        after = read_state(slow=True)
    return {"before": before, "after": after}


def _measure(options: Dict[str, Any], number: int, stdin: BinaryIO, emit: Emit) -> None:
    place = {"process": number, "num_threads": options["num_threads"]}
    emit("started", **place)
    emit("process", **dict(run_child("bench-process", options, stdin, lambda: emit("alive", **place)), **place))


@contextmanager
def governor(name: Optional[str], root: str = "/") -> Iterator[None]:
    """Run with this CPU governor; what was there comes back however the block ends."""
    if name is None:
        yield
        return
    before = set_governor(name, root)
    failed = None
    try:
        yield
    finally:
        failed = restore_governor(before, root)
    if failed:
        raise AgentError("device", "The governor could not be restored: %s." % failed, "Set it by hand.")

"""``bench``: fresh processes, one after the other, interleaved over the configurations."""

from contextlib import contextmanager
from typing import Any, BinaryIO, Dict, Iterator, Optional

from .cache import fetch
from .child import run_child
from .cooldown import cool_down_as_asked
from .events import AgentError, Emit, Request, Result
from .machine import describe, read_state
from .sensors.cpufreq import restore_governor, set_governor


def bench(request: Request, stdin: BinaryIO, emit: Emit) -> Result:
    """The ``bench`` command; the host keeps stdin open, and its end stops the run.

    request: ``root``; ``files`` (see ``cache.fetch``); ``configurations``: list of ``model`` (sha256), ``inputs``
    (input name -> sha256), ``delegate``, ``delegate_options`` and ``num_threads``; ``processes`` (for each of them),
    ``governor`` (or None), ``keep_going``, ``cooldown`` (see ``cooldown.cool_down_as_asked``), and what else
    ``measure.bench_process`` takes.

    Emits ``machine``, ``started`` before and ``process`` after each process, ``alive`` while one runs long. With
    ``keep_going`` a configuration that fails is left out from then on, and ``failed`` says why; otherwise its
    AgentError ends the run. Returns the machine's state ``before`` and ``after`` it all.
    """
    return take_turns("bench-process", request, stdin, emit)


def take_turns(command: str, request: Request, stdin: BinaryIO, emit: Emit) -> Result:
    """``bench`` with another ``command`` in the fresh processes; it gets a configuration's own keys, too."""
    paths = fetch(request["root"], request["files"], stdin, emit)
    emit("machine", **describe())
    options = {key: request[key] for key in ("num_runs", "warmup_runs", "min_secs", "cpus")}
    left = [(place, dict(options, **_on_disk(item, paths))) for place, item in enumerate(request["configurations"])]
    cool_down_as_asked(request["cooldown"], stdin, emit)
    before = read_state(slow=True)
    with governor(request["governor"]):
        for number in range(request["processes"]):
            for place, item in list(left):
                try:
                    _measure(command, item, {"process": number, "configuration": place}, stdin, emit)
                except AgentError as err:
                    if not request["keep_going"]:
                        raise
                    left.remove((place, item))
                    emit("failed", configuration=place, message=err.message, hint=err.hint)
        after = read_state(slow=True)
    return {"before": before, "after": after}


def _on_disk(configuration: Dict[str, Any], paths: Dict[str, str]) -> Dict[str, Any]:
    inputs = {name: paths[digest] for name, digest in configuration["inputs"].items()}
    return dict(configuration, model=paths[configuration["model"]], inputs=inputs)


def _measure(command: str, options: Dict[str, Any], place: Dict[str, Any], stdin: BinaryIO, emit: Emit) -> None:
    place = dict(place, num_threads=options["num_threads"])
    emit("started", **place)
    emit("process", **dict(run_child(command, options, stdin, lambda: emit("alive", **place)), **place))


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

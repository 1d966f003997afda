"""What the agent's ``compare`` says -> frozen values: rounds of fresh processes that took turns."""

from collections.abc import Iterable
from typing import Annotated, Any

import msgspec

from edgekit.bench.samples import Count, MachineFacts, MachineState, Milliseconds, RuntimeFacts
from edgekit.documents import Document, convert
from edgekit.errors import DeviceFaultError

Block = Annotated[int, msgspec.Meta(ge=1, le=2**62)]
MAX_EVENTS = 100_000
MAX_ROUNDS = 1000
Models = msgspec.Meta(max_length=100)
SILENT = ("need", "cooling", "started", "alive")
"""Events that only say where the run is."""


class RoundProcess(Document, frozen=True, kw_only=True):
    """The fresh process of one model in one round."""

    runtime: RuntimeFacts
    load_ms: Milliseconds
    """Loading, delegate and allocation; without importing the runtime."""
    first_ms: Milliseconds
    rss_before_load_bytes: Count | None
    blocks_ns: Annotated[tuple[Block, ...], msgspec.Meta(min_length=2, max_length=10_000)]
    """Median of each block; the n-th of every process of the round belong to the same turn."""
    num_runs: Annotated[int, msgspec.Meta(ge=1, le=2**62)]
    """Timed inferences in all blocks."""


class Round(Document, frozen=True, kw_only=True):
    """One fresh process of each model, side by side."""

    round: Count
    cpus: Annotated[tuple[Count, ...], msgspec.Meta(max_length=10_000)] | None
    """What all of its processes were bound to; None: the scheduler had the choice."""
    order: Annotated[tuple[Count, ...], Models]
    """Who went first; every second turn went the other way round."""
    processes: Annotated[tuple[RoundProcess, ...], Models]
    """In the order of the models."""
    during: Annotated[tuple[MachineState, ...], msgspec.Meta(min_length=2, max_length=1000)]
    """Before the first and after the last block; CPU time of the processes counts as own."""


class Rounds(Document, frozen=True, kw_only=True):
    """Everything the agent said in one run of ``compare``."""

    machine: MachineFacts
    rounds: tuple[Round, ...]
    before: MachineState
    after: MachineState


class _Done(Document, frozen=True, kw_only=True):
    before: MachineState
    after: MachineState


KINDS: dict[str, Any] = {"machine": MachineFacts, "round": Round, "done": _Done}


def collect_rounds(events: Iterable[dict[str, Any]], *, device: str, models: int, min_rounds: int) -> Rounds:
    """All events of a run; raises DeviceFaultError for malformed ones, too many, or rounds that are missing."""
    found: dict[str, list[Any]] = {name: [] for name in KINDS}
    for count, event in enumerate(events):
        name = str(event.get("event"))
        if count > MAX_EVENTS or len(found["round"]) > MAX_ROUNDS:
            raise _contradiction(device, f"more than {MAX_EVENTS} events or {MAX_ROUNDS} rounds")
        if name in SILENT:
            continue
        if name not in KINDS:
            raise _contradiction(device, f"a {name[:40]!r} event")
        fields = {key: value for key, value in event.items() if key != "event"}
        found[name].append(
            convert(fields, KINDS[name], DeviceFaultError, where=f"{device}: the agent's {name!r} event")
        )
    rounds: list[Round] = found["round"]
    if len(found["machine"]) != 1 or len(found["done"]) != 1 or len(rounds) < min_rounds:
        raise _contradiction(device, f"{len(rounds)} rounds of at least {min_rounds} and an end")
    for place, item in enumerate(rounds):
        turns = {len(process.blocks_ns) for process in item.processes}
        complete = item.round == place and len(item.processes) == models and len(turns) == 1
        if not complete or sorted(item.order) != list(range(models)):
            raise _contradiction(device, f"round {item.round} does not hold {models} models with as many turns each")
    return Rounds(
        machine=found["machine"][0], rounds=tuple(rounds), before=found["done"][0].before, after=found["done"][0].after
    )


def _contradiction(device: str, what: str) -> DeviceFaultError:
    return DeviceFaultError(
        f"{device}: the agent's answer does not fit the request: {what}.",
        hint="Something else than edgekit's agent answers there; run it again with -v.",
    )

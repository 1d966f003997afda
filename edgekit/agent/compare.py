"""``compare``: rounds of fresh processes, one a model, that take turns in short timed blocks on the same CPUs.

What a process is lucky or unlucky with (its memory layout) stays with it, so every round starts new ones. What the
machine does meanwhile changes within seconds, so blocks are milliseconds long and mirrored (A B B A). And CPUs of one
machine differ by per cents from each other at any moment, so the models of a round share the same ones.
"""

import os
import time
from typing import Any, BinaryIO, Callable, Dict, List, Optional

from .bench import governor
from .cache import fetch
from .child import Child
from .cooldown import cool_down_as_asked
from .events import AgentError, Emit, Request, Result
from .machine import describe, read_state
from .sensors import read_text


def compare(request: Request, stdin: BinaryIO, emit: Emit) -> Result:
    """The ``compare`` command; the host keeps stdin open, and its end stops the run.

    request: ``root``; ``files`` (see ``cache.fetch``); ``configurations``: list of ``model`` (sha256), ``inputs``
    (input name -> sha256), ``delegate``, ``delegate_options``, ``num_threads``; ``cpus``, ``governor`` (or None),
    ``cooldown``; ``warmup_runs``, ``warmup_s``; ``block_s`` and ``block_runs``: how long a block is, at least, and
    ``block_most_s``, where the runs of slow models end it; ``round_s``: how long the blocks of a round last together,
    about; ``min_passes``, ``max_passes``: how often each model has its turn, even numbers; ``min_rounds``,
    ``max_rounds`` and ``max_secs``: when the rounds end, which never depends on what they found.

    Emits ``machine``, then ``started`` before and ``round`` after each round, ``alive`` while one is long. Returns the
    machine's state ``before`` and ``after`` it all.
    """
    paths = fetch(request["root"], request["files"], stdin, emit)
    emit("machine", **describe())
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # the children's numpy would start a thread a core, for nothing
    options = [
        {
            "model": paths[item["model"]],
            "inputs": {name: paths[digest] for name, digest in item["inputs"].items()},
            "delegate": item["delegate"],
            "delegate_options": item.get("delegate_options"),
            "num_threads": item["num_threads"],
        }
        for item in request["configurations"]
    ]
    groups = cpu_groups(request["cpus"], max(item["num_threads"] for item in options))
    cool_down_as_asked(request["cooldown"], stdin, emit)
    before = read_state(slow=True)
    with governor(request["governor"]):
        start, longest, number = time.monotonic(), 0.0, 0
        while number < request["min_rounds"] or (
            number < request["max_rounds"] and time.monotonic() - start + longest < request["max_secs"]
        ):
            round_start = time.monotonic()
            emit("started", round=number)
            # every model goes first on every group of CPUs
            cpus = groups[number // len(options) % len(groups)]
            found = _round([dict(item, cpus=cpus) for item in options], number, request, stdin, emit)
            emit("round", round=number, cpus=cpus, **found)
            longest = max(longest, time.monotonic() - round_start)
            number += 1
        after = read_state(slow=True)
    return {"before": before, "after": after}


def cpu_groups(cpus: Optional[List[int]], num_threads: int, root: str = "/") -> List[Optional[List[int]]]:
    """Sets of ``num_threads`` CPUs out of ``cpus`` (None: all that we may use), for the rounds to take turns on.

    Of unequal cores (``cpu_capacity`` of sysfs: big.LITTLE) the large ones, where there are enough of them. Without
    CPUs to choose from there is one group, and the scheduler has the choice.
    """
    allowed = sorted(os.sched_getaffinity(0)) if cpus is None else cpus
    capacities = {cpu: _capacity(cpu, root) for cpu in allowed}
    large = [cpu for cpu in allowed if capacities[cpu] == max(capacities.values())]
    chosen = large if len(large) >= num_threads and cpus is None else allowed
    whole = len(chosen) // num_threads
    if whole == 0:
        return [cpus]
    return [chosen[place * num_threads : (place + 1) * num_threads] for place in range(whole)]


def _capacity(cpu: int, root: str) -> int:
    text = read_text(root, "sys/devices/system/cpu/cpu%d/cpu_capacity" % cpu) or ""
    return int(text) if text.isdigit() else 0


def _round(options: List[Dict[str, Any]], number: int, request: Request, stdin: BinaryIO, emit: Emit) -> Dict[str, Any]:
    """Start a process for each model, all at once, let them take turns, end them."""

    def alive() -> None:
        emit("alive", round=number)

    children: List[Child] = []
    try:
        for item in options:
            children.append(Child("compare-process", item))  # noqa: PERF401 - those before one that fails are ended
        facts = [_named(place, child.hear, stdin, alive) for place, child in enumerate(children)]
        warm = {"secs": request["warmup_s"], "runs": request["warmup_runs"], "most_secs": None}
        warmed = [_named(place, child.ask, warm, stdin, alive) for place, child in enumerate(children)]
        passes = _passes([answer["median_ns"] / 1e9 for answer in warmed], request)
        order = [(number + place) % len(children) for place in range(len(children))]
        blocks: List[List[int]] = [[] for _ in children]
        states = [_state(options[0]["cpus"], warmed)]
        block = {"secs": request["block_s"], "runs": request["block_runs"], "most_secs": request["block_most_s"]}
        runs, last = [0] * len(children), list(warmed)
        for turn in range(passes):
            for place in order if turn % 2 == 0 else order[::-1]:
                last[place] = _named(place, children[place].ask, block, stdin, alive)
                blocks[place].append(last[place]["median_ns"])
                runs[place] += last[place]["runs"]
        states.append(_state(options[0]["cpus"], last))
    finally:
        for child in children:
            child.kill()
    keys = ("runtime", "load_ms", "first_ms", "rss_before_load_bytes")
    return {
        "order": order,
        "processes": [
            dict({key: fact[key] for key in keys}, blocks_ns=blocks[place], num_runs=runs[place])
            for place, fact in enumerate(facts)
        ],
        "during": states,
    }


def _named(place: int, speak: Callable[..., Dict[str, Any]], *arguments: Any) -> Dict[str, Any]:
    """What a child answers; its AgentError says which of the models it was."""
    try:
        return speak(*arguments)
    except AgentError as err:
        raise AgentError(err.kind, "Model %d: %s" % (place + 1, err.message), err.hint, err.details) from err


def _passes(seconds: List[float], request: Request) -> int:
    """How many times each model has its turn in a round: an even number, for the order to be mirrored."""
    runs = [min(request["block_runs"] * value, max(request["block_most_s"], value)) for value in seconds]
    once = sum(max(request["block_s"], value) for value in runs)
    least, most = int(request["min_passes"]), int(request["max_passes"])
    return max(least, min(most, int(request["round_s"] / once) // 2 * 2))


def _state(cpus: Optional[List[int]], answers: List[Dict[str, Any]]) -> Dict[str, Any]:
    """The machine as the children see it: on their CPU, and what they used of it is not another's."""
    state = read_state()
    state["cpu"] = cpus[0] if cpus is not None and len(cpus) == 1 else None
    if state["cpu_time_s"] is not None:
        state["cpu_time_s"]["own"] += sum(answer["cpu_s"] for answer in answers)
    return state

"""``coverage``: which nodes a delegate really took, read from the runtime and not from what was expected.

Two routes. A run in which every op that is delegated gets a DELEGATE node of its own names the op by its outputs
(ai-edge-litert: ``experimental_disable_delegate_node_fusion``). In a run as it always is, what lies between a DELEGATE
node's outputs and its inputs is what it runs; every runtime tells that. Nodes of DELEGATE that are there before the
tensors are allocated are the external delegate's, later ones XNNPACK's, which takes from what is left.
"""

import time
from typing import Any, BinaryIO, Callable, Dict, List, Mapping, NamedTuple, Optional, Sequence, Set

from . import runtime
from .cache import fetch
from .child import run_child
from .delegates import library_facts
from .events import AgentError, Emit, Request, Result
from .layout import sha256

DELEGATE = "DELEGATE"
TIMEOUT_S = 600.0
"""Some delegates compile the model when they load it, for minutes."""
EXTERNAL = "external"
OWNERS = (EXTERNAL, runtime.XNNPACK)
"""Who may take nodes, in this order."""

Ops = Sequence[Mapping[str, Any]]
"""``_get_ops_details()``: the model's own ops in the order of the file, then a DELEGATE for every partition."""


class Taken(NamedTuple):
    """What delegates took of subgraph 0."""

    ops: List[str]
    """The model's own ops."""
    nodes: Dict[str, List[int]]
    """``external`` and ``xnnpack`` -> indices into ``ops``."""
    partitions: Dict[str, int]


def coverage(request: Request, stdin: BinaryIO, emit: Emit) -> Result:
    """The ``coverage`` command; the model is loaded in a process of its own, as a delegate may crash.

    request: ``root``; ``files`` (see ``cache.fetch``); ``model`` (sha256), ``delegate``, ``delegate_options``,
    ``num_threads``. Returns what ``coverage_process`` does.
    """
    paths = fetch(request["root"], request["files"], stdin, emit)
    options = {key: request[key] for key in ("delegate", "delegate_options", "num_threads")}
    try:
        asked = dict(options, model=paths[request["model"]])
        return run_child("coverage-process", asked, stdin, _watchdog(options["delegate"], emit))
    except AgentError as err:
        found = runtime.describe_surroundings()
        if err.details.get("status") is None or not _is_library(options["delegate"]):
            raise AgentError(err.kind, err.message, err.hint, dict(err.details, **found)) from err
        raise AgentError(
            err.kind,
            "%s crashed with %s %s: %s" % (options["delegate"], found["runtime"], found["version"], err.message),
            "Mostly such a library was built for another version of the runtime: install the pair its vendor names "
            "(`edgekit device setup NAME` installs a runtime), or use --delegate xnnpack.",
            dict(err.details, **found),
        ) from err


def _watchdog(delegate: str, emit: Emit) -> Callable[[], None]:
    """To be called now and then: keeps the host informed, and ends a delegate that hangs."""
    end = time.monotonic() + TIMEOUT_S

    def check_time() -> None:
        emit("alive")
        if time.monotonic() > end:
            raise AgentError(
                "device",
                "Loading the model on %s did not finish within %g s." % (delegate, TIMEOUT_S),
                "The delegate hangs: check its hardware and its driver, or try xnnpack or none.",
            )

    return check_time


def coverage_process(request: Request, _stdin: BinaryIO, _emit: Emit) -> Result:
    """The ``coverage-process`` command: the child of ``coverage``; ``model`` is a path.

    Returns ``runtime`` ({name, version}), ``ops`` (names, subgraph 0), ``taken`` (list of ``delegate``, ``nodes``:
    indices into ``ops``, ``partitions``), ``route`` (``node by node`` or ``walked back``), ``differ`` (nodes that the
    two routes do not agree on; what counts then is the run as it always is), and ``library`` (see ``library_facts``,
    and ``sha256``; None for the runtime's own delegates).
    """
    fused = _open(request)
    found, route, differ = walk_back(fused.ops(), fused.nodes_before), "walked back", []  # type: Taken, str, List[int]
    if runtime.tells_nodes():
        single = _open(request, fusion=False)
        each = node_by_node(single.ops(), single.nodes_before)
        differ = sorted({node for name in OWNERS for node in set(each.nodes[name]) ^ set(found.nodes[name])})
        route = route if differ else "node by node"
    return {
        "runtime": {"name": fused.runtime, "version": fused.version},
        "ops": found.ops,
        "taken": describe(found, request["delegate"]),
        "route": route,
        "differ": differ,
        "library": _library(request["delegate"]),
    }


def describe(found: Taken, delegate: str) -> List[Dict[str, Any]]:
    """``delegate``, ``nodes`` and ``partitions`` of each that took something; ``delegate``: the one asked for."""
    return [
        {
            "delegate": delegate if name == EXTERNAL else name,
            "nodes": found.nodes[name],
            "partitions": found.partitions[name],
        }
        for name in OWNERS
        if found.partitions[name]
    ]


def walk_back(ops: Ops, before: int) -> Taken:
    """From the outputs of each DELEGATE node back over the model's own ops to its inputs; ``before``: see ``_owner``.

    An op in a delegate's partition whose outputs nobody reads is not reached. The runtime writes -1 for an input that
    is left out and for a WHILE's output that nobody reads: it is no tensor.
    """
    own, delegated = _split(ops)
    producers = {int(tensor): op for op in own for tensor in op["outputs"] if tensor >= 0}
    nodes: Dict[str, Set[int]] = {name: set() for name in OWNERS}
    for node in delegated:
        reached = nodes[_owner(node, before)]
        seen = {int(tensor) for tensor in node["inputs"]}
        waiting = [int(tensor) for tensor in node["outputs"]]
        while waiting:
            tensor = waiting.pop()
            producer = producers.get(tensor)
            if tensor in seen or producer is None:
                continue
            seen.add(tensor)
            reached.add(int(producer["index"]))
            waiting.extend(int(source) for source in producer["inputs"])
    return _taken(own, delegated, nodes, before)


def node_by_node(ops: Ops, before: int) -> Taken:
    """Each DELEGATE node stands for the one op that has its outputs; partitions mean nothing in such a run.

    An op without outputs (ASSIGN_VARIABLE) is known by its inputs.
    """
    own, delegated = _split(ops)
    producers = {int(tensor): int(op["index"]) for op in own for tensor in op["outputs"]}
    sinks = {tuple(map(int, op["inputs"])): int(op["index"]) for op in own if not len(op["outputs"])}
    nodes: Dict[str, Set[int]] = {name: set() for name in OWNERS}
    for node in delegated:
        nodes[_owner(node, before)].update(
            producers[int(tensor)] for tensor in node["outputs"] if int(tensor) in producers
        )
        if not len(node["outputs"]) and tuple(map(int, node["inputs"])) in sinks:
            nodes[_owner(node, before)].add(sinks[tuple(map(int, node["inputs"]))])
    return _taken(own, delegated, nodes, before)


def _split(ops: Ops) -> "tuple[List[Mapping[str, Any]], List[Mapping[str, Any]]]":
    """The model's own ops, and the DELEGATE nodes, which come after them."""
    count = next((place for place, op in enumerate(ops) if op["op_name"] == DELEGATE), len(ops))
    return list(ops[:count]), [op for op in ops[count:] if op["op_name"] == DELEGATE]


def _owner(node: Mapping[str, Any], before: int) -> str:
    """Whose a DELEGATE node is; ``before``: how many nodes there were before the tensors were allocated."""
    return EXTERNAL if int(node["index"]) < before else runtime.XNNPACK


def _taken(
    own: Sequence[Mapping[str, Any]], delegated: Sequence[Mapping[str, Any]], nodes: Mapping[str, Set[int]], before: int
) -> Taken:
    owners = [_owner(node, before) for node in delegated]
    return Taken(
        ops=[str(op["op_name"]) for op in own],
        nodes={name: sorted(nodes[name]) for name in OWNERS},
        partitions={name: owners.count(name) for name in OWNERS},
    )


def _open(request: Request, fusion: bool = True) -> runtime.Model:
    return runtime.Model(
        request["model"],
        request["delegate"],
        request["num_threads"],
        delegate_options=request["delegate_options"],
        fusion=fusion,
    )


def _is_library(delegate: str) -> bool:
    return delegate not in (runtime.XNNPACK, runtime.NONE)


def _library(delegate: str) -> Optional[Dict[str, Any]]:
    if not _is_library(delegate):
        return None
    facts = library_facts(delegate)
    return dict(facts, sha256=None if facts["path"] is None else sha256(facts["path"]))

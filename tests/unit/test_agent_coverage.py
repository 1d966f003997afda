"""What a delegate took, read from the runtime: XNNPACK on and off, and a real external delegate."""

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.agent import coverage
from edgekit.agent.child import run_child
from edgekit.agent.coverage import EXTERNAL, node_by_node, walk_back
from edgekit.agent.events import AgentError
from edgekit.agent.runtime import NONE, XNNPACK, Model
from edgekit.placement.entries import CPU
from edgekit.placement.partition import Step, delegate
from tests.unit.delegate_library import build_text
from tests.unit.delegate_models import chain

pytestmark = pytest.mark.unit

OPS = ("ADD", "MUL", "SIN", "RELU", "ADD")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "chain.tflite"
    path.write_bytes(chain(OPS))
    return path


def ask(model: Path, delegate: str, options: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The child command, in a process of its own as on a device."""
    request = {"model": str(model), "delegate": delegate, "delegate_options": dict(options or {}), "num_threads": 1}
    return dict(run_child("coverage-process", request))


def test_an_external_delegate_and_xnnpack_share_a_model(model: Path, elementwise: Path) -> None:
    found = ask(model, str(elementwise))

    assert found["ops"] == list(OPS)
    assert found["taken"] == [
        {"delegate": str(elementwise), "nodes": [0, 1, 3, 4], "partitions": 2},
        {"delegate": "xnnpack", "nodes": [2], "partitions": 1},
    ]
    assert found["route"] == "node by node"
    assert found["differ"] == []
    assert found["library"]["path"] == str(elementwise.resolve())
    assert found["library"]["bytes"] == elementwise.stat().st_size
    assert len(found["library"]["sha256"]) == 64
    assert found["library"]["version"] is None


def test_options_reach_the_delegate(model: Path, elementwise: Path) -> None:
    found = ask(model, str(elementwise), {"ops": "MUL"})

    assert found["taken"][0] == {"delegate": str(elementwise), "nodes": [1], "partitions": 1}
    assert found["taken"][1]["nodes"] == [0, 2, 3, 4]


def test_a_delegate_that_takes_nothing_is_not_among_those_that_took(model: Path, elementwise: Path) -> None:
    assert [item["delegate"] for item in ask(model, str(elementwise), {"ops": "nothing"})["taken"]] == ["xnnpack"]


def test_xnnpack_on_and_off(model: Path) -> None:
    on, off = ask(model, XNNPACK), ask(model, NONE)

    assert on["taken"] == [{"delegate": "xnnpack", "nodes": [0, 1, 2, 3, 4], "partitions": 1}]
    assert on["library"] is None
    assert off["taken"] == []


def test_a_library_on_the_loaders_way_is_found_by_its_name(
    model: Path, elementwise: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LD_LIBRARY_PATH", str(elementwise.parent))

    found = ask(model, elementwise.name)

    assert found["taken"][0]["delegate"] == elementwise.name
    assert found["library"]["path"] == str(elementwise.resolve())


@pytest.mark.parametrize("fail", ["load", "crash_prepare"])
def test_a_delegate_that_crashes_is_an_error_that_names_it(model: Path, elementwise: Path, fail: str) -> None:
    with pytest.raises(AgentError) as caught:
        ask(model, str(elementwise), {"fail": fail})

    assert "was killed by SIGSEGV" in caught.value.message
    assert "delegate" in caught.value.hint


def test_a_process_that_crashes_after_it_said_why_is_believed(model: Path, elementwise: Path) -> None:
    """The runtime's Python destroys a delegate that it never got, which not every library survives."""
    with pytest.raises(AgentError, match="elementwise: no device found"):
        ask(model, str(elementwise), {"fail": "create_badly"})


CREATE = """#include <unistd.h>
void* tflite_plugin_create_delegate(char** k, char** v, unsigned long n, void (*r)(const char*)) {
  (void)k, (void)v, (void)n;
  %s
  r("no device found");
  return 0;
}
void tflite_plugin_destroy_delegate(void* d) { (void)d; }
"""
WRITES = 'for (int i = 3; i < 12; i++) if (write(i, "[1]\\n{\\n", 6) < 0) continue;'


@pytest.mark.slow
def test_a_delegate_that_leaves_a_process_behind_is_not_waited_for(tmp_path: Path, model: Path) -> None:
    library = build_text(tmp_path / "libforks.so", CREATE % "if (fork() == 0) { sleep(15); _exit(0); }")
    begin = time.monotonic()
    with pytest.raises(AgentError, match="no device found"):
        ask(model, str(library))
    assert time.monotonic() - begin < 12  # a heartbeat and a start


def test_a_delegate_that_writes_between_our_events_does_not_confuse_us(tmp_path: Path, model: Path) -> None:
    library = build_text(tmp_path / "libwrites.so", CREATE % WRITES)
    with pytest.raises(AgentError, match=r"no device found|ended with status 1"):
        ask(model, str(library))


@pytest.mark.slow
def test_a_delegate_that_hangs_is_ended(tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library = build_text(tmp_path / "libhangs.so", CREATE % "for (;;) sleep(100);")
    monkeypatch.setattr(coverage, "TIMEOUT_S", 0.0)
    monkeypatch.setattr(coverage, "fetch", lambda *_: {"0": str(model)})
    request = {"root": "", "files": [], "model": "0", "delegate": str(library)}
    ours, theirs = os.pipe()  # the host's line, on which nothing comes
    with (
        os.fdopen(ours, "rb") as host,
        os.fdopen(theirs, "wb"),
        pytest.raises(AgentError, match="did not finish within 0 s"),
    ):
        coverage.coverage({**request, "delegate_options": {}, "num_threads": 1}, host, lambda *_: None)


def test_the_delegate_of_these_tests_computes_what_the_runtime_does(model: Path, elementwise: Path) -> None:
    x = np.linspace(-2, 2, 16, dtype=np.float32)[None]
    plain = Model(str(model), NONE).run({"x": x})["y"]

    delegated = Model(str(model), str(elementwise)).run({"x": x})["y"]
    wrong = Model(str(model), str(elementwise), delegate_options={"wrong": "0.5"}).run({"x": x})["y"]

    np.testing.assert_allclose(delegated, plain, rtol=1e-5, atol=1e-6)
    assert np.abs(wrong - plain).max() > 0.4


@pytest.mark.parametrize("delegate", [XNNPACK, "elementwise"])
def test_both_routes_agree_on_real_models(cases: Path, elementwise: Path, delegate: str) -> None:
    for path in sorted((cases / "models" / "tflite_ref").glob("*.tflite")):
        library = str(elementwise) if delegate == "elementwise" else delegate
        fused, single = Model(str(path), library), Model(str(path), library, fusion=False)
        found = walk_back(fused.ops(), fused.nodes_before)
        assert node_by_node(single.ops(), single.nodes_before).nodes == found.nodes, path.name


def node(index: int, name: str, inputs: list[int], outputs: list[int]) -> dict[str, Any]:
    return {"index": index, "op_name": name, "inputs": inputs, "outputs": outputs}


BRANCHES = [
    node(0, "CONV_2D", [0, 1], [2]),
    node(1, "SOFTMAX", [2], [3]),
    node(2, "CONV_2D", [2], [4]),
    node(3, "ADD", [4, 3], [5]),
]


def test_walking_back_stops_at_what_the_partition_reads() -> None:
    ops = [*BRANCHES, node(4, "DELEGATE", [0], [2]), node(5, "DELEGATE", [2, 3], [5])]

    found = walk_back(ops, before=5)

    assert found.nodes == {EXTERNAL: [0], XNNPACK: [2, 3]}
    assert found.partitions == {EXTERNAL: 1, XNNPACK: 1}
    assert found.ops == ["CONV_2D", "SOFTMAX", "CONV_2D", "ADD"]


def test_node_by_node_goes_by_outputs() -> None:
    ops = [*BRANCHES, node(4, "DELEGATE", [0], [2]), node(5, "DELEGATE", [2], [4]), node(6, "DELEGATE", [3, 4], [5])]

    assert node_by_node(ops, before=4).nodes == {EXTERNAL: [], XNNPACK: [0, 2, 3]}


@st.composite
def graphs(draw: st.DrawFn) -> tuple[list[Step], frozenset[int]]:
    """Ops that read one or two of the tensors before them, and those that a delegate takes."""
    count = draw(st.integers(1, 12))
    reads = [draw(st.frozensets(st.integers(0, index), min_size=1, max_size=2)) for index in range(count)]
    plan = [
        Step(ops=(index,), processor=CPU, reads=reads[index], writes=frozenset({index + 1}), stateful=False)
        for index in range(count)
    ]
    return plan, draw(st.frozensets(st.integers(0, count - 1)))


@given(graphs())
def test_walking_back_finds_what_was_fused(graph: tuple[list[Step], frozenset[int]]) -> None:
    """Partitions as the runtime cuts them; every tensor that nobody reads is an output of the model."""
    plan, taken = graph
    read = frozenset[int]().union(*(step.reads for step in plan))
    fused = [step for step in delegate(plan, taken, "npu") if step.processor == "npu"]
    ops = [node(index, "ADD", sorted(step.reads), [index + 1]) for index, step in enumerate(plan)]
    for step in fused:
        others = frozenset[int]().union(*(one.reads for one in plan if not set(one.ops) <= set(step.ops)))
        outputs = [tensor for tensor in sorted(step.writes) if tensor in others or tensor not in read]
        ops.append(node(len(ops), "DELEGATE", sorted(step.reads - step.writes), outputs))

    found = walk_back(ops, before=len(ops))

    assert found.nodes == {EXTERNAL: sorted(taken), XNNPACK: []}
    assert found.partitions[EXTERNAL] == len(fused)


def test_a_tensor_that_is_none_leads_nowhere() -> None:
    """The runtime writes -1 for an output of WHILE that nobody reads, and for a bias that is left out."""
    ops = [
        node(0, "WHILE", [0], [1, -1]),
        node(1, "FULLY_CONNECTED", [1, 2, -1], [3]),
        node(2, "DELEGATE", [1, 2], [3]),
    ]
    assert walk_back(ops, before=2).nodes[XNNPACK] == [1]


def test_an_op_without_outputs_is_known_by_its_inputs() -> None:
    ops = [
        node(0, "READ_VARIABLE", [0], [1]),
        node(1, "ASSIGN_VARIABLE", [0, 1], []),
        node(2, "DELEGATE", [0, 1], []),
    ]
    assert node_by_node(ops, before=2).nodes[XNNPACK] == [1]

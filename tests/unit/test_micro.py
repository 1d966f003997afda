"""TFLite Micro on this machine: what it prints, what fits, and real models in the real interpreter."""

import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.agent.runtime import NONE, Model
from edgekit.errors import MicroError
from edgekit.micro import host
from edgekit.micro.allocations import NotAllocations, parse_allocations
from edgekit.micro.entries import ArenaEntry, MicroEntry
from edgekit.micro.examine import Files, MicroVector, check_structure, examine
from edgekit.micro.host import run_on_host
from edgekit.micro.limits import limits_of
from edgekit.micro.memory import MAX_ARENA_BYTES, ample_arena, check_memory, least_arena, state_bytes
from edgekit.micro.refusal import explain
from edgekit.micro.resolver import BUILTINS, CUSTOM, resolver_methods
from edgekit.target import Target, list_targets, load_target
from edgekit_converters.structure import Structure, TensorInfo, read_structure
from tests.unit.float_networks import dense_network

pytestmark = pytest.mark.unit

# of mnist_lstm_int8.tflite, as tflite-micro 0.dev20261023182759 prints it
LSTM = """\
[RecordingMicroAllocator] Arena allocation total 4208 bytes
[RecordingMicroAllocator] Arena allocation head 1536 bytes
[RecordingMicroAllocator] Arena allocation tail 2672 bytes
[RecordingMicroAllocator] 'TfLiteEvalTensor data' used 648 bytes with alignment overhead (requested 648 bytes for 27 \
allocations)
[RecordingMicroAllocator] 'TfLiteTensor variable buffer data' used 80 bytes with alignment overhead (requested 60 \
bytes for 2 allocations)
[RecordingMicroAllocator] 'NodeAndRegistration struct' used 256 bytes with alignment overhead (requested 256 bytes \
for 4 NodeAndRegistration structs)
"""


@pytest.fixture(scope="module")
def nano() -> Target:
    return load_target("arduino-nano-33-ble")


@pytest.fixture(scope="module")
def ethos() -> Target:
    return load_target("ethos-u55-256")


def with_memory(target: Target, **sizes: int | None) -> Target:
    return msgspec.structs.replace(target, memory=msgspec.structs.replace(target.memory, **sizes))


def entry(**changes: Any) -> MicroEntry:
    arena = ArenaEntry(bytes=64_000, used_bytes=1, nonpersistent_bytes=1, persistent_bytes=0, allocations=())
    values: dict[str, Any] = {
        "version": "1", "ran": "model", "ops": (), "resolver": (), "arena": arena, "state_bytes": 0,
        "model_bytes": 100_000, "max_steps": 0.0, "max_error": None, "vectors": 4,
    }  # fmt: skip
    return MicroEntry(**{**values, **changes})


# what is printed


def test_allocations_as_they_are_printed() -> None:
    found = parse_allocations(f"some kernel says this\n{LSTM}")
    assert (found.total, found.head, found.tail) == (4208, 1536, 2672)
    assert [(part.name, part.bytes, part.count) for part in found.parts] == [
        ("TfLiteEvalTensor data", 648, 27),
        ("TfLiteTensor variable buffer data", 80, 2),
        ("NodeAndRegistration struct", 256, 4),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no line says the arena's head, tail, total"),
        (LSTM.replace("Arena allocation head", "Arena usage head"), "the recorder says 'Arena usage head"),
        (LSTM.replace("total 4208", "total -1"), "the recorder says 'Arena allocation total -1"),
    ],
)
def test_allocations_that_are_printed_in_another_way(text: str, message: str) -> None:
    with pytest.raises(NotAllocations, match=message):
        parse_allocations(text)


@given(st.lists(st.sampled_from(LSTM.splitlines()) | st.text(max_size=200)))
def test_any_text_is_allocations_or_is_not(lines: list[str]) -> None:
    try:
        found = parse_allocations("\n".join(lines))
    except NotAllocations:
        return
    assert (found.total, found.head, found.tail) == (4208, 1536, 2672)


@pytest.mark.parametrize(
    ("status", "said", "cause"),
    [
        (
            1,
            """Didn't find op for builtin opcode 'GELU'
Failed to get registration from op code GELU
RuntimeError: TFLM failed to allocate tensors""",
            "it has no kernel for GELU",
        ),
        (1, "Failed to get registration from op code CUSTOM\n", "it has no kernel for a custom operator of the model"),
        (
            1,
            """tensorflow/lite/micro/kernels/conv_common.cc Hybrid models are not supported on TFLite Micro.
Node CONV_2D (number 3) failed to prepare with status 1
RuntimeError: TFLM failed to allocate tensors""",
            "CONV_2D (op 3) cannot be prepared: conv_common.cc: Hybrid models are not supported on TFLite Micro",
        ),
        (
            1,
            """tensorflow/lite/micro/kernels/exp.cc:41 input->type != kTfLiteFloat32 (INT8 != FLOAT32)
Node EXP (number 0) failed to prepare with status 1""",
            "EXP (op 0) cannot be prepared: exp.cc: input->type != kTfLiteFloat32 (INT8 != FLOAT32)",
        ),
        (1, "Node ADD (number 0) failed to invoke with status 1", "ADD (op 0) cannot run"),
        (
            1,
            "Failed to resize buffer. Requested: 16000, available 11728, missing: 4272",
            "it asks for 16,000 bytes, with 11,728 left in the largest arena that is tried",
        ),
        (-11, "", "its interpreter crashed (SIGSEGV), and said nothing"),
        (-200, "that was it", "its interpreter crashed (signal 200) after saying: that was it"),
        (1, "", "its interpreter ended with status 1, and said nothing"),
        (1, "ValueError: Cannot set tensor\n", "ValueError: Cannot set tensor"),
    ],
)
def test_why_it_refuses(status: int, said: str, cause: str) -> None:
    assert explain(status, said) == cause


@given(st.integers(-70, 255), st.text(max_size=300))
def test_every_end_has_a_cause(status: int, said: str) -> None:
    assert explain(status, said)


# what fits


def test_memory_that_is_enough(nano: Target) -> None:
    assert list(check_memory(entry(), with_memory(nano, sram_kib=128, flash_kib=256))) == []


def test_ram_that_is_exceeded_by_the_state(nano: Target) -> None:
    (found,) = check_memory(entry(state_bytes=2_000), with_memory(nano, sram_kib=64, flash_kib=256))
    assert (found.name, found.severity) == ("ram-exceeded", "error")
    assert "an arena of 64,000 bytes and 2,000 bytes of state; arduino-nano-33-ble has 65,536 bytes" in found.message
    assert "tflite-micro#2474" in found.message
    (close,) = check_memory(entry(), with_memory(nano, sram_kib=64, flash_kib=256))
    assert (close.name, close.severity) == ("ram-close", "warning")
    assert "98 % of the RAM" in close.message


def test_flash_holds_the_model_and_code_nobody_counted(nano: Target) -> None:
    (found,) = check_memory(entry(), with_memory(nano, sram_kib=256, flash_kib=96))
    assert (found.name, found.severity) == ("flash-exceeded", "error")
    assert "100,000 bytes; arduino-nano-33-ble has 98,304 bytes of flash" in found.message
    assert "not known and not counted" in found.message
    (close,) = check_memory(entry(), with_memory(nano, sram_kib=256, flash_kib=100))
    assert (close.name, close.severity) == ("flash-close", "warning")


def test_memory_that_the_profile_does_not_say(nano: Target) -> None:
    (found,) = check_memory(entry(), with_memory(nano, sram_kib=None, flash_kib=None))
    assert (found.name, found.severity) == ("memory-unknown", "info")
    assert "how much RAM and flash there is" in found.message


def test_the_arena_of_an_npus_reference_is_not_its_memory(ethos: Target) -> None:
    assert list(check_memory(entry(ran="reference"), with_memory(ethos, sram_kib=1, flash_kib=1024))) == []


def test_states_are_kept_outside_of_the_arena() -> None:
    structure = read_structure(dense_network([np.ones((4, 3), np.float32)]).tflite)
    assert state_bytes(structure, frozenset({"x"})) == 12
    assert state_bytes(structure, frozenset()) == 0


# what the file alone tells


def test_the_profiles_name_the_operators_of_the_table() -> None:
    for target in list_targets():
        if target.runtime.kind == "tflm":
            beyond = set(target.runtime.ops) - set(BUILTINS)
            assert set(BUILTINS) <= set(target.runtime.ops), target.name
            assert not beyond or any(item.compiler == "vela" for item in target.accelerators), target.name
            assert set(target.runtime.custom_ops) <= set(CUSTOM), target.name


def test_what_cannot_run_is_refused_before_it_is_tried() -> None:
    structure = read_structure(dense_network([np.ones((4, 3), np.float32)], softmax=True).tflite)
    assert list(check_structure(structure)) == []
    assert resolver_methods(structure) == ("AddFullyConnected", "AddSoftmax")
    assert refusals(structure, name="GELU") == ["TFLite Micro has no kernel for GELU."]
    assert refusals(structure, name="CUSTOM", custom="ethos-u") == []
    own = refusals(structure, name="CUSTOM", custom="MyOwn")
    assert own == ["TFLite Micro has no kernel for MyOwn."]


def refusals(structure: Structure, **changes: Any) -> list[str]:
    ops = tuple(replace(op, **changes) for op in structure.ops)
    return [finding.message for finding in check_structure(replace(structure, ops=ops))]


def test_shapes_dtypes_and_sizes_that_no_microcontroller_takes() -> None:
    structure = read_structure(dense_network([np.ones((4, 3), np.float32)]).tflite)

    def with_tensor(**values: Any) -> list[str]:
        tensor = TensorInfo(**{"name": "t", "dtype": "int8", "shape": (1, 2), "constant": False, "scales": 0, **values})
        changed = replace(structure, tensors=(*structure.tensors, tensor))
        return [finding.message for finding in check_structure(changed)]

    assert with_tensor() == []
    assert with_tensor(shape=(1, -1))[0].startswith("The tensor 't' has the open shape [1, -1]")
    assert with_tensor(dtype="float16") == ["TFLite Micro has no kernels for float16, which tensors of the model hold."]
    (large,) = with_tensor(shape=(2**16, 2**15))
    assert large == "The arena would have at least 2,147,483,648 bytes, for the tensors of one operator alone."


def test_the_arena_that_is_tried_is_bounded() -> None:
    structure = read_structure(dense_network([np.ones((4, 3), np.float32)]).tflite)
    assert least_arena(structure) == 12 + 16  # what the operator reads and writes
    shares = tuple(replace(op, name="RESHAPE") for op in structure.ops)
    assert least_arena(replace(structure, ops=shares)) == 16
    assert ample_arena(structure) < 2**21
    huge = TensorInfo(name="t", dtype="int8", shape=(2**29,), constant=False, scales=0)
    assert ample_arena(replace(structure, tensors=(huge,))) == MAX_ARENA_BYTES


# how far it may be from the reference


def test_limits_follow_the_output(cases: Path) -> None:
    def limits(name: str) -> list[tuple[int | None, float | None]]:
        structure = read_structure((cases / "models" / f"{name}.tflite").read_bytes())
        return [(limit.max_steps, limit.max_error) for limit in limits_of(structure)]

    assert limits("tflm/hello_world_int8") == [(4, None)]
    assert limits("tflm/hello_world_float") == [(None, 1e-5)]
    # a softmax: half a step of its logits (scale 0.1719) is 22 steps of its output (scale 1/256)
    assert limits("tflite_ref/ic_resnet8_int8") == [(4 + 22, None)]


# real models, the real interpreter

needs_micro = pytest.mark.skipif(find_spec("tflite_micro") is None, reason="tflite-micro has no wheel for this machine")


@needs_micro
def test_a_model_runs_and_equals_the_reference(cases: Path, nano: Target) -> None:
    tflite = (cases / "models" / "tflite_ref" / "kws_int8.tflite").read_bytes()
    reference = Model(tflite, NONE)
    rng = np.random.default_rng(5)
    vectors = []
    for _ in range(2):
        inputs = {item.name: rng.integers(-128, 128, item.shape).astype(item.dtype) for item in reference.inputs}
        vectors.append(MicroVector(inputs=tuple(inputs.values()), outputs=tuple(reference.run(inputs).values())))
    found = examine(Files(model=tflite, reference=tflite), nano, vectors=vectors)
    assert found.findings == ()
    assert found.entry is not None
    assert found.entry.resolver == (
        "AddAveragePool2D", "AddConv2D", "AddDepthwiseConv2D", "AddFullyConnected", "AddReshape", "AddSoftmax",
    )  # fmt: skip
    assert (found.entry.max_steps, found.entry.max_error, found.entry.vectors) == (0, None, 2)
    arena = found.entry.arena
    assert arena is not None
    assert arena.nonpersistent_bytes == 16_000  # two activations of (25, 5, 64)
    assert arena.bytes >= arena.used_bytes == arena.nonpersistent_bytes + arena.persistent_bytes
    assert arena.bytes % 16 == 0
    assert {part.name for part in arena.allocations} >= {"TfLiteEvalTensor data", "NodeAndRegistration struct"}


@pytest.mark.slow
@needs_micro
def test_another_output_than_the_references_is_an_error(nano: Target) -> None:
    tflite = dense_network([np.eye(3, dtype=np.float32)]).tflite
    vector = MicroVector(inputs=(np.array([[1, 2, 3]], np.float32),), outputs=(np.array([[1, 4, 3]], np.float32),))
    found = examine(Files(model=tflite, reference=tflite), nano, vectors=[vector])
    (error,) = found.findings
    assert (error.name, error.severity) == ("micro-differs", "error")
    assert "0.5 of the largest value (1e-05 allowed), class 2 instead of 1" in error.message
    assert found.entry is not None
    assert found.entry.max_error == 0.5


@pytest.mark.slow
@needs_micro
def test_of_a_compiled_file_the_reference_runs(cases: Path, ethos: Target) -> None:
    references = cases / "models" / "tflite_ref"
    compiled = single_op("CUSTOM", custom="ethos-u")
    found = examine(Files(model=compiled, reference=(references / "kws_int8.tflite").read_bytes()), ethos, vectors=())
    assert found.entry is not None
    assert (found.entry.ran, found.entry.ops, found.entry.resolver) == ("reference", ("ethos-u",), ("AddEthosU",))
    assert found.entry.model_bytes == len(compiled)
    assert [item.name for item in found.findings] == ["npu-not-on-host"]
    refused = (references / "kws_hybrid_named_float32.tflite").read_bytes()
    found = examine(Files(model=compiled, reference=refused), ethos, vectors=())
    assert found.entry is not None
    assert (found.entry.ran, found.entry.arena, found.entry.resolver) == (None, None, ("AddEthosU",))
    assert [(item.name, item.severity) for item in found.findings] == [("micro-not-run", "warning")]
    assert "Hybrid models are not supported" in found.findings[0].message


@pytest.mark.slow
@needs_micro
def test_a_crash_is_a_refusal(cases: Path) -> None:
    tflite = (cases / "models" / "negative" / "model_invoking_error.tflite").read_bytes()
    found = run_on_host(tflite, [], outputs=1, arena_bytes=100_000)
    assert found.refusal == "its interpreter crashed (SIGSEGV), and said nothing"
    assert found.arena_bytes is None


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "PACKAGE", "tflite-micro-that-is-not-there")
    with pytest.raises(MicroError, match="TFLite Micro is not installed here") as error:
        run_on_host(b"", [], outputs=1, arena_bytes=1)
    assert 'pip install "edgekit[micro]"' in error.value.hint
    assert "--no-micro-check" in error.value.hint


@needs_micro
def test_a_process_that_dies_or_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MicroError, match=r"did not run the model within 0\.01 s"):
        run_on_host(b"", [], outputs=1, arena_bytes=1, timeout_s=0.01)
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(MicroError, match="The process that runs TFLite Micro died: it said nothing"):
        run_on_host(b"", [], outputs=1, arena_bytes=1)


EVERY_OP = """
import json, sys
from pathlib import Path
import tflite_micro
from edgekit.micro.worker import _attempt
folder = Path(sys.argv[1])
request = {"vectors": 0, "inputs": 1, "outputs": 1}
found = {}
for file in sorted(folder.glob("*.op")):
    (folder / "model.tflite").write_bytes(file.read_bytes())
    said = _attempt(folder, request, 100_000, vectors=0).said
    found[file.stem] = "Didn't find op for builtin opcode" not in said
print(json.dumps(found))
"""


@pytest.mark.slow
@needs_micro
def test_the_interpreter_has_the_operators_of_the_table_and_no_others(tmp_path: Path) -> None:
    from ai_edge_litert import schema_py_generated as schema

    names = {name for name, code in vars(schema.BuiltinOperator).items() if isinstance(code, int)} - {"CUSTOM"}
    for name in names:
        (tmp_path / f"{name}.op").write_bytes(single_op(name))
    answer = subprocess.run(
        [sys.executable, "-c", EVERY_OP, str(tmp_path)], check=True, capture_output=True, text=True
    ).stdout
    found = msgspec.json.decode(answer, type=dict[str, bool])
    assert {name for name, there in found.items() if there} == set(BUILTINS)


def single_op(name: str, *, custom: str | None = None) -> bytes:
    """A model of one operator with an input, an output and default options."""
    from ai_edge_litert import schema_py_generated as schema

    from edgekit_converters.flatbuffer import write

    model, graph = schema.ModelT(), schema.SubGraphT()
    model.version, model.buffers, model.subgraphs = 3, [schema.BufferT()], [graph]
    graph.tensors = [schema.TensorT(), schema.TensorT()]
    for tensor in graph.tensors:
        tensor.shape, tensor.type = [1, 4], schema.TensorType.INT8
    operator, code = schema.OperatorT(), schema.OperatorCodeT()
    operator.inputs, operator.outputs, graph.operators = [0], [1], [operator]
    graph.inputs, graph.outputs = [0], [1]
    if name == "VAR_HANDLE":  # the package itself reads these
        operator.builtinOptionsType = schema.BuiltinOptions.VarHandleOptions
        operator.builtinOptions = schema.VarHandleOptionsT()
    code.builtinCode, code.customCode = getattr(schema.BuiltinOperator, name), custom
    code.deprecatedBuiltinCode, code.version, model.operatorCodes = min(code.builtinCode, 127), 1, [code]
    return write(model)

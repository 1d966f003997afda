"""The step of all external compilers: what they are given, how they end, and what their files really are."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit.compilers import COMPILERS, edgetpu, hailo, litert_aot, rknn, tensorrt, vela
from edgekit.compilers.plan import plan_compilation
from edgekit.compilers.step import check_compiler, compile_model, merged_settings, place_by_compiler
from edgekit.compilers.types import Compiled, Compiler
from edgekit.errors import AuditError, CompilerError, EdgekitError, ProjectError
from edgekit.target import Target, load_target
from edgekit_converters.flatbuffer import read, write
from edgekit_converters.types import QuantizedModel
from tests.unit import fake_compiler
from tests.unit.float_networks import planted_network

pytestmark = pytest.mark.unit

COPY = "import shutil; shutil.copyfile({!r}, 'made.tflite')"


MODULES: tuple[Compiler, ...] = (edgetpu, hailo, litert_aot, rknn, tensorrt, vela, fake_compiler)
"""mypy holds each to the protocol."""


@pytest.fixture
def target(monkeypatch: pytest.MonkeyPatch) -> Target:
    """A target whose compiler is the fake one, without settings of its own."""
    from msgspec.structs import replace

    monkeypatch.setitem(COMPILERS, "vela", "tests.unit.fake_compiler")
    real = load_target("ethos-u55-128")
    return replace(real, accelerators=(replace(real.accelerators[0], settings={}), *real.accelerators[1:]))


@pytest.fixture(scope="module")
def reference() -> bytes:
    """Six FULLY_CONNECTED; a float file does for a compiler that looks at nothing."""
    return planted_network(hard=None).tflite


def compiled_file(reference: bytes, *, left: int = 0, change: Callable[[Any], None] | None = None) -> bytes:
    """The reference with all but its last ``left`` ops made one op of the accelerator."""
    from ai_edge_litert import schema_py_generated as schema

    model = read(reference)
    graph = model.subgraphs[0]
    taken = graph.operators[: len(graph.operators) - left]
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
    code.customCode = "ethos-u"
    model.operatorCodes.append(code)
    operator = schema.OperatorT()
    operator.opcodeIndex = len(model.operatorCodes) - 1
    operator.inputs, operator.outputs = list(graph.inputs), list(taken[-1].outputs)
    graph.operators = [operator, *graph.operators[len(taken) :]]
    if change is not None:
        change(model)
    return write(model)


def compiled(target: Target, reference: bytes, tmp_path: Path, output: bytes | str, **settings: str) -> Compiled:
    """``output``: the bytes that the tool writes, or the code it runs."""
    code = output
    if isinstance(output, bytes):
        (tmp_path / "output").write_bytes(output)
        code = COPY.format(str(tmp_path / "output"))
    return compile_model(
        reference,
        target=target,
        accelerator=target.accelerators[0],
        settings={"code": str(code), **settings},
        directory=tmp_path,
        log_folder=tmp_path / "logs",
        progress=lambda *_: None,
    )


def test_every_setting_is_explained() -> None:
    assert all(text for module in MODULES for text in module.SETTINGS.values())


def test_what_is_left_to_the_cpu_is_counted_in_the_file(target: Target, reference: bytes, tmp_path: Path) -> None:
    found = compiled(target, reference, tmp_path, compiled_file(reference, left=2), told="2")
    assert found.entry.ops_on_cpu == {"FULLY_CONNECTED": 2}
    assert found.entry.ops_on_accelerator == 4
    assert not (tmp_path / "logs").exists()


def test_a_count_that_the_file_does_not_have_is_refused(target: Target, reference: bytes, tmp_path: Path) -> None:
    with pytest.raises(AuditError, match=r"says that 0 ops .* there are 2: 2 FULLY_CONNECTED") as caught:
        compiled(target, reference, tmp_path, compiled_file(reference, left=2), told="0")
    assert caught.value.exit_code == 3


def test_exit_status_0_with_nothing_on_the_accelerator_is_refused(
    target: Target, reference: bytes, tmp_path: Path
) -> None:
    with pytest.raises(
        AuditError, match=r"put nothing on the accelerator: all 6 ops .* \(6 FULLY_CONNECTED\)"
    ) as caught:
        compiled(target, reference, tmp_path, reference)
    assert "--precision int8" in caught.value.hint


def _rename(model: Any) -> None:
    model.subgraphs[0].tensors[model.subgraphs[0].outputs[0]].name = "other"
    model.signatureDefs = []


def _reshape(model: Any) -> None:
    model.subgraphs[0].tensors[model.subgraphs[0].outputs[0]].shape = [1, 4]


def _retype(model: Any) -> None:
    model.subgraphs[0].tensors[model.subgraphs[0].inputs[0]].type = 9


def _drop_output(model: Any) -> None:
    model.subgraphs[0].outputs = []
    model.signatureDefs = []


def _other_op(model: Any) -> None:
    from ai_edge_litert import schema_py_generated as schema

    code = model.operatorCodes[0]
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.RELU
    for operator in model.subgraphs[0].operators[1:]:
        operator.builtinOptionsType, operator.builtinOptions = 0, None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_rename, "changed the outputs: the model has scores, its file other"),
        (_reshape, r"changed the output scores: float32 \[1, 8\].* became float32 \[1, 4\]"),
        (_retype, r"changed the input x: float32 .* became int8"),
        (_drop_output, "changed the outputs: the model has scores, its file none"),
        (_other_op, "has 2 RELU on the CPU, and the model it was made from has 0"),
    ],
)
def test_another_model_is_refused(
    target: Target, reference: bytes, tmp_path: Path, change: Callable[[Any], None], message: str
) -> None:
    with pytest.raises(AuditError, match=message):
        compiled(target, reference, tmp_path, compiled_file(reference, left=2, change=change))


@pytest.mark.parametrize("keep", [0, 4, 64, 0.5, 0.99])
def test_a_cut_off_file_is_refused(target: Target, reference: bytes, tmp_path: Path, keep: float) -> None:
    whole = compiled_file(reference)
    cut = whole[: int(keep * len(whole)) if keep < 1 else int(keep)]
    with pytest.raises(CompilerError, match=r"did not write a whole \.tflite|wrote an empty file"):
        compiled(target, reference, tmp_path, cut)


def test_a_failure_keeps_what_the_tool_said(target: Target, reference: bytes, tmp_path: Path) -> None:
    with pytest.raises(CompilerError, match="fake ended with exit status 3: first / too bad") as caught:
        compiled(target, reference, tmp_path, "import sys; print('first'); print('too bad'); sys.exit(3)")
    log = tmp_path / "logs" / "compile-vela.log"
    assert str(log) in caught.value.hint
    assert log.read_text() == "first\ntoo bad\n"


def test_a_crash_has_the_signal_s_name(target: Target, reference: bytes, tmp_path: Path) -> None:
    with pytest.raises(CompilerError, match="SIGFPE"):
        compiled(target, reference, tmp_path, "import os, signal; os.kill(os.getpid(), signal.SIGFPE)")


def test_a_tool_that_hangs_is_ended(target: Target, reference: bytes, tmp_path: Path) -> None:
    with pytest.raises(CompilerError, match=r"did not end within 0\.3 s"):
        compiled(
            target, reference, tmp_path, "import os, time; os.close(1); os.close(2); time.sleep(60)", timeout="0.3"
        )


def test_a_tool_that_says_too_much_is_ended(
    target: Target, reference: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgekit.compilers.process.MAX_OUTPUT_BYTES", 2**20)
    with pytest.raises(CompilerError, match="more than 1 MiB"):
        compiled(target, reference, tmp_path, "while True: print('x' * 1000)")


def test_an_interrupt_ends_all_that_it_started(target: Target, reference: bytes, tmp_path: Path) -> None:
    code = (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    pids: list[int] = []

    def progress(step: str, done: int | None = None, total: int | None = None) -> None:
        if step.startswith("vela: "):
            pids.append(int(step.removeprefix("vela: ")))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compile_model(
            reference,
            target=target,
            accelerator=target.accelerators[0],
            settings={"code": code},
            directory=tmp_path,
            log_folder=tmp_path,
            progress=progress,
        )
    assert _is_gone(pids[0])


def _is_gone(pid: int) -> bool:
    """Dead, or a zombie that init has not collected yet."""
    for _ in range(100):
        stat = Path(f"/proc/{pid}/stat")
        if not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z":
            return True
        time.sleep(0.02)
    return False


def test_what_it_started_does_not_keep_us_waiting(target: Target, reference: bytes, tmp_path: Path) -> None:
    (tmp_path / "output").write_bytes(compiled_file(reference))
    code = "import subprocess; subprocess.Popen(['sleep', '60']);" + COPY.format(str(tmp_path / "output"))
    started = time.monotonic()
    assert compiled(target, reference, tmp_path, code).entry.ops_on_accelerator == 6
    assert time.monotonic() - started < 30


def test_it_is_given_what_it_needs(target: Target, reference: bytes, tmp_path: Path) -> None:
    (tmp_path / "output").write_bytes(compiled_file(reference))
    code = (
        "import pathlib\n"
        "print(sorted(str(p.relative_to('..')) for p in pathlib.Path('..').rglob('*') if p.is_file()))\n"
        "assert pathlib.Path('../float.tflite').read_bytes() == b'float'\n"
    ) + COPY.format(str(tmp_path / "output"))
    said: list[str] = []
    compile_model(
        reference,
        target=target,
        accelerator=target.accelerators[0],
        settings={"code": code},
        directory=tmp_path,
        log_folder=tmp_path / "logs",
        progress=lambda step, *_: said.append(step),
        float_tflite=b"float",
        samples=lambda: ({"x": np.zeros((1, 12), np.float32)} for _ in range(1000)),
    )
    assert "calibration/0/00000.npy" in said[-1]
    assert said[0] == "compile with vela"


def test_its_own_placement(target: Target, reference: bytes, tmp_path: Path) -> None:
    (tmp_path / "output").write_bytes(compiled_file(reference, left=2))
    placement, findings = place_by_compiler(
        reference,
        target=target,
        accelerator=target.accelerators[0],
        settings={"code": COPY.format(str(tmp_path / "output"))},
        directory=tmp_path,
        log_folder=tmp_path,
        progress=lambda *_: None,
    )
    assert placement.basis == "compiler"
    assert placement.told_by == "fake 1.0"
    assert [op.processor for op in placement.ops] == [*["ethos-u55-128"] * 4, *["cpu"] * 2]
    assert findings == ()


def test_unknown_settings_are_refused_with_the_known_ones(target: Target) -> None:
    with pytest.raises(CompilerError, match="vela has no setting 'tolt'") as caught:
        merged_settings(target.accelerators[0], {"tolt": "1"})
    assert caught.value.hint == "Did you mean told? It has: code, timeout, told."


def test_a_missing_tool_is_said_before_anything_is_converted(target: Target, tmp_path: Path) -> None:
    with pytest.raises(CompilerError, match="not here"):
        check_compiler(target, target.accelerators[0], {"code": "missing"}, tmp_path)


def test_flags_lie_over_edgekit_toml(target: Target) -> None:
    found = plan_compilation(target, {"vela": {"told": 3, "timeout": 9}, "hailo": {"x": "y"}}, ["told=4"])
    assert found is not None
    assert found.settings == {"timeout": "9", "told": "4"}
    assert plan_compilation(load_target("rpi4"), {"vela": {"told": 3}}, []) is None


@pytest.mark.parametrize("flag", ["told", "=3", "told="])
def test_a_flag_that_is_no_setting(target: Target, flag: str) -> None:
    with pytest.raises(ProjectError, match=r"is no NAME=VALUE"):
        plan_compilation(target, {}, [flag])


def test_settings_that_nobody_reads() -> None:
    with pytest.raises(ProjectError, match="rpi4 needs no compiler"):
        plan_compilation(load_target("rpi4"), {}, ["told=4"])


def test_a_tool_that_cannot_be_started(target: Target, reference: bytes, tmp_path: Path) -> None:
    from edgekit.compilers.process import run_tool
    from edgekit.compilers.types import CompileRequest

    request = CompileRequest(
        model=tmp_path / "m",
        folder=tmp_path,
        log=tmp_path / "log",
        target=target,
        accelerator=target.accelerators[0],
        settings={},
        directory=tmp_path,
    )
    with pytest.raises(EdgekitError, match=r"nothing cannot be started: No such file"):
        run_tool(request, (os.fspath(tmp_path / "nothing"),), lambda _line: None)


def test_what_is_left_to_the_cpu_must_be_an_op_of_the_runtime(target: Target, reference: bytes, tmp_path: Path) -> None:
    from msgspec.structs import replace

    from edgekit.compilation import compile_for_target
    from edgekit.plan import BuildOptions, plan
    from edgekit.project import Project

    (tmp_path / "output").write_bytes(compiled_file(reference, left=2))
    small = replace(target, runtime=replace(target.runtime, ops=("RELU",)))
    flags = (f"code={COPY.format(str(tmp_path / 'output'))}",)
    options = BuildOptions(model="m.tflite", calibration="c.npz", compiler_setting=flags)
    float_model = planted_network(hard=None)
    model = QuantizedModel(
        tflite=reference, precision="int8", inputs=float_model.inputs, outputs=float_model.outputs, tools={}
    )
    with pytest.raises(AuditError, match=r"fake left to the CPU what it cannot run: .* FULLY_CONNECTED \(2 times"):
        compile_for_target(plan(Project(), small, options, tmp_path), float_model, model, None, lambda *_: None)
    found = compile_for_target(plan(Project(), target, options, tmp_path), float_model, model, None, lambda *_: None)
    assert found is not None
    assert "fake leaves 2 ops to the CPU and puts 4 on ethos-u55-128: 2 FULLY_CONNECTED" in found.findings[0].message

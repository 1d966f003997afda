"""Coral's compiler: recorded logs, and a stand-in on PATH that replays one and hands out a file it really made."""

import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.build import build
from edgekit.compilers import Ran, edgetpu
from edgekit.compilers.edgetpu_log import parse_log
from edgekit.compilers.step import check_compiler, compile_model
from edgekit.errors import AuditError, CompilerError
from edgekit.plan import BuildOptions, plan
from edgekit.progress import silent
from edgekit.project import load_project
from edgekit.target import load_target
from tests.unit.compile_requests import accelerator, fake_program, path_with, request, target
from tests.unit.float_networks import network_samples, planted_network

pytestmark = pytest.mark.unit

LOGS = Path(__file__).parent / "data" / "edgetpu"
MAPPED = """Edge TPU Compiler version 16.0.384591198
Started a compilation timeout timer of 180 seconds.

Model compiled successfully in 95 ms.

Input model: model.tflite
Input size: 478.84KiB
Output model: ./model_edgetpu.tflite
Output size: 600.20KiB
On-chip memory used for caching model parameters: 559.00KiB
On-chip memory remaining for caching model parameters: 7.05MiB
Off-chip memory used for streaming uncached model parameters: 0.00B
Number of Edge TPU subgraphs: 1
Total number of operations: 31
Operation log: ./model_edgetpu.log

Operator                       Count      Status

CONV_2D                        15         Mapped to Edge TPU
DEPTHWISE_CONV_2D              13         Mapped to Edge TPU
AVERAGE_POOL_2D                1          Mapped to Edge TPU
RESHAPE                        1          Mapped to Edge TPU
SOFTMAX                        1          Mapped to Edge TPU
Compilation child process completed within timeout period.
Compilation succeeded!
"""
"""For the model in the cases, in the form of version 16; not recorded."""


def log(name: str) -> str:
    return (LOGS / f"{name}.log").read_text(encoding="utf-8")


def test_figures_of_a_model_that_does_not_fit() -> None:
    found = parse_log(log("compiled_v16"))
    assert found.succeeded
    assert (found.version, found.on_tpu, found.on_cpu) == ("16.0.384591198", 50, 0)
    assert found.figures == {
        "input_size_kib": pytest.approx(4.04 * 1024),
        "output_size_kib": pytest.approx(4.13 * 1024),
        "on_chip_used_kib": 604.5,
        "on_chip_remaining_kib": 511.5,
        "off_chip_used_kib": pytest.approx(3.45 * 1024),
        "subgraphs": 1.0,
        "operations": 50.0,
    }


def test_an_operation_log_is_counted_per_operator() -> None:
    found = parse_log(log("operations_v14"))
    assert (found.version, found.on_tpu, found.on_cpu) == ("14.1.317412892", 19, 6)
    assert found.reasons["CONV_2D"] == "More than one subgraph is not supported"
    assert found.reasons["RESIZE_NEAREST_NEIGHBOR"] == "Operation version not supported"
    assert found.reasons["QUANTIZE"].startswith("1 Operation is otherwise supported")
    assert "MAX_POOL_2D" not in found.reasons


def test_what_the_compiler_counts_itself_is_kept() -> None:
    found = parse_log(log("two_of_155_v15"))
    assert (found.on_tpu, found.on_cpu) == (2, 153)
    assert len(found.reasons) == 8


def test_success_that_put_nothing_on_the_edge_tpu() -> None:
    found = parse_log(log("nothing_mapped_v15"))
    assert found.succeeded
    assert found.errors == ()
    assert (found.on_tpu, found.on_cpu, found.figures["subgraphs"]) == (0, 69, 0.0)


@pytest.mark.parametrize(
    ("name", "said", "hint"),
    [
        ("not_quantized_v15", "Model not quantized", "--precision int8"),
        ("op_version_v16", "builtin opcode 'QUANTIZE' version '3'", "older versions"),
        ("internal_error_v14", "Internal compiler error", "search_delegate"),
        ("large_activations_v16", "large activation tensors", "larger than the Edge TPU takes"),
    ],
)
def test_recorded_failures_name_the_cause_and_what_to_do(tmp_path: Path, name: str, said: str, hint: str) -> None:
    with pytest.raises(CompilerError, match="edgetpu_compiler did not compile the model") as err:
        edgetpu.parse(request(tmp_path, "edgetpu", b""), Ran(status=0, output=log(name)))
    assert said in err.value.message
    assert hint in err.value.hint


def test_success_without_a_file_is_none(tmp_path: Path) -> None:
    with pytest.raises(CompilerError, match=r"says that it succeeded and wrote no model_edgetpu\.tflite"):
        edgetpu.parse(request(tmp_path, "edgetpu", b""), Ran(status=0, output=MAPPED))


def test_parameters_that_are_streamed_are_a_finding(tmp_path: Path) -> None:
    asked = request(tmp_path, "edgetpu", b"")
    (asked.folder / "model_edgetpu.tflite").write_bytes(b"file")
    compiled = edgetpu.parse(asked, Ran(status=0, output=log("compiled_v16")))
    assert [finding.name for finding in compiled.findings] == ["edgetpu-off-chip"]
    assert "3533 KiB of the parameters" in compiled.findings[0].message


@given(st.text() | st.binary().map(lambda data: data.decode(errors="replace")))
def test_any_text_is_read(text: str) -> None:
    found = parse_log(text)
    assert not found.succeeded or "Model compiled successfully" in text


@given(st.sampled_from(sorted(path.stem for path in LOGS.glob("*.log"))), st.integers(0, 20), st.integers(0, 2000))
def test_a_cut_log_never_counts_more(name: str, lines: int, end: int) -> None:
    text = "".join(log(name).splitlines(keepends=True)[lines:])
    whole, part = parse_log(log(name)), parse_log(text[:end])
    assert set(part.reasons) <= set(whole.reasons)
    if whole.on_tpu is not None and part.on_tpu is not None:
        assert part.on_tpu <= whole.on_tpu


def test_hostile_numbers_and_control_characters() -> None:
    found = parse_log(
        "Input size: " + "9" * 5000 + "KiB\nOff-chip memory used for streaming uncached model parameters: 1.5GiB\n"
        "ADD  99999999999999999999  Mapped to Edge TPU\nCONV_2D  2  \x1b[31mbad\x00 " + "x" * 5000
    )
    assert found.figures == {"off_chip_used_kib": 1.5 * 1024**2}
    assert found.on_tpu is None
    assert found.on_cpu == 2
    assert found.reasons["CONV_2D"].startswith("bad xxx")
    assert len(found.reasons["CONV_2D"]) < 250


def test_a_missing_compiler_names_corals_page_and_what_can_be_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(CompilerError, match="edgetpu_compiler is not on PATH") as err:
        check_compiler(target(), accelerator("edgetpu"), {}, Path())
    for part in ("https://coral.ai/docs/edgetpu/compiler/", "Docker", "Colab"):
        assert part in err.value.hint


def test_on_another_architecture_its_absence_has_another_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    with pytest.raises(CompilerError) as err:
        check_compiler(target(), accelerator("edgetpu"), {}, Path())
    assert "x86-64 Debian and Ubuntu only, and this is Linux aarch64" in err.value.hint


def test_settings_become_its_options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_program(tmp_path / "bin", "edgetpu_compiler", "echo Edge TPU Compiler version 16.0.384591198\n")
    monkeypatch.setenv("PATH", path_with(tmp_path / "bin"))
    settings = {"min_runtime_version": "13", "search_delegate": "true", "delegate_search_step": "4", "timeout_sec": "9"}
    merged, version = check_compiler(target(), accelerator("edgetpu"), settings, tmp_path)
    assert version == "16.0.384591198"
    command = edgetpu.command(request(tmp_path / "work", "edgetpu", b"", merged))
    assert command[1:-1] == ("-s", "-o", ".", "-m", "13", "-k", "4", "-t", "9", "-d")
    named = edgetpu.command(request(tmp_path / "names", "edgetpu", b"", {"intermediate_tensors": "a,b"}))
    assert named[4:-1] == ("-i", "a,b")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"min_runtime_version": "9"}, "expected a whole number from 10 to 14"),
        ({"timeout_sec": "-1"}, "expected a whole number from 1 to 86400"),
        ({"search_delegate": "yes"}, "expected true or false"),
        ({"intermediate_tensors": "-o"}, "expected names of tensors"),
        ({"num_segments": "2"}, "has no setting 'num_segments'"),
    ],
)
def test_wrong_settings_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], said: str
) -> None:
    fake_program(tmp_path / "bin", "edgetpu_compiler", "")
    monkeypatch.setenv("PATH", path_with(tmp_path / "bin"))
    with pytest.raises(CompilerError, match=said):
        check_compiler(target(), accelerator("edgetpu"), settings, tmp_path)


def _replay(folder: Path, text: str, made: Path | None) -> str:
    """A compiler on PATH that says ``text`` and, if asked, hands out a file; the new PATH."""
    (folder / "said.log").write_text(text, encoding="utf-8")
    copy = f"cp '{made}' model_edgetpu.tflite\n" if made else ""
    fake_program(folder / "bin", "edgetpu_compiler", f"cat '{folder / 'said.log'}'\n{copy}")
    return path_with(folder / "bin")


def test_a_really_compiled_file_passes_the_whole_step(
    tmp_path: Path, cases: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    coral = cases / "models" / "coral"
    made = coral / "mobilenet_v1_0.25_128_quant_edgetpu.tflite"
    monkeypatch.setenv("PATH", _replay(tmp_path, MAPPED, made))
    compiled = compile_model(
        (coral / "mobilenet_v1_0.25_128_quant.tflite").read_bytes(),
        target=target(),
        accelerator=accelerator("edgetpu"),
        settings={},
        directory=tmp_path,
        log_folder=tmp_path,
        progress=silent,
    )
    assert compiled.name == "model_edgetpu.tflite"
    assert compiled.model == made.read_bytes()
    assert (compiled.entry.ops_on_accelerator, compiled.entry.ops_on_cpu) == (31, {})
    assert compiled.entry.figures["on_chip_used_kib"] == 559.0
    assert not compiled.findings


def test_exit_status_0_is_not_believed(tmp_path: Path, cases: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says that all is mapped, and hands the model back as it was."""
    model = cases / "models" / "coral" / "mobilenet_v1_0.25_128_quant.tflite"
    monkeypatch.setenv("PATH", _replay(tmp_path, MAPPED, model))
    with pytest.raises(AuditError, match="put nothing on the accelerator: all 31 ops"):
        compile_model(
            model.read_bytes(),
            target=target(),
            accelerator=accelerator("edgetpu"),
            settings={},
            directory=tmp_path,
            log_folder=tmp_path,
            progress=silent,
        )


@pytest.mark.parametrize(
    ("makes", "said"),
    [
        ("ln -s /etc/hostname", "model_edgetpu.tflite is a link"),
        ("truncate -s 8G", "has 8,589,934,592 bytes"),
        ("mkfifo", "did not compile|wrote no"),
    ],
)
def test_what_is_no_file_of_its_own_is_refused(
    tmp_path: Path, cases: Path, monkeypatch: pytest.MonkeyPatch, makes: str, said: str
) -> None:
    (tmp_path / "said.log").write_text(MAPPED)
    lines = f"cat '{tmp_path}/said.log'\n{makes} model_edgetpu.tflite\n"
    fake_program(tmp_path / "bin", "edgetpu_compiler", lines)
    monkeypatch.setenv("PATH", path_with(tmp_path / "bin"))
    with pytest.raises(CompilerError, match=said):
        compile_model(
            (cases / "models" / "coral" / "mobilenet_v1_0.25_128_quant.tflite").read_bytes(),
            target=target(),
            accelerator=accelerator("edgetpu"),
            settings={},
            directory=tmp_path,
            log_folder=tmp_path,
            progress=silent,
        )


def test_a_version_without_an_end_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_program(tmp_path / "bin", "edgetpu_compiler", "yes\n")
    monkeypatch.setenv("PATH", path_with(tmp_path / "bin"))
    assert check_compiler(target(), accelerator("edgetpu"), {}, tmp_path)[1] is None


STAND_IN = """#!{python}
import sys
if "--version" in sys.argv:
    print("Edge TPU Compiler version 16.0.384591198")
    sys.exit()
from ai_edge_litert import schema_py_generated as schema
from edgekit_converters.flatbuffer import read, write
with open(sys.argv[-1], "rb") as stream:
    model = read(stream.read())
graph = model.subgraphs[0]
count = len(graph.operators)
code, whole = schema.OperatorCodeT(), schema.OperatorT()
code.builtinCode, code.deprecatedBuiltinCode, code.customCode, code.version = 32, 32, b"edgetpu-custom-op", 1
whole.inputs, whole.outputs = graph.inputs, graph.outputs
model.operatorCodes, graph.operators, model.signatureDefs = [code], [whole], None
with open("model_edgetpu.tflite", "wb") as stream:
    stream.write(write(model))
print("Edge TPU Compiler version 16.0.384591198")
print("Model compiled successfully in 9 ms.")
print("On-chip memory used for caching model parameters: 12.50KiB")
print("Number of Edge TPU subgraphs: 1")
print(f"Total number of operations: {{count}}")
"""
"""Puts the whole graph into one op and drops the signature, as the real one does."""


def test_a_whole_build_for_coral(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "edgetpu_compiler"
    program.write_text(STAND_IN.format(python=sys.executable), encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", path_with(tmp_path / "bin"))
    (tmp_path / "model.tflite").write_bytes(planted_network(hard=None).tflite)
    np.savez(tmp_path / "calibration.npz", x=np.concatenate([sample["x"] for sample in network_samples(16)]))
    chosen = BuildOptions(
        model=str(tmp_path / "model.tflite"),
        calibration="calibration.npz",
        calibrator="min-max",
        equalize=False,
        correct_biases=False,
        compiler_setting=("min_runtime_version=14",),
    )
    built = build(plan(load_project(tmp_path), load_target("coral-usb"), chosen, tmp_path))
    manifest = built.manifest
    assert (manifest.model, manifest.reference) == ("model_edgetpu.tflite", "reference.tflite")
    assert manifest.compilation is not None
    assert manifest.compilation.version == "16.0.384591198"
    assert (manifest.compilation.ops_on_accelerator, manifest.compilation.ops_on_cpu) == (6, {})
    assert manifest.compilation.settings == {"min_runtime_version": "14"}
    assert manifest.compilation.figures["on_chip_used_kib"] == 12.5
    assert "accelerator-not-proven" in [finding.name for finding in manifest.findings]


@pytest.mark.timeout(10)
@pytest.mark.parametrize("part", ["x", "A 1 ", "ERROR: [", "D RKNN: [1] ", "a.b:", " ", "| Total "])
def test_one_endless_line_is_read_in_time(part: str) -> None:
    parse_log(part * (2_000_000 // len(part)))

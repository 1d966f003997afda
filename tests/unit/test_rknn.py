"""Rockchip's toolkit: what it says, recorded here, and files by their header. tests/convert runs it for real."""

import struct
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.compilers import Compiled, Ran, rknn
from edgekit.compilers.rknn_log import parse_log
from edgekit.compilers.step import check_compiler
from edgekit.errors import AuditError, CompilerError
from edgekit_converters.environments import TOOLS, Environment
from tests.unit.compile_requests import accelerator, request, target

pytestmark = pytest.mark.unit

LOGS = Path(__file__).parent / "data" / "rknn"
FILE = b"RKNN" + bytes(12) + struct.pack("<Q", 8) + bytes(40) + b"rk3588.."


def log(name: str) -> str:
    return (LOGS / f"{name}.log").read_text(encoding="utf-8")


def parse(folder: Path, text: str, model: bytes | None = FILE) -> Compiled:
    asked = request(folder, "rknn", b"", {"target_platform": "rk3588"})
    if model is not None:
        (asked.folder / "model.rknn").write_bytes(model)
    return rknn.parse(asked, Ran(status=0, output=text))


def test_a_recorded_build_is_read(tmp_path: Path) -> None:
    compiled = parse(tmp_path, log("kws_rk3588"))
    entry = compiled.entry
    assert entry.version == "2.5.0"
    assert entry.ops_on_accelerator == 13
    assert entry.ops_on_cpu == {"Reshape": 1}
    assert entry.figures == {
        "cycles_total": 14512.0,
        "weight_memory_kib": 69.125,
        "internal_memory_kib": 16.8125,
        "simulated_samples": 16.0,
        "simulated_max_difference": 11.0,
        "simulated_mean_difference": pytest.approx(0.1458, abs=1e-4),
        "simulated_same_largest": 16.0,
    }
    assert [layer.operator for layer in entry.layers][:2] == ["ConvRelu", "ConvRelu"]
    assert sum(layer.figures["cycles_total"] for layer in entry.layers) == 14512
    assert compiled.findings == ()


def test_what_it_does_not_load_is_said(tmp_path: Path) -> None:
    with pytest.raises(CompilerError, match=r"did not load the model: ValueError: make_sure failure: Cannot find node"):
        parse(tmp_path, log("lstm_refused"))


def test_reasons_for_the_cpu_are_its_own_words() -> None:
    found = parse_log(
        "W RKNN: [13:52:53.504] Transpose will fallback to CPU, because input shape has exceeded the max limit\n"
        "I RKNN: [10:18:39.903] Compiler: LayerNorm: Shape not support Target:NPU, turn to Target:CPU implement.\n"
    )
    assert found.reasons["Transpose"] == "input shape has exceeded the max limit"
    assert found.reasons["LayerNorm"].endswith("turn to Target:CPU implement.")


def test_nothing_on_the_npu_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AuditError, match="put nothing on the NPU: 3 Conv, 9 ConvRelu"):
        parse(tmp_path, log("kws_rk3588").replace(" NPU ", " CPU "))


def test_no_table_and_no_simulation_are_findings(tmp_path: Path) -> None:
    compiled = parse(tmp_path, 'edgekit: {"built": true}\n')
    assert [finding.name for finding in compiled.findings] == ["rknn-no-table", "rknn-not-simulated"]


def test_another_answer_in_the_simulator_is_a_finding(tmp_path: Path) -> None:
    compiled = parse(tmp_path, log("kws_rk3588").replace('"same_largest": 16', '"same_largest": 14'))
    assert [finding.name for finding in compiled.findings] == ["rknn-simulator-differs"]
    assert "2 of 16 calibration samples" in compiled.findings[0].message


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (None, "rknn-toolkit2 ended with exit status 0"),
        (b"", "does not begin with RKNN"),
        (b"ELF!" + bytes(100), "does not begin with RKNN"),
        (FILE[:-1], "8 bytes are announced, 71 are there"),
        (FILE.replace(b"rk3588", b"rk3566"), "does not name rk3588"),
    ],
)
def test_a_file_that_is_none_is_refused(tmp_path: Path, model: bytes | None, said: str) -> None:
    with pytest.raises(CompilerError, match=said):
        parse(tmp_path, log("kws_rk3588"), model)


@given(st.text() | st.binary().map(lambda data: data.decode(errors="replace")))
def test_any_text_is_read(text: str) -> None:
    parse_log(text)
    parse_log(f"edgekit: {text}\nD RKNN: [1:1:1.1] {text}")


@given(st.integers(0, 250), st.integers(0, 40_000))
def test_a_cut_log_never_counts_more(lines: int, end: int) -> None:
    text = log("kws_rk3588")
    part = parse_log("\n".join(text.splitlines()[lines:])[:end])
    assert (part.on_npu or 0) <= 13
    assert set(part.on_cpu) <= {"Reshape"}


@pytest.mark.parametrize(
    "said",
    ["[]", "{", '{"samples": 1e999, "max": 1, "mean": 1, "same_largest": 1}', '{"samples": 1, "max": 1}', "[" * 9999],
)
def test_a_simulation_that_makes_no_sense_is_none(said: str) -> None:
    assert parse_log(f"edgekit: {said}\n").simulation is None


def test_a_missing_environment_names_what_makes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEKIT_ENV_DIR", str(tmp_path))
    with pytest.raises(CompilerError, match=r"rknn-toolkit2 2\.5\.0 is missing") as err:
        check_compiler(target(), accelerator("rknn", target_platform="rk3588"), {}, tmp_path)
    assert "edgekit doctor --install rknn" in err.value.hint


def test_float_inputs_of_an_int8_model_are_refused(
    tmp_path: Path, cases: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready = Environment(tool=TOOLS["rknn"], folder=tmp_path / "env", state="ready", python="3.11")
    monkeypatch.setattr(rknn, "inspect_environment", lambda _tool: ready)
    model = (cases / "models" / "tflite_ref" / "kws_hybrid_named_float32.tflite").read_bytes()
    settings = {"target_platform": "rk3588"}
    monkeypatch.setattr(rknn, "builtin_name", lambda _code: "DEQUANTIZE")
    with pytest.raises(CompilerError, match="int8 model with float inputs or outputs") as err:
        rknn.command(request(tmp_path / "work", "rknn", model, settings))
    assert "--io int8" in err.value.hint


def test_settings_become_arguments(tmp_path: Path, cases: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = (cases / "models" / "tflm" / "hello_world_int8.tflite").read_bytes()
    ready = Environment(tool=TOOLS["rknn"], folder=tmp_path / "env", state="ready", python="3.11")
    monkeypatch.setattr(rknn, "inspect_environment", lambda _tool: ready)
    settings = {"target_platform": "rk3566", "optimization_level": "2", "single_core_mode": "true"}
    assert check_compiler(target(), accelerator("rknn"), settings, tmp_path)[1] == "2.5.0"
    asked = replace(request(tmp_path / "work", "rknn", model, settings), calibration=tmp_path / "samples")
    command = rknn.command(asked)
    assert command[0] == str(tmp_path / "env" / "bin" / "python")
    assert '"config": {"target_platform": "rk3566", "optimization_level": 2, "single_core_mode": true}' in command[-1]
    assert f'"samples": "{tmp_path / "samples"}"' in command[-1]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "needs target_platform for npu"),
        ({"target_platform": "rk3399"}, "found 'rk3399', expected rk3588 or"),
        ({"target_platform": "rk3588", "optimization_level": "4"}, "whole number from 0 to 3"),
        ({"target_platform": "rk3588", "compress_weight": "1"}, "expected true or false"),
    ],
)
def test_wrong_settings_are_refused(tmp_path: Path, settings: dict[str, str], said: str) -> None:
    with pytest.raises(CompilerError, match=said):
        check_compiler(target(), accelerator("rknn"), settings, tmp_path)


@pytest.mark.timeout(10)
@pytest.mark.parametrize("part", ["x", "A 1 ", "ERROR: [", "D RKNN: [1] ", "a.b:", " ", "| Total "])
def test_one_endless_line_is_read_in_time(part: str) -> None:
    parse_log(part * (2_000_000 // len(part)))

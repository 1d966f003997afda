"""Hailo's compiler: recorded logs, files by their header, and a stand-in on PATH for its three programs."""

import hashlib
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.compilers import Compiled
from edgekit.compilers.hailo_log import check_hef, parse_log
from edgekit.compilers.step import check_compiler, compile_model
from edgekit.errors import CompilerError
from edgekit.progress import silent
from tests.unit.compile_requests import accelerator, fake_program, path_with, target

pytestmark = pytest.mark.unit

LOGS = Path(__file__).parent / "data" / "hailo"
BODY = b"a description of the network"
HEF = struct.pack(">IIII", 0x01484546, 0, len(BODY), 0) + hashlib.md5(BODY, usedforsecurity=False).digest() + BODY


def log(name: str) -> str:
    return (LOGS / f"{name}.log").read_text(encoding="utf-8")


def test_utilization_and_bandwidth_are_read() -> None:
    found = parse_log(log("single_context"))
    assert found.succeeded
    assert found.contexts == 1
    assert found.figures == {
        "control_percent": 75.0,
        "compute_percent": 62.9,
        "memory_percent": 47.8,
        "inputs_mbit": 9.375,
        "outputs_mbit": 9.22852,
        "ddr_buffers_mbit": 0.0,
        "between_contexts_mbit": 0.0,
        "contexts": 1.0,
    }


def test_the_partition_that_was_applied_counts() -> None:
    text = "[info] Using Single-context flow\n[info] Found valid partition to 3 contexts\n"
    assert parse_log(text).contexts == 3
    assert parse_log(f"{text}[info] Applying selected partition to 4 contexts...").contexts == 4


def test_a_failed_mapping_says_what_there_is_too_little_of() -> None:
    found = parse_log(log("mapping_failed"))
    assert not found.succeeded
    assert found.errors[0] == "Mapping Failed (allocation time: 2s)"
    assert "APUs: 149/120" in found.errors[1]


@given(st.text() | st.binary().map(lambda data: data.decode(errors="replace")))
def test_any_text_is_read(text: str) -> None:
    parse_log(text)
    parse_log(f"| Total     | {text}%  | 1..2%  | 999% |\nBandwidth of DDR buffers: {text} Mbps")


@given(st.binary(max_size=80))
def test_any_bytes_are_no_hef(data: bytes) -> None:
    with pytest.raises(CompilerError):
        check_hef(data)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (b"", "does not begin as one"),
        (bytes(64), "does not begin as one"),
        (HEF[:-1], "28 bytes are announced, 27 are there"),
        (HEF[:-1] + b"!", "its own checksum"),
        (struct.pack(">III", 0x01484546, 2, 999) + bytes(64), "999 bytes are announced"),
    ],
)
def test_a_damaged_hef_is_refused(model: bytes, said: str) -> None:
    with pytest.raises(CompilerError, match=said):
        check_hef(model)


def test_a_whole_hef_passes() -> None:
    check_hef(HEF)
    check_hef(struct.pack(">III", 0x01484546, 2, 32) + bytes(64))


def build(folder: Path, cases: Path, samples: int = 2, **settings: str) -> Compiled:
    model = (cases / "models" / "tflite_ref" / "kws_int8.tflite").read_bytes()

    def calibration() -> Iterator[Mapping[str, np.ndarray[Any, Any]]]:
        for _ in range(samples):
            yield {"input": np.zeros((1, 49, 10, 1), np.float32)}

    return compile_model(
        model,
        target=target(),
        accelerator=accelerator("hailo", hw_arch="hailo8l"),
        settings=settings,
        directory=folder,
        log_folder=folder,
        progress=silent,
        float_tflite=model,
        samples=calibration if samples else None,
    )


def stand_in(folder: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """Says its version, writes down how it was called, replays a log and hands out a .hef when it should compile."""
    folder.mkdir(exist_ok=True)
    (folder / "said.log").write_text(text, encoding="utf-8")
    (folder / "made.hef").write_bytes(HEF)
    fake_program(
        folder / "bin",
        "hailo",
        f"""
echo "$@" >> '{folder / "calls"}'
if [ "$1" = --version ]; then echo "Hailo Dataflow Compiler v3.30.0"; exit 0; fi
if [ "$1" = compiler ]; then cat '{folder / "said.log"}'; cp '{folder / "made.hef"}' model.hef; fi
""",
    )
    monkeypatch.setenv("PATH", path_with(folder / "bin"))


def test_the_whole_step_with_a_stand_in(tmp_path: Path, cases: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(tmp_path, monkeypatch, log("single_context"))
    (tmp_path / "own.alls").write_text("")
    compiled = build(tmp_path, cases, model_script="own.alls")
    assert (compiled.name, compiled.model) == ("model.hef", HEF)
    assert compiled.entry.version == "3.30.0"
    assert [finding.name for finding in compiled.findings] == ["own-quantization"]
    calls = [line.split() for line in (tmp_path / "calls").read_text().splitlines() if line != "--version"]
    assert [call[0] for call in calls] == ["parser", "optimize", "compiler"]
    assert all(call[call.index("--hw-arch") + 1] == "hailo8l" for call in calls)
    assert str(tmp_path / "own.alls") in calls[1]


def test_a_model_in_several_contexts_is_a_finding(tmp_path: Path, cases: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(tmp_path, monkeypatch, log("single_context") + "Applying selected partition to 4 contexts")
    assert "4 contexts are loaded" in build(tmp_path, cases).findings[1].message


def test_exit_status_0_is_not_believed(tmp_path: Path, cases: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(tmp_path, monkeypatch, log("mapping_failed"))
    with pytest.raises(CompilerError, match="did not compile the model: Mapping Failed") as err:
        build(tmp_path, cases)
    assert "compile-hailo.log" in err.value.hint


def test_without_calibration_data_it_cannot_quantize(
    tmp_path: Path, cases: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(tmp_path, monkeypatch, "")
    with pytest.raises(CompilerError, match="quantizes for itself, and has no float model or no calibration data"):
        build(tmp_path, cases, samples=0)


def test_a_missing_compiler_names_hailos_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(CompilerError, match="hailo is not on PATH") as err:
        check_compiler(target(), accelerator("hailo", hw_arch="hailo8"), {}, Path())
    assert "https://hailo.ai/developer-zone" in err.value.hint


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "needs hw_arch for npu"),
        ({"hw_arch": "hailo9"}, "found 'hailo9', expected hailo8 or"),
        ({"hw_arch": "hailo8", "model_script": "none.alls"}, r"none\.alls is no \.alls file"),
    ],
)
def test_wrong_settings_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], said: str
) -> None:
    stand_in(tmp_path, monkeypatch, "")
    with pytest.raises(CompilerError, match=said):
        check_compiler(target(), accelerator("hailo"), settings, tmp_path)


@pytest.mark.timeout(10)
@pytest.mark.parametrize("part", ["x", "A 1 ", "ERROR: [", "D RKNN: [1] ", "a.b:", " ", "| Total "])
def test_one_endless_line_is_read_in_time(part: str) -> None:
    parse_log(part * (2_000_000 // len(part)))

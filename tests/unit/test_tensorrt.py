"""TensorRT: the ONNX export's command line, trtexec's log, and what is said where there is no GPU.

The log's lines were printed by trtexec and are public: https://github.com/NVIDIA/TensorRT/issues/3747 (the device) and
https://github.com/hmorimitsu/ptlflow/issues/65 (the summary).
"""

import json
import shlex
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from edgekit.compilers import tensorrt
from edgekit.compilers.types import CompileRequest, Ran
from edgekit.errors import CompilerError
from edgekit.target import load_target

pytestmark = pytest.mark.unit

LOG = (Path(__file__).parent / "data" / "trtexec" / "trtexec.log").read_text()


@pytest.fixture
def request_(tmp_path: Path) -> CompileRequest:
    (tmp_path / "out").mkdir()
    target = load_target("jetson-orin-nano")
    return CompileRequest(
        model=tmp_path / "model.tflite",
        float_model=tmp_path / "float.tflite",
        folder=tmp_path / "out",
        log=tmp_path / "log.txt",
        target=target,
        accelerator=target.accelerators[0],
        settings={},
        directory=tmp_path,
    )


def exported(request: CompileRequest) -> None:
    (request.folder / tensorrt.ONNX).write_bytes(b"onnx")
    (request.folder / tensorrt.FIDELITY).write_text(
        json.dumps([{"name": "probabilities", "max_error": 1e-6, "sqnr_db": 121.4}])
    )


def test_without_a_gpu_the_line_to_run_is_said_and_kept(request_: CompileRequest) -> None:
    exported(request_)
    made = tensorrt.parse(request_, Ran(status=0, output=""))
    assert (made.name, made.model, made.entry.figures, made.entry.version) == ("model.onnx", b"onnx", {}, None)
    line = made.extra[tensorrt.COMMAND_FILE].decode().strip()
    assert shlex.split(line)[:3] == ["trtexec", "--onnx=model.onnx", "--stronglyTyped"]
    export, missing = made.findings
    assert "probabilities 121.4 dB" in export.message
    assert (missing.name, missing.severity) == ("not-run-here", "warning")
    assert missing.fix.endswith(line)


def test_what_trtexec_measured_is_recorded_with_the_gpu_it_is_of(request_: CompileRequest) -> None:
    exported(request_)
    made = tensorrt.parse(request_, Ran(status=0, output=LOG))
    assert made.entry.version == "8.6.3"
    assert made.entry.figures == {
        "throughput_per_s": 32.7261,
        "gpu_compute_median_ms": 30.333,
        "gpu_compute_mean_ms": 30.3322,
        "latency_median_ms": 30.7585,
        "latency_p99_ms": 30.8523,
    }
    finding = made.findings[1]
    assert finding.message.startswith("TensorRT built an engine on this machine's NVIDIA GeForce RTX 2080: 30.333 ms")


@pytest.mark.parametrize(
    ("status", "output"),
    [(1, "[E] Error[4]: unsupported\n&&&& FAILED"), (0, "said much, and not that it passed"), (-11, "boom")],
)
def test_an_engine_that_was_not_built_is_an_error_whatever_the_status(
    request_: CompileRequest, status: int, output: str
) -> None:
    exported(request_)
    with pytest.raises(CompilerError, match="trtexec") as caught:
        tensorrt.parse(request_, Ran(status=status, output=output))
    assert "[E]" in caught.value.hint


def test_settings_are_numbers_and_become_arguments(request_: CompileRequest) -> None:
    arguments = tensorrt.trtexec_arguments({"workspace_mib": "512", "optimization_level": "5"})
    assert arguments[-2:] == ("--memPoolSize=workspace:512M", "--builderOptimizationLevel=5")
    with pytest.raises(CompilerError, match="workspace_mib: found '1 GB', expected a whole number from 1 to"):
        tensorrt.check(request_.target, request_.accelerator, {"workspace_mib": "1 GB"}, Path())


def test_trtexec_is_used_only_beside_a_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool, node = tmp_path / "trtexec", tmp_path / "nvidiactl"
    tool.write_text("#!/bin/sh\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(tensorrt, "GPU_NODES", (str(node),))
    assert tensorrt.find_trtexec() is None
    node.touch()
    assert tensorrt.find_trtexec() == str(tool)


def test_the_missing_exporter_is_named_with_what_installs_it(
    request_: CompileRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edgekit.errors import ModelError
    from edgekit_converters import to_onnx

    monkeypatch.setattr(to_onnx, "PACKAGES", ("tf2onnx_that_is_not_there", "onnx"))
    with pytest.raises(ModelError, match="The export to ONNX needs tf2onnx_that_is_not_there") as caught:
        tensorrt.command(request_)
    assert 'pip install "edgekit[tensorrt]"' in caught.value.hint


def test_without_a_float_model_nothing_can_be_exported(request_: CompileRequest) -> None:
    from dataclasses import replace as other

    with pytest.raises(CompilerError, match="There is no float model to export"):
        tensorrt.command(other(request_, float_model=None))
    assert replace(request_.accelerator, compiler=None).compiler is None


@given(st.text(max_size=400), st.integers(0, len(LOG)))
def test_any_log_is_read_without_a_crash(noise: str, cut: int) -> None:
    figures = tensorrt.read_figures(LOG[:cut] + noise)
    assert set(figures) <= set(tensorrt.FIGURES)
    assert all(value >= 0 for value in figures.values())

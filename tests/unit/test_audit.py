"""The audit on real files: it finds what is in them, and what was promised and is not."""

import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest

from edgekit.audit import audit, check_delegate, check_ops, read
from edgekit.errors import AuditError, ModelError
from edgekit.precision import check_precision
from edgekit.target import IoName, PrecisionName, load_target
from edgekit_converters.types import Scheme

pytestmark = pytest.mark.unit
RPI4 = load_target("rpi4")
PER_TENSOR_DENSE = Scheme(precision="int8", io="int8", per_channel_fully_connected=False)
"""What MLPerf Tiny's int8 files are."""


def names(path: Path, precision: PrecisionName, io: IoName = "int8") -> set[str]:
    scheme = Scheme(precision=precision, io=io, per_channel_fully_connected=False)
    return {finding.name for finding in check_precision(read(path.read_bytes()), scheme)}


@pytest.mark.parametrize(
    ("file", "macs", "weights"),
    [
        ("tflite_ref/ic_resnet8_float.tflite", 12_501_632, "none"),  # 12.5 MMAC, as MLPerf Tiny publishes
        ("tflite_ref/kws_int8.tflite", 2_656_768, "mixed"),  # convolutions per channel, the last layer per tensor
        ("tflite_ref/vww_int8.tflite", 7_489_664, "mixed"),
        ("coral/mobilenet_v1_0.25_128_quant.tflite", 13_570_304, "per-tensor"),
        ("tflm/mnist_lstm_float.tflite", None, "none"),
    ],
)
def test_multiply_accumulates_and_granularity(cases: Path, file: str, macs: int | None, weights: str) -> None:
    structure = read((cases / "models" / file).read_bytes())
    assert structure.macs == macs
    assert structure.weight_granularity == weights


def test_a_file_that_is_called_float32_and_is_not(cases: Path) -> None:
    hybrid = cases / "models" / "tflite_ref" / "kws_hybrid_named_float32.tflite"
    assert names(hybrid, "float32") == {"quantized-tensor"}
    assert names(hybrid, "dynamic") == {"per-tensor-weights"}
    assert names(hybrid, "int8") == {"float-in-int8", "wrong-io", "per-tensor-weights"}


def test_a_conversion_that_changed_nothing(cases: Path) -> None:
    untouched = cases / "models" / "tflite_ref" / "vww_float.tflite"
    assert names(untouched, "float32") == set()
    assert names(untouched, "float16") == {"nothing-changed"}
    assert names(untouched, "dynamic") == {"nothing-changed"}


def test_full_integer_files_and_their_io(cases: Path) -> None:
    models = cases / "models"
    assert names(models / "tflite_ref" / "kws_int8.tflite", "int8") == set()
    assert names(models / "tflite_ref" / "kws_int8.tflite", "int8", "uint8") == {"wrong-io"}
    assert names(models / "coral" / "keras_lstm_mnist_ptq.tflite", "int8", "uint8") == set()


def test_a_good_file_passes_whole(cases: Path) -> None:
    result = audit((cases / "models/tflite_ref/kws_int8.tflite").read_bytes(), scheme=PER_TENSOR_DENSE, target=RPI4)
    assert {finding.severity for finding in result.findings} <= {"warning", "info"}


@pytest.mark.parametrize(
    ("file", "finding"),
    [
        ("negative/model_invoking_error.tflite", "custom-op"),
        ("negative/person_detect_old_bias_dim.tflite", "does-not-run"),
        ("coral/mobilenet_v1_0.25_128_quant_edgetpu.tflite", "custom-op"),
    ],
)
def test_a_file_that_does_not_run_fails_with_exit_code_3(cases: Path, file: str, finding: str) -> None:
    with pytest.raises(AuditError) as caught:
        audit((cases / "models" / file).read_bytes(), scheme=Scheme(precision="int8", io="uint8"), target=RPI4)
    assert caught.value.exit_code == 3
    assert finding in {item.name for item in caught.value.details["findings"]}
    assert caught.value.hint


def test_an_op_that_the_target_does_not_have(cases: Path) -> None:
    runtime = msgspec.structs.replace(RPI4.runtime, ops=("CONV_2D", "FULLY_CONNECTED"))
    structure = read((cases / "models/tflite_ref/kws_int8.tflite").read_bytes())
    messages = [finding.message for finding in check_ops(structure, msgspec.structs.replace(RPI4, runtime=runtime))]
    assert any("DEPTHWISE_CONV_2D (4 times" in message for message in messages)


def test_a_model_that_crashes_the_runtime_is_a_finding(cases: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    popen = subprocess.Popen

    def dying(_arguments: list[str], **settings: Any) -> "subprocess.Popen[bytes]":
        return popen(["/bin/sh", "-c", "kill -SEGV $$"], **settings)

    # a real process that dies of a real signal, in place of the one that loads the model
    monkeypatch.setattr(subprocess, "Popen", dying)
    with pytest.raises(AuditError, match="SIGSEGV"):
        audit((cases / "models/tflite_ref/kws_int8.tflite").read_bytes(), scheme=PER_TENSOR_DENSE, target=RPI4)


@pytest.mark.parametrize("keep", [0, 3, 8, 100, 40_000, 53_935])
def test_a_truncated_file_is_damaged_and_nothing_crashes(cases: Path, keep: int) -> None:
    data = (cases / "models/tflite_ref/kws_int8.tflite").read_bytes()
    with pytest.raises(ModelError) as caught:
        read(data[:keep], what="kws.tflite")
    assert "kws.tflite" in caught.value.message


def test_another_format_is_named(cases: Path) -> None:
    with pytest.raises(ModelError, match=r"is not a \.tflite file"):
        read((cases / "models/negative/mnist_opset1.onnx").read_bytes())


def test_int16_behind_xnnpack_is_said_to_be_slow() -> None:
    (finding,) = check_delegate(Scheme(precision="int16x8", io="int16"), RPI4)
    assert (finding.name, finding.severity) == ("plain-kernels", "warning")
    assert list(check_delegate(Scheme(precision="int8", io="int8"), RPI4)) == []
    assert list(check_delegate(Scheme(precision="int16x8", io="int16"), load_target("ethos-u55-128"))) == []

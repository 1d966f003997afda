"""Float .tflite -> ONNX with the real tf2onnx, checked with onnxruntime."""

from pathlib import Path

import pytest

from edgekit.compilers.step import compile_model
from edgekit.errors import CompilerError
from edgekit.target import load_target
from edgekit_converters.errors import ConversionError, MismatchError
from edgekit_converters.from_tflite import read_float_model
from edgekit_converters.sources import open_source
from edgekit_converters.to_onnx import finish

pytestmark = [pytest.mark.convert, pytest.mark.slow]


def compiled(path: Path, logs: Path, precision: str = "float32") -> tuple[bytes, bytes, str]:
    from edgekit_converters.quantize import quantize
    from edgekit_converters.types import Scheme

    target = load_target("jetson-orin-nano")
    model = read_float_model(open_source(str(path)), batch=1, hints={})
    scheme = Scheme(precision=precision, io="float32")  # type: ignore[arg-type]
    made = compile_model(
        quantize(model, scheme=scheme).tflite,
        target=target,
        accelerator=target.accelerators[0],
        settings={},
        directory=Path(),
        log_folder=logs,
        progress=lambda *_: None,
        float_tflite=model.tflite,
    )
    return made.model, model.tflite, made.findings[0].message


def test_resnet8_is_the_same_network_in_onnx_and_the_same_bytes_twice(cases: Path, tmp_path: Path) -> None:
    import onnx

    path = cases / "models/tflite_ref/ic_resnet8_float.tflite"
    first, tflite, said = compiled(path, tmp_path)
    assert "dB" in said
    assert compiled(path, tmp_path)[0] == first
    model = onnx.load_from_string(first)
    names = {spec.name for spec in read_float_model(open_source(str(path)), batch=1, hints={}).inputs}
    assert {value.name for value in model.graph.input} == names
    # an output that computes something else is refused
    last = model.graph.node[-1]
    assert last.op_type == "Softmax"
    last.op_type = "Sigmoid"
    del last.attribute[:]
    onnx.save(model, str(tmp_path / "wrong.onnx"))
    with pytest.raises(MismatchError, match=r"differs from the float \.tflite"):
        finish(tmp_path / "wrong.onnx", tflite, "float32")
    (tmp_path / "broken.onnx").write_bytes(first[: len(first) // 2])
    with pytest.raises(ConversionError, match="no whole ONNX file"):
        finish(tmp_path / "broken.onnx", tflite, "float32")


def test_float16_lies_in_the_file_and_its_inputs_stay_float32(cases: Path, tmp_path: Path) -> None:
    import onnx

    made, _, said = compiled(cases / "models/tflite_ref/vww_float.tflite", tmp_path, "float16")
    model = onnx.load_from_string(made)
    kinds = {value.data_type for value in model.graph.initializer}
    assert onnx.TensorProto.FLOAT16 in kinds
    assert model.graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    assert "dB" in said


def test_an_op_that_tf2onnx_does_not_know_is_an_error_with_its_log(cases: Path, tmp_path: Path) -> None:
    with pytest.raises(CompilerError, match="tf2onnx ended with exit status 1") as caught:
        compiled(cases / "models/tflm/mnist_lstm_float.tflite", tmp_path)
    assert "compile-tensorrt.log" in caught.value.hint
    assert (tmp_path / "compile-tensorrt.log").is_file()

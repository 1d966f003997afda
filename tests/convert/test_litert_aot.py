"""A real model through LiteRT's ahead-of-time compilation and its dispatch, with OpenVINO's CPU device."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from edgekit.compilers.litert_vendors import VENDORS, libraries, search_path
from edgekit.compilers.step import compile_model
from edgekit.errors import CompilerError
from edgekit.progress import silent
from tests.unit.compile_requests import accelerator, target

pytestmark = pytest.mark.convert

SETTINGS = {"vendor": "intel_openvino", "soc_model": "PTL", "device": "cpu"}
RUN = """
import json, sys
import numpy as np
from ai_edge_litert.compiled_model import CompiledModel
from ai_edge_litert.hardware_accelerator import HardwareAccelerator
from ai_edge_litert.interpreter import Interpreter
reference, compiled, data = sys.argv[1:]
plain = Interpreter(reference)
plain.allocate_tensors()
source, result = plain.get_input_details()[0], plain.get_output_details()[0]
model = CompiledModel.from_file(compiled, HardwareAccelerator.NPU | HardwareAccelerator.CPU)
inputs, outputs = model.create_input_buffers(0), model.create_output_buffers(0)
samples = np.load(data)
right, same, found_right = 0, 0, 0
for sample, label in zip(samples["x"], samples["y"]):
    sample = sample.reshape(source["shape"])
    plain.set_tensor(source["index"], sample)
    plain.invoke()
    inputs[0].write(sample)
    model.run_by_index(0, inputs, outputs)
    found = int(outputs[0].read(int(np.prod(result["shape"])), np.int8).argmax())
    expected = int(plain.get_tensor(result["index"]).argmax())
    right, found_right, same = right + (expected == label), found_right + (found == label), same + (found == expected)
whole = model.is_fully_accelerated()
json.dump({"whole": whole, "right": int(right), "found": int(found_right), "same": same}, sys.stdout)
"""


def needs_openvino() -> None:
    try:
        libraries(VENDORS["intel_openvino"], "PTL", None, npu=False)
    except CompilerError as err:
        pytest.skip(f"{err.message} {err.hint}")


def test_keyword_spotting_is_compiled_whole_and_as_accurate(tmp_path: Path, cases: Path) -> None:
    needs_openvino()
    reference = cases / "models" / "tflite_ref" / "kws_int8.tflite"
    compiled = compile_model(
        reference.read_bytes(),
        target=target(),
        accelerator=accelerator("litert-aot"),
        settings=SETTINGS,
        directory=tmp_path,
        log_folder=tmp_path,
        progress=silent,
    )
    assert compiled.name == "model_IntelOpenVINO_PTL.tflite"
    assert (compiled.entry.ops_on_accelerator, compiled.entry.ops_on_cpu) == (13, {})
    assert compiled.entry.figures["partitions"] == 1.0
    made = tmp_path / compiled.name
    made.write_bytes(compiled.model)
    path = search_path(libraries(VENDORS["intel_openvino"], "PTL", None, npu=False))
    ran = subprocess.run(
        [sys.executable, "-c", RUN, str(reference), str(made), str(cases / "data" / "kws" / "kws_mfcc_int8.npz")],
        env={**os.environ, "LD_LIBRARY_PATH": path},
        capture_output=True,
        check=True,
        timeout=120,
    )
    found = json.loads(ran.stdout.splitlines()[-1])
    assert found["whole"] is True
    assert found["right"] == 453  # of 500: .906, as upstream measured
    assert abs(found["found"] - found["right"]) <= 2
    assert found["same"] >= 498


def test_intels_npu_compiler_is_not_in_pypi(tmp_path: Path, cases: Path) -> None:
    needs_openvino()
    with pytest.raises(CompilerError, match=r"libopenvino_intel_npu_compiler_loader\.so is not there"):
        compile_model(
            (cases / "models" / "tflite_ref" / "ic_resnet8_int8.tflite").read_bytes(),
            target=target(),
            accelerator=accelerator("litert-aot"),
            settings={**SETTINGS, "device": "npu"},
            directory=tmp_path,
            log_folder=tmp_path,
            progress=silent,
        )

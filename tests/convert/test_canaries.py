"""Private corners of the libraries edgekit stands on; a failure says what moved and where it is used."""

import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.convert

FROZEN = """
import os, sys
os.environ.update(TF_CPP_MIN_LOG_LEVEL="3", CUDA_VISIBLE_DEVICES="-1")
import tensorflow as tf
variable = tf.Variable([[2.0], [3.0]])
function = tf.function(lambda x: tf.matmul(x, variable)).get_concrete_function(tf.TensorSpec((1, 2), name="x"))
sys.stdout.buffer.write(tf.lite.TFLiteConverter.from_concrete_functions([function]).convert())
"""


def test_a_concrete_function_without_trackable_obj_is_frozen() -> None:
    """from_keras.py: deprecated since 2.9. If it goes, conversions fall back to from_keras_model (4-5 times slower)."""
    from ai_edge_litert.interpreter import Interpreter

    from edgekit_converters.structure import read_structure

    data = subprocess.run([sys.executable, "-c", FROZEN], capture_output=True, check=True).stdout
    assert set(read_structure(data).builtin_counts) <= {"FULLY_CONNECTED", "BATCH_MATMUL"}, (
        "variables are not constants"
    )
    interpreter = Interpreter(model_content=data)
    assert interpreter.get_signature_list() == {}, "it brings a signature of its own now: add_signature can go"


@pytest.mark.parametrize(
    ("module", "name", "parameters"),
    [
        (
            "recipe_manager",
            "RecipeManager.add_quantization_config",
            ["regex", "operation_name", "op_config", "algorithm_key"],
        ),
        (
            "algorithm_manager",
            "check_op_quantization_config",
            ["quantization_algorithm", "tfl_op_name", "op_quantization_config"],
        ),
        ("params_generator", "ParamsGenerator.__init__", ["float_tflite"]),
        ("params_generator", "ParamsGenerator.generate_quantization_parameters", ["model_recipe_manager"]),
        ("model_modifier", "ModelModifier.modify_model", ["params", "serialize_to_path", "enable_progress_bar"]),
        ("utils.tfl_flatbuffer_utils", "read_model", ["tflite_model"]),
        ("utils.tfl_flatbuffer_utils", "get_op_scope", ["op", "subgraph_tensors"]),
    ],
)
def test_stages_of_ai_edge_quantizer(module: str, name: str, parameters: list[str]) -> None:
    """quantize.py calls the stages of Quantizer.quantize one by one, recipes.py writes what they follow."""
    found = importlib.import_module(f"ai_edge_quantizer.{module}")
    for part in name.split("."):
        assert hasattr(found, part), f"ai_edge_quantizer.{module} lost {name}"
        found = getattr(found, part)
    own = [parameter for parameter in inspect.signature(found).parameters if parameter != "self"]  # type: ignore[arg-type]
    assert own[: len(parameters)] == parameters, f"the arguments of {name} moved"


def test_names_of_operations_and_algorithms() -> None:
    from ai_edge_quantizer import algorithm_manager, qtyping

    operations = qtyping.TFLOperationName
    for name in ("ALL_SUPPORTED", "INPUT", "OUTPUT", "CONV_2D", "FULLY_CONNECTED"):
        assert hasattr(operations, name), f"TFLOperationName lost {name}, which recipes.py uses"
    assert algorithm_manager.AlgorithmName.NO_QUANTIZE == "no_quantize"


def test_the_schema_module() -> None:
    """flatbuffer.py, float16.py and structure.py read and write through the object API."""
    from ai_edge_litert import schema_py_generated as schema

    for name in (
        "ModelT",
        "SignatureDefT",
        "TensorMapT",
        "BufferT",
        "TensorT",
        "OperatorT",
        "OperatorCodeT",
        "MetadataT",
    ):
        assert hasattr(schema, name), f"the schema lost {name}"
    assert {"offset", "size", "data"} <= set(vars(schema.BufferT())), (
        "buffers changed: large models need another reading"
    )
    assert schema.TensorType.INT8 == 9
    assert schema.BuiltinOperator.DEQUANTIZE == 6


def test_ops_and_views_of_the_interpreter(cases: Path) -> None:
    """statistics.py asks the private _get_ops_details for outputs, and reads through views that tensor() makes."""
    from ai_edge_litert.interpreter import Interpreter

    data = (cases / "models/tflite_ref/ic_resnet8_float.tflite").read_bytes()
    interpreter = Interpreter(model_content=data)
    interpreter.allocate_tensors()
    operations = interpreter._get_ops_details()
    assert {"op_name", "inputs", "outputs"} <= set(operations[0]), "_get_ops_details changed"
    view = interpreter.tensor(interpreter.get_input_details()[0]["index"])
    view()[...] = 1
    assert np.all(view() == 1), "tensor() no longer gives a writable view"

"""Private corners of the libraries edgekit stands on; a failure says what moved and where it is used."""

import importlib
import inspect
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.convert

KERAS = """
import json, os, sys
os.environ.update(TF_CPP_MIN_LOG_LEVEL="3", CUDA_VISIBLE_DEVICES="-1")
import keras
import tensorflow as tf
from edgekit_converters.keras_loops import find_loops, unrolled
variable = tf.Variable([[2.0], [3.0]])
function = tf.function(lambda x: tf.matmul(x, variable)).get_concrete_function(tf.TensorSpec((1, 2), name="x"))
with open(sys.argv[1], "wb") as stream:
    stream.write(tf.lite.TFLiteConverter.from_concrete_functions([function]).convert())
layers = keras.layers
inner = keras.Sequential([layers.Input((4, 3)), layers.Bidirectional(layers.LSTM(2, name="cell"), name="both")])
model = keras.Sequential([layers.Input((4, 3)), inner])
loops = find_loops(model)
with unrolled(loops) as seen:
    graph = tf.function(model, autograph=False).get_concrete_function(tf.TensorSpec((1, 4, 3))).graph
whiles = [operation.type for operation in graph.get_operations() if "While" in operation.type]
print(json.dumps({"loops": len(loops), "steps": list(seen.values()), "whiles": whiles}))
"""

TORCH = """
import inspect, json, sys
import torch
from torch._export.converter import TS2EPConverter
from torch.export.pt2_archive._package import load_pt2
from torch.utils import _pytree
found = {}
network = torch.nn.Linear(2, 3).eval()
program = torch.export.export(network, (torch.zeros(1, 2),))
torch.export.save(program, sys.argv[1])
found["load_pt2"] = list(load_pt2(sys.argv[1]).exported_programs)
script = torch.jit.trace(network, (torch.zeros(1, 2),))
found["TS2EPConverter"] = type(TS2EPConverter(script, (torch.zeros(1, 2),)).convert()).__name__
leaves = _pytree.tree_flatten_with_path({"a": 1, "b": [2]})[0]
found["paths"] = [getattr(path[0], "key", None) for path, _ in leaves if isinstance(path[0], _pytree.MappingKey)]
found["leaves"] = _pytree.tree_leaves({"a": 1, "b": [2]})
args, named = _pytree.tree_unflatten([torch.zeros(1, 2)], program.call_spec.in_spec)
found["in_spec"] = [len(args), len(named)]
aten = torch.ops.aten
schemas = [aten.batch_norm.default._schema, aten.dropout.default._schema]
found["training"] = [[schema.name, *[item.name for item in schema.arguments]] for schema in schemas]
plain, in_place = aten.relu.default._schema.arguments[0], aten.relu_.default._schema.arguments[0]
found["writes"] = [in_place.alias_info.is_write, plain.alias_info]
found["check_guards"] = "check_guards" in inspect.signature(program.module).parameters
print(json.dumps(found))
"""


def ask(script: str, argument: Path) -> Any:
    command = [sys.executable, "-W", "ignore", "-c", script, str(argument)]
    answer = subprocess.run(command, capture_output=True, check=True, text=True)
    return json.loads(answer.stdout.splitlines()[-1])


@pytest.mark.slow
def test_corners_of_keras_and_of_the_converter(tmp_path: Path) -> None:
    """from_keras.py: frozen without ``trackable_obj``, which is deprecated since 2.9: if that goes, conversions fall
    back to from_keras_model (4-5 times slower). keras_loops.py: ``Model._flatten_layers`` finds layers inside wrappers,
    and ``RNN.inner_loop`` reads ``unroll`` while it is traced."""
    from ai_edge_litert.interpreter import Interpreter

    from edgekit_converters.structure import read_structure

    found = ask(KERAS, tmp_path / "frozen.tflite")
    data = (tmp_path / "frozen.tflite").read_bytes()
    assert set(read_structure(data).builtin_counts) <= {"FULLY_CONNECTED", "BATCH_MATMUL"}, (
        "variables are not constants"
    )
    interpreter = Interpreter(model_content=data)
    assert interpreter.get_signature_list() == {}, "it brings a signature of its own now: add_signature can go"
    assert found["loops"] == 2, "_flatten_layers no longer reaches into Bidirectional and nested models"
    assert found["steps"] == [4, 4], "RNN.inner_loop is no longer called with the sequences first"
    assert found["whiles"] == [], "RNN.inner_loop no longer looks at ``unroll``"


@pytest.mark.slow
def test_corners_of_torch(tmp_path: Path) -> None:
    """torch_sources.py loads by load_pt2 and TS2EPConverter; torch_program.py reads call_spec, _pytree and _schema."""
    found = ask(TORCH, tmp_path / "model.pt2")
    assert found["load_pt2"] == ["model"], "load_pt2 no longer gives the programs by name"
    assert found["TS2EPConverter"] == "ExportedProgram"
    assert (found["paths"], found["leaves"], found["in_spec"]) == (["a", "b"], [1, 2], [1, 0]), "_pytree changed"
    norm, dropout = found["training"]
    assert (norm[0], norm[1 + 5]) == ("aten::batch_norm", "training"), "_refuse_state looks at another argument"
    assert (dropout[0], dropout[1 + 2]) == ("aten::dropout", "train"), "_refuse_state looks at another argument"
    assert found["writes"] == [True, None], "alias_info no longer tells what an operator writes"
    assert found["check_guards"], "ExportedProgram.module lost check_guards: loads would fail on other shapes"


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
        (
            "params_generator",
            "ParamsGenerator.generate_quantization_parameters",
            ["model_recipe_manager", "model_qsvs", "enable_progress_bar"],
        ),
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
    for name in ("ALL_SUPPORTED", "INPUT", "OUTPUT", "CONV_2D", "FULLY_CONNECTED", "DEPTHWISE_CONV_2D"):
        assert hasattr(operations, name), f"TFLOperationName lost {name}, which recipes.py uses"
    assert algorithm_manager.AlgorithmName.NO_QUANTIZE == "no_quantize"
    assert algorithm_manager.AlgorithmName.MIN_MAX_UNIFORM_QUANT == "min_max_uniform_quantize"


def test_which_operators_have_kernels() -> None:
    """recipes.py asks check_op_quantization_config by the names of TFL_OP_CODE_TO_NAME; ValueError means no kernel."""
    from ai_edge_litert import schema_py_generated as schema
    from ai_edge_quantizer import qtyping
    from ai_edge_quantizer.utils import tfl_flatbuffer_utils

    from edgekit_converters.recipes import _has_kernel

    names = tfl_flatbuffer_utils.TFL_OP_CODE_TO_NAME
    assert names[schema.BuiltinOperator.CONV_2D] is qtyping.TFLOperationName.CONV_2D
    expected = {"CONV_2D": (True, True), "HARD_SWISH": (True, False), "EMBEDDING_LOOKUP": (False, False)}
    operations = {name: names[getattr(schema.BuiltinOperator, name)] for name in expected}
    found = {name: (_has_kernel(kind, 8), _has_kernel(kind, 16)) for name, kind in operations.items()}
    assert found == expected, "the table of what ai-edge-quantizer quantizes moved: look at recipes.RESCUES"


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

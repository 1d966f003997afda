"""ONNX files that are refused, damaged or hostile."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from edgekit_converters.errors import SourceError
from edgekit_converters.onnx_file import graph_inputs, io_specs, read_onnx

pytestmark = pytest.mark.unit

FLOAT = TensorProto.FLOAT


def model_of(nodes: list[Any], *, opset: int = 17, weights: Any = (), domains: tuple[str, ...] = ()) -> Any:
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", FLOAT, ["N", 3, 4])],
        [helper.make_tensor_value_info("y", FLOAT, ["N", 3, 4])],
        list(weights),
    )
    imports = [helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 1) for domain in domains)]
    return helper.make_model(graph, opset_imports=imports, ir_version=8)


def written(model: Any, folder: Path) -> Path:
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def test_a_model_is_read_with_its_specs(tmp_path: Path) -> None:
    path = written(model_of([helper.make_node("Relu", ["x"], ["y"])]), tmp_path)
    model, files = read_onnx(path)
    assert files == ()
    assert io_specs(graph_inputs(model), path) == {"x": ((None, 3, 4), "float32")}
    assert io_specs(model.graph.output, path) == {"y": ((None, 3, 4), "float32")}


def test_weights_listed_as_inputs_are_none(cases: Path) -> None:
    model, _ = read_onnx(cases / "models/onnx/ultraface_slim-320.onnx")
    assert [value.name for value in graph_inputs(model)] == ["input"]


def test_opset_1_is_refused(cases: Path, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"is of ONNX opset 1, .* onnxruntime begins at opset 7") as caught:
        read_onnx(cases / "models/negative/mnist_opset1.onnx")
    assert "opset 13" in caught.value.hint
    with pytest.raises(SourceError, match="opset 6"):
        read_onnx(written(model_of([helper.make_node("Relu", ["x"], ["y"])], opset=6), tmp_path))


def in_a_branch(node: Any) -> Any:
    branch = helper.make_graph([node], "branch", [], [helper.make_tensor_value_info("y", FLOAT, ["N", 3, 4])])
    return helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch)


@pytest.mark.parametrize("op", ["QLinearConv", "DequantizeLinear", "QLinearMatMul", "MatMulInteger", "ConvInteger"])
def test_quantized_models_are_refused_wherever_the_operator_is(op: str, tmp_path: Path) -> None:
    node = helper.make_node(op, ["x"], ["y"])
    for nodes in ([node], [in_a_branch(node)]):
        with pytest.raises(SourceError, match=f"is quantized already: it has [12] {op}") as caught:
            read_onnx(written(model_of(nodes), tmp_path))
        assert "float model" in caught.value.hint


def test_quantized_by_onnxruntime_is_named_before_its_domain(tmp_path: Path) -> None:
    node = helper.make_node("QLinearAdd", ["x"], ["y"], domain="com.microsoft")
    with pytest.raises(SourceError, match="is quantized already: it has 1 QLinearAdd"):
        read_onnx(written(model_of([node], domains=("com.microsoft",)), tmp_path))


def test_operators_of_other_domains_are_named(tmp_path: Path) -> None:
    node = helper.make_node("FusedConv", ["x"], ["y"], domain="com.microsoft")
    with pytest.raises(SourceError, match=r"not of the ONNX standard: com\.microsoft\.FusedConv") as caught:
        read_onnx(written(model_of([node], domains=("com.microsoft",)), tmp_path))
    assert "optimizer" in caught.value.hint


def test_functions_of_the_model_are_inlined(tmp_path: Path) -> None:
    body = helper.make_function(
        "mine", "twice", ["a"], ["b"], [helper.make_node("Add", ["a", "a"], ["b"])], [helper.make_opsetid("", 17)]
    )
    model = model_of([helper.make_node("twice", ["x"], ["y"], domain="mine")], domains=("mine",))
    model.functions.append(body)
    read, _ = read_onnx(written(model, tmp_path))
    assert [node.op_type for node in read.graph.node] == ["Add"]
    assert not read.functions
    model.functions[0].node[0].op_type = "QLinearAdd"
    with pytest.raises(SourceError, match="quantized already: it has 1 QLinearAdd"):
        read_onnx(written(model, tmp_path))


def external(location: str, **fields: int) -> Any:
    """A model whose one weight lies in ``location``."""
    weight = numpy_helper.from_array(np.ones((3, 4), np.float32), "w")
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, **fields}.items():
        entry = weight.external_data.add()
        entry.key, entry.value = key, str(value)
    return model_of([helper.make_node("Add", ["x", "w"], ["y"])], weights=[weight])


def test_weights_beside_the_model_are_read(tmp_path: Path) -> None:
    (tmp_path / "weights.bin").write_bytes(np.full(12, 7, np.float32).tobytes())
    model, files = read_onnx(written(external("weights.bin", offset=0, length=48), tmp_path))
    assert files == ("weights.bin",)
    (weight,) = model.graph.initializer
    np.testing.assert_array_equal(numpy_helper.to_array(weight), np.full((3, 4), 7))


@pytest.mark.parametrize("location", ["../secret", "/etc/hostname", "sub/../../secret", "", "link", "a\0b"])
def test_weights_outside_the_models_folder_are_refused(location: str, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "secret").write_bytes(bytes(48))
    (folder / "link").symlink_to(tmp_path / "secret")
    with pytest.raises(SourceError, match="which is outside its own folder") as caught:
        read_onnx(written(external(location, length=48), folder))
    assert "beside the model" in caught.value.hint


@pytest.mark.parametrize(("offset", "length"), [(0, 49), (4, 48), (-4, 48), (0, 10**15)])
def test_weights_beyond_the_end_of_their_file(offset: int, length: int, tmp_path: Path) -> None:
    (tmp_path / "weights.bin").write_bytes(bytes(48))
    with pytest.raises(SourceError, match=r"'w' lies beyond the end of weights\.bin"):
        read_onnx(written(external("weights.bin", offset=offset, length=length), tmp_path))


def test_weights_that_are_missing_or_nonsense(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"in weights\.bin cannot be read: .*No such file"):
        read_onnx(written(external("weights.bin"), tmp_path))
    (tmp_path / "weights.bin").write_bytes(bytes(48))
    model = external("weights.bin")
    entry = model.graph.initializer[0].external_data.add()
    entry.key, entry.value = "offset", "many"
    with pytest.raises(SourceError, match="cannot be read"):
        read_onnx(written(model, tmp_path))


def test_more_than_a_protobuf_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(model_of([helper.make_node("Relu", ["x"], ["y"])]), tmp_path)
    monkeypatch.setattr("edgekit_converters.onnx_file.MAX_BYTES", 10)
    with pytest.raises(SourceError, match="up to 2 GiB"):
        read_onnx(path)


def test_inputs_that_no_tflite_takes(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    text = helper.make_tensor_value_info("words", TensorProto.STRING, [1])
    with pytest.raises(SourceError, match=r"'words' of .* is no numeric tensor"):
        io_specs([text], path)
    with pytest.raises(SourceError, match=r"'x' of .* has no shape, not even its rank"):
        io_specs([helper.make_tensor_value_info("x", FLOAT, None)], path)
    assert io_specs([helper.make_tensor_value_info("x", FLOAT, [])], path) == {"x": ((), "float32")}


@given(cut=st.integers(0, 1_092_000))
def test_a_cut_off_model_is_damaged(cases: Path, tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    data = (cases / "models/pytorch_derived/resnet20_cifar10.onnx").read_bytes()
    path = tmp_path_factory.mktemp("cut") / "model.onnx"
    path.write_bytes(data[:cut])
    with pytest.raises(SourceError, match="is damaged or no ONNX model at all"):
        read_onnx(path)


def test_a_graph_the_checker_refuses(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="is damaged or no ONNX model at all: Nodes in a graph must be topologically"):
        read_onnx(written(model_of([helper.make_node("Add", ["x", "nowhere"], ["y"])]), tmp_path))


def calling(functions: list[list[str]]) -> Any:
    """A model that calls ``f0``; function n is made of these operators or calls of other functions."""
    model = model_of([helper.make_node("f0", ["x"], ["y"], domain="own")], domains=("own",))
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    for number, names in enumerate(functions):
        steps = [f"step{step}" for step in range(len(names) - 1)]
        nodes = [
            helper.make_node(name, [before], [after], domain="own" if name.startswith("f") else "")
            for name, before, after in zip(names, ["in", *steps], [*steps, "out"], strict=True)
        ]
        model.functions.append(helper.make_function("own", f"f{number}", ["in"], ["out"], nodes, imports))
    return model


def test_functions_are_written_out(tmp_path: Path) -> None:
    model, _ = read_onnx(written(calling([["f1", "f1"], ["Relu"]]), tmp_path))
    assert [node.op_type for node in model.graph.node] == ["Relu", "Relu"]


def test_functions_that_written_out_fill_the_memory_are_refused(tmp_path: Path) -> None:
    doubling = [[f"f{number + 1}"] * 2 for number in range(30)]
    with pytest.raises(SourceError, match=r"written out make 1\.07e\+09 nodes"):
        read_onnx(written(calling([*doubling, ["Relu"]]), tmp_path))
    with pytest.raises(SourceError, match="call each other without end"):
        read_onnx(written(calling([["f1"], ["f0"]]), tmp_path))

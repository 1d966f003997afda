"""What PyTorch files are told apart by, without torch."""

import zipfile
from pathlib import Path

import pytest

from edgekit_converters.errors import SourceError
from edgekit_converters.sources import detect_format, open_source
from edgekit_converters.torch_archive import is_arithmetic, is_operation

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("name", "expected"), [("resnet20_cifar10.pt2", "torch-export"), ("resnet20_cifar10_ts.pt", "torchscript")]
)
def test_real_files(cases: Path, name: str, expected: str) -> None:
    assert detect_format(cases / "models/pytorch_derived" / name) == expected


@pytest.mark.parametrize(
    ("member", "message"),
    [
        ("weights/data.pkl", "weights without a network; edgekit cannot build from it"),
        ("serialized_exported_program.json", "torch 2.7 or before; export it again"),
    ],
)
def test_archives_that_are_no_network(member: str, message: str, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "w.pth", "w") as archive:
        archive.writestr(member, "x")
    with pytest.raises(SourceError, match=message):
        detect_format(tmp_path / "w.pth")


def test_weights_alone_say_how_to_give_the_network(cases: Path) -> None:
    with pytest.raises(SourceError, match="weights without a network") as caught:
        detect_format(cases / "models/pytorch/resnet20-12fca82f.th")
    assert "edgekit build package.module:function --weights" in caught.value.hint


def test_weights_belong_to_a_function(cases: Path) -> None:
    assert open_source("net:make", weights=Path("w.pth")).format == "torch-factory"
    with pytest.raises(SourceError, match=r"Weights were given, and .* holds its own"):
        open_source(cases / "models/pytorch_derived/resnet20_cifar10.pt2", weights=Path("w.pth"))


@pytest.mark.parametrize(
    "target",
    [
        "torch.ops.aten.conv2d.default",
        "torch.ops.aten.__and__.Tensor",
        "torch.sym_max",
        "_operator.getitem",
        "math.ceil",
    ],
)
def test_operations_on_tensors(target: str) -> None:
    assert is_operation(target)


@pytest.mark.parametrize(
    "target",
    [
        "torch.os.system",
        "torch.hub.load",
        "torch.ops.load_library",
        "torch.ops.load_library.__call__",
        "torch.ops.aten.relu.__globals__",
        "_operator.methodcaller",
        "_operator.call",
        "math.__loader__.load_module",
        "#anything.torch.os.system",
    ],
)
def test_other_functions_are_no_operations(target: str) -> None:
    assert not is_operation(target)


@pytest.mark.parametrize(
    "expression",
    [
        "s0",
        "Symbol('s40', positive=True, integer=True)",
        "Mul(Integer(2), Symbol('s1'))",
        "2*s77 + 1",
        "Max(1, FloorDiv(s0, 2))",
        "Eq(s0, 4)",
        "0.5*s1",
        "u0 >= 2",
    ],
)
def test_sizes(expression: str) -> None:
    assert is_arithmetic(expression)


@pytest.mark.parametrize(
    "expression",
    [
        "__import__('os').system('x')",
        "().__class__",
        "s0.func",
        "exec(s0)",
        "lambda: 1",
        "[x for x in s0]",
        "open('f')",
    ],
)
def test_code_is_no_size(expression: str) -> None:
    assert not is_arithmetic(expression)

"""Which op goes where, and why not: rules against ops, the order of accelerators, what a compiler told."""

import tomllib
from pathlib import Path
from typing import Any

import pytest
from msgspec import convert
from msgspec.structs import replace

from edgekit.errors import TargetError
from edgekit.placement import DelegateRules, Placement, from_taken, load_rules, place, rules_of
from edgekit.placement.checks import CHECKS
from edgekit.target import Target, load_target, target_folders
from edgekit_converters.structure import Structure, read_structure
from tests.unit.op_graphs import chain, graph, op, tensor

pytestmark = pytest.mark.unit
SHIPPED = sorted((target_folders(Path("/nonexistent"))[1] / "rules").glob("*.toml"))
shipped = pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)


def rules(*ops: dict[str, Any], **more: Any) -> DelegateRules:
    known = {"schema_version": 1, "name": "npu", "description": "", "version": "1", "source": "https://example.org"}
    return convert({**known, "ops": list(ops), **more}, DelegateRules)


def target(*accelerators: dict[str, Any]) -> Target:
    """The Raspberry Pi 4's profile with these accelerators."""
    known = {"name": "npu", "kind": "npu", "delegate": "libnpu.so", "rules": "npu", "source": "https://example.org"}
    found = tuple(convert({**known, **each}, type(load_target("rpi4").accelerators[0])) for each in accelerators)
    return replace(load_target("rpi4"), accelerators=found)


def placed(structure: Structure, taken: DelegateRules, **accelerator: Any) -> Placement:
    return place(structure, target(accelerator), {"npu": taken})


def reasons(structure: Structure, taken: DelegateRules) -> list[tuple[str, str]]:
    return [(each.reason, each.change) for each in placed(structure, taken).ops[0].refusals]


@shipped
def test_every_shipped_rules_file_names_ops_checks_and_changes_that_there_are(path: Path) -> None:
    from ai_edge_litert import schema_py_generated as schema

    builtins = {name for name in vars(schema.BuiltinOperator) if not name.startswith("_")}
    found = load_rules(path.stem)
    assert path.read_text().count("https://")
    assert tomllib.loads(path.read_text())["source"].startswith("https://")
    keys = {"dtypes", "weights", "per_channel", "ranks", "max_version", "static"}
    keys |= {option for rule in found.ops for option in rule.options}
    assert {name for rule in found.ops for name in rule.ops} <= builtins
    assert {name for rule in found.ops for name in rule.checks} <= CHECKS.keys()
    assert found.changes.keys() <= builtins | CHECKS.keys() | keys


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        ({"ops": ["ADD"]}, "CONV_2D is not among the ops it takes"),
        ({"dtypes": ["float32", "int16"]}, "int8 data, taken are float32, int16"),
        ({"weights": ["int16"]}, "int4 weights, taken are int16"),
        ({"per_channel": False}, "a scale per channel in its weights, taken is one scale"),
        ({"ranks": [2, 3]}, "an input of rank 4, taken are 2, 3"),
        ({"max_version": 2}, "version 5 of the operator, the newest it knows is 2"),
        ({"options": {"strideW": {"max": 3}}}, "strideW 4, taken is at most 3"),
        ({"options": {"strideW": {"min": 5}}}, "strideW 4, taken is at least 5"),
        ({"options": {"padding": {"one_of": ["SAME"]}}}, "padding VALID, taken is SAME"),
        ({"options": {"dilationWFactor": {"max": 1}}}, "dilationWFactor that is left out, taken is at most 1"),
        ({"checks": ["ethos-constant-bias"]}, "a bias that another op makes, taken are constants"),
        (
            {"ranks": [2], "max_version": 1},
            "an input of rank 4, taken are 2; version 5 of the operator, the newest it knows is 1",
        ),
    ],
)
def test_every_key_of_a_rule_says_what_breaks_it(rule: dict[str, Any], reason: str) -> None:
    weights = tensor(1, (4, 3, 3, 4), "int4", constant=True, scales=4, scales_values=(0.1,) * 4)
    bias = tensor(2, (4,), "int8")
    convolution = op(
        0, "CONV_2D", [tensor(0), weights, bias], [tensor(3)], version=5, options={"strideW": 4, "padding": "VALID"}
    )
    [(why, change)] = reasons(graph([convolution]), rules({"ops": ["CONV_2D"], **rule}))
    assert (why, change) == (reason, "")
    assert not reasons(graph([convolution]), rules({"ops": ["CONV_2D"]}))


def test_an_open_shape_is_refused_unless_the_rule_allows_it() -> None:
    model = graph([op(0, "ADD", [tensor(0, (-1, 8))], [tensor(1, (-1, 8))])])
    assert reasons(model, rules({"ops": ["ADD"]})) == [("a shape that is not known before it runs", "")]
    assert not reasons(model, rules({"ops": ["ADD"], "static": False}))


def test_the_nearest_of_several_rules_gives_the_reason_and_the_change() -> None:
    taken = rules(
        {"ops": ["MEAN"], "dtypes": ["float32"], "ranks": [2]},
        {"ops": ["MEAN"], "dtypes": ["int8"], "ranks": [3]},
        changes={"ranks": "Use average pooling.", "MEAN": "Do without."},
    )
    assert reasons(chain("MEAN"), taken) == [("an input of rank 4, taken are 3", "Use average pooling.")]
    only_op = rules({"ops": ["MEAN"], "ranks": [3]}, changes={"MEAN": "Do without."})
    assert reasons(chain("MEAN"), only_op)[0][1] == "Do without."
    assert reasons(chain("SIN"), rules(changes={"SIN": "Use COS."}))[0][1] == "Use COS."


def test_rules_with_a_check_that_is_not_there_are_refused() -> None:
    with pytest.raises(
        TargetError, match="The rules of ADD name the check 'magic', which edgekit does not have"
    ) as err:
        placed(chain("ADD"), rules({"ops": ["ADD"], "checks": ["magic"]}))
    assert "ethos-mean" in err.value.hint


def test_accelerators_are_asked_in_their_order_and_the_last_resort_is_the_cpu() -> None:
    board = target({}, {"name": "fast", "kind": "cpu", "rules": "fast"})
    both = {"npu": rules({"ops": ["ADD"]}), "fast": rules({"ops": ["ADD", "MUL"]}, name="fast")}
    found = place(chain("ADD", "MUL", "SIN"), board, both)
    assert [each.processor for each in found.ops] == ["npu", "fast", "cpu"]
    assert [[r.accelerator for r in each.refusals] for each in found.ops] == [[], ["npu"], ["npu", "fast"]]
    assert (found.basis, found.told_by) == ("prediction", "rules/npu.toml (1), rules/fast.toml (1)")
    assert found.counts == {"npu": 1, "fast": 1, "cpu": 1}
    assert [(t.source, t.destination) for t in found.transfers] == [("cpu", "npu"), ("npu", "fast")]


def test_what_is_cut_off_says_so() -> None:
    taken = {"ops": ["ADD"]}
    stopped = placed(chain("ADD", "SIN", "ADD"), rules(taken, stops=True))
    assert [each.processor for each in stopped.ops] == ["npu", "cpu", "cpu"]
    assert "comes after an op that is not" in stopped.ops[2].refusals[0].reason
    limited = placed(chain("ADD", "SIN", "ADD", "ADD"), rules(taken), max_subgraphs=1)
    assert [each.processor for each in limited.ops] == ["cpu", "cpu", "npu", "npu"]
    assert "only the 1 largest" in limited.ops[0].refusals[0].reason


def test_nothing_is_predicted_for_an_accelerator_without_rules() -> None:
    found = place(chain("ADD"), target({"rules": None}), {})
    assert (found.not_predicted, found.told_by, found.counts) == (("npu",), "", {"cpu": 1})


def test_a_compiler_sees_the_first_subgraph_and_a_delegate_all() -> None:
    loop = op(0, "WHILE", [tensor(0)], [tensor(1)])
    body = op(0, "ADD", [tensor(0)], [tensor(1)], subgraph=1)
    taken = rules({"ops": ["ADD"]})
    assert [each.processor for each in placed(graph([loop, body]), taken).ops] == ["cpu", "npu"]
    compiled = placed(graph([loop, body]), taken, compiler="vela")
    assert compiled.ops[1].refusals[0].reason == "it is in subgraph 1, which another op calls"
    assert [partition.ops for partition in compiled.partitions] == [(0,)]


def test_what_a_compiler_told_has_the_same_partitions_as_a_prediction_of_it() -> None:
    structure = chain("ADD", "SIN", "ADD")
    board = target({})
    told = from_taken(
        structure, board, {"npu": {0, 2}}, basis="compiler", told_by="it 1.0", reasons={"npu": {"SIN": "no table"}}
    )
    predicted = place(structure, board, {"npu": rules({"ops": ["ADD"]})})
    assert (told.partitions, told.transfers) == (predicted.partitions, predicted.transfers)
    assert [each.processor for each in told.ops] == ["npu", "cpu", "npu"]
    assert [r.reason for r in told.ops[1].refusals] == ["no table"]


@pytest.mark.parametrize("name", ["mobilenet_v1_0.25_128_quant", "keras_lstm_mnist_ptq"])
def test_models_that_coral_compiled_whole_are_predicted_whole(cases: Path, name: str) -> None:
    coral = load_target("coral-usb")
    structure = read_structure((cases / "models" / "coral" / f"{name}.tflite").read_bytes())
    found = place(structure, coral, rules_of(coral))
    assert found.counts == {"edgetpu": len(structure.ops)}
    assert len(found.partitions) == 1
    assert [(t.source, t.destination) for t in found.transfers] == [("cpu", "edgetpu"), ("edgetpu", "cpu")]


def test_a_float_model_stays_off_the_edge_tpu_and_the_reason_is_its_dtype(cases: Path) -> None:
    coral = load_target("coral-usb")
    structure = read_structure((cases / "models/tflite_ref/ic_resnet8_float.tflite").read_bytes())
    found = place(structure, coral, rules_of(coral))
    assert "edgetpu" not in found.counts
    first = found.ops[0].refusals[0]
    assert "float32 data, taken are int8, uint8" in first.reason
    assert "--precision int8" in first.change

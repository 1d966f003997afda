"""``edgekit inspect --target``: what is shown, who says it, and what is refused."""

import json
import re
from pathlib import Path

import pytest
from msgspec.structs import replace

from edgekit.artifact import write_artifact
from edgekit.cli import cli
from edgekit.cli.failures import guarded
from edgekit.compilers.entries import CompilationEntry
from edgekit.errors import CompilerError
from edgekit.placement import Placement, from_taken
from edgekit.target import Target, load_target
from edgekit.target_placement import TargetPlacement, place_on
from edgekit_converters.structure import read_structure
from edgekit_converters.types import Finding
from tests.unit.delegate_models import chain
from tests.unit.test_artifact import manifest

pytestmark = pytest.mark.unit
CORAL = "models/coral/mobilenet_v1_0.25_128_quant.tflite"
KWS = "models/tflite_ref/kws_int8.tflite"
GOLDEN = """
on rpi4: a prediction, nothing was run. By rules/xnnpack.toml (ai-edge-litert 2.3.0).
  cpu: 1 of 4 ops
  xnnpack: 3 of 4 ops

    processor   ops           what
─────────────────────────────────────────
1   cpu         #0            FLOOR_MOD
2   xnnpack     3, #1 to #3   2 ADD, TANH

does not fit   where     why                                       change
─────────────────────────────────────────────────────────────────────────
FLOOR_MOD #0   xnnpack   FLOOR_MOD is not among the ops it takes
"""


def run(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    code = guarded(cli, arguments)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def flat(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.splitlines())


def on(name: str, tflite: bytes, *, compile_it: bool = True) -> TargetPlacement:
    return place_on(
        tflite, load_target(name), None, directory=Path(), compile_it=compile_it, progress=lambda *_args, **_more: None
    )


def test_a_placement_is_shown_with_its_reasons(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = tmp_path / "m.tflite"
    model.write_bytes(chain(["FLOOR_MOD", "ADD", "TANH", "ADD"]))
    code, out, _ = run(["inspect", str(model), "--target", "rpi4"], capsys)
    assert code == 0
    assert flat(out).endswith(flat(GOLDEN))
    code, out, _ = run(["inspect", str(model), "--target", "rpi4", "-v"], capsys)
    assert re.search(r"#3 +ADD +xnnpack +t3", out)


def test_without_its_compiler_it_is_a_prediction_that_says_how_to_get_it(
    cases: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    code, out, err = run(["inspect", str(cases / CORAL), "--target", "coral-usb"], capsys)
    assert code == 0
    assert "edgetpu_compiler is not on PATH" in err
    assert "coral.ai/docs/edgetpu/compiler" in err
    assert "a prediction, nothing was run. By rules/edgetpu.toml" in out
    assert "edgetpu: 31 of 31 ops, 100.0 % of the multiply-accumulates" in out
    assert "49,152   cpu       edgetpu" in out


def test_as_json(cases: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(["inspect", str(cases / CORAL), "--target", "coral-usb", "--no-compile", "--json"], capsys)
    found = json.loads(out)["placement"]
    assert (code, found["target"], found["told"], found["differences"]) == (0, "coral-usb", None, [])
    assert found["prediction"]["basis"] == "prediction"
    assert {op["processor"] for op in found["prediction"]["ops"]} == {"edgetpu"}
    code, out, _ = run(["inspect", str(cases / CORAL), "--json"], capsys)
    assert json.loads(out)["placement"] is None


def test_a_compiled_file_says_what_it_holds_itself(cases: Path) -> None:
    found = on("coral-usb", (cases / CORAL.replace(".tflite", "_edgetpu.tflite")).read_bytes())
    assert (found.prediction, found.differences) == (None, ())
    assert (found.placement.basis, found.placement.told_by) == ("compiler", "the file itself")
    assert found.placement.counts == {"edgetpu": 1}
    elsewhere = on("rpi4", (cases / CORAL.replace(".tflite", "_edgetpu.tflite")).read_bytes())
    assert [finding.name for finding in elsewhere.findings] == ["custom-op"]


def test_vela_is_asked_and_the_rules_say_the_same(cases: Path) -> None:
    pytest.importorskip("ethosu.vela")
    found = on("ethos-u55-128", (cases / KWS).read_bytes())
    assert found.told is not None
    assert found.told.told_by.startswith("vela ")
    assert found.told.counts == {"ethos-u55-128": 13}
    assert found.differences == ()


def test_vela_that_takes_nothing_is_an_answer(cases: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("ethosu.vela")
    path = cases / "models/tflite_ref/kws_hybrid_named_float32.tflite"
    code, out, _ = run(["inspect", str(path), "--target", "ethos-u55-128"], capsys)
    assert code == 0
    assert "told by vela" in out
    assert "cpu: 13 of 13 ops" in out
    assert "unsupported DataType Float32" in out  # Vela's words
    assert "Build with --precision int8" in out  # the rules' advice
    assert "The rules predict the same, op for op." in out


def test_what_differs_from_the_prediction_is_shown(
    cases: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def nothing(tflite: bytes, *, target: Target, **_more: object) -> tuple[Placement, tuple[Finding, ...]]:
        told = from_taken(read_structure(tflite), target, {}, basis="compiler", told_by="vela")
        return told, (Finding(name="slow", severity="info", message="Slow.", fix="Wait."),)

    monkeypatch.setattr("edgekit.target_placement.place_by_compiler", nothing)
    monkeypatch.setattr("edgekit.target_placement.check_compiler", lambda *_args: ({}, None))
    code, out, err = run(["inspect", str(cases / KWS), "--target", "ethos-u55-128"], capsys)
    assert code == 0
    assert "on ethos-u55-128: told by vela." in out
    assert "CONV_2D #0: predicted for ethos-u55-128, placed on cpu" in out
    assert "Slow." in err


def test_a_compiler_that_fails_leaves_the_prediction(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_args: object, **_more: object) -> None:
        raise CompilerError("Vela crashed.", hint="Try another version. Log: /tmp/gone.log.")

    monkeypatch.setattr("edgekit.target_placement.place_by_compiler", fail)
    monkeypatch.setattr("edgekit.target_placement.check_compiler", lambda *_args: ({}, "9.9"))
    found = on("ethos-u55-128", chain(["ADD"]))
    assert (found.told, found.placement.basis) == (None, "prediction")
    [finding] = [each for each in found.findings if each.name == "prediction-only"]
    assert (finding.message, finding.fix) == (
        "Vela crashed.",
        "Try another version.",
    )


def test_it_is_not_asked_with_no_compile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgekit.target_placement.check_compiler", lambda *_args: ({}, "9.9"))
    found = on("ethos-u55-128", chain(["ADD"]), compile_it=False)
    assert found.told is None
    assert "vela is here and was not run" in found.findings[-1].message


def test_an_artifact_is_placed_on_its_own_target(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = {"model.tflite": chain(["ADD", "FLOOR_MOD"]), "golden/golden.json": b"{}"}
    known = write_artifact(tmp_path / "known", files, manifest())
    code, out, _ = run(["inspect", str(known.path)], capsys)
    assert code == 0
    assert "on rpi4: a prediction" in out
    gone = write_artifact(tmp_path / "gone", files, replace(manifest(), target="gone"))
    code, out, err = run(["inspect", str(gone.path)], capsys)
    assert code == 0
    assert "There is no target 'gone'. No op is placed." in err
    assert "a prediction" not in out


def test_a_compiled_artifact_is_held_against_its_reference(
    cases: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    compiled = CompilationEntry(
        compiler="edgetpu", version="14.1", accelerator="edgetpu", settings={}, ops_on_accelerator=31, ops_on_cpu={}
    )
    entry = replace(
        manifest(), target="coral-usb", model="model_edgetpu.tflite", reference="reference.tflite", compilation=compiled
    )
    files = {
        "model_edgetpu.tflite": (cases / CORAL.replace(".tflite", "_edgetpu.tflite")).read_bytes(),
        "reference.tflite": (cases / CORAL).read_bytes(),
        "golden/golden.json": b"{}",
    }
    made = write_artifact(tmp_path / "coral", files, entry)
    code, out, _ = run(["inspect", str(made.path)], capsys)
    assert code == 0
    assert "on coral-usb: told by edgetpu 14.1." in out
    assert "edgetpu: 31 of 31 ops" in out
    assert "The rules predict the same, op for op." in out


def test_a_reason_is_said_once_for_all_kinds_of_ops(cases: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = str(cases / "models/tflite_ref/ic_resnet8_float.tflite")
    code, out, _ = run(["inspect", model, "--target", "coral-usb"], capsys)
    assert code == 0
    assert out.count("the Edge TPU computes in 8-bit integers only") == 2, "with weights and without"
    assert re.search(r"^9 CONV_2D from #0, FULLY_CONNECTED #14 +edgetpu", out, re.MULTILINE)


def test_where_nobody_tells_nothing_is_placed(
    cases: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    code, out, err = run(["inspect", str(cases / KWS), "--target", "rpi5-hailo-8l"], capsys)
    assert code == 0
    assert out.rstrip().endswith("on rpi5-hailo-8l: What hailo-8l would take is not known.")
    assert "so nothing is predicted for it.\n  fix: `edgekit build --target rpi5-hailo-8l`" in err
    code, out, _ = run(["inspect", str(cases / KWS), "--target", "nucleo-h743zi"], capsys)
    assert "on nucleo-h743zi: no accelerator, so the CPU runs everything." in out


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        (["--target", "rpi44"], "There is no target 'rpi44'", "rpi4"),
        (["--target", "mine"], "rules/npu.toml is not valid TOML", "Correct the line"),
        (["--target", "theirs"], "accelerators[0].rules: found 'nowhere'", "Leave `rules` away"),
    ],
)
def test_a_target_or_rules_that_cannot_be_used(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    message: str,
    hint: str,
) -> None:
    shipped = (Path(__file__).parents[2] / "targets" / "rpi4.toml").read_text()
    (tmp_path / "targets" / "rules").mkdir(parents=True)
    for name, rules in (("mine", "npu"), ("theirs", "nowhere")):
        own = shipped.replace('name = "rpi4"', f'name = "{name}"').replace('rules = "xnnpack"', f'rules = "{rules}"')
        (tmp_path / "targets" / f"{name}.toml").write_text(own)
    (tmp_path / "targets" / "rules" / "npu.toml").write_text("name = ")
    (tmp_path / "m.tflite").write_bytes(chain(["ADD"]))
    monkeypatch.chdir(tmp_path)
    code, _, err = run(["inspect", "m.tflite", *arguments], capsys)
    assert code == 1
    assert message in err
    assert hint in err

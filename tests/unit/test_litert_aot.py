"""LiteRT ahead of time: what its tool says for each maker, recorded here, and what is refused before it is run."""

import importlib.util
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.compilers import Ran, litert_aot
from edgekit.compilers.litert_aot import parse_log
from edgekit.compilers.litert_vendors import VENDORS, libraries, models, plugin
from edgekit.compilers.step import check_compiler
from edgekit.errors import CompilerError
from tests.unit.compile_requests import accelerator, request, target

pytestmark = pytest.mark.unit

LOGS = Path(__file__).parent / "data" / "litert_aot"
CHIPS = {
    "qualcomm": "SM8750",
    "mediatek": "MT6991",
    "samsung": "E9965",
    "google_tensor": "Tensor_G5",
    "intel_openvino": "PTL",
}


def log(name: str) -> str:
    return (LOGS / f"{name}.log").read_text(encoding="utf-8")


def without_sdks(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine where none is installed."""
    real = importlib.util.find_spec

    def find(name: str) -> object:
        return None if name.startswith(("ai_edge_litert_sdk", "openvino")) else real(name)

    monkeypatch.setattr("importlib.util.find_spec", find)


def test_every_maker_has_a_plugin_and_chips() -> None:
    assert set(CHIPS) == set(VENDORS)
    for name, chip in CHIPS.items():
        assert plugin(VENDORS[name]).is_file()
        assert chip in models(VENDORS[name])


def test_partitions_are_read() -> None:
    assert parse_log(log("intel_cpu")) == {"ops_selected": 16.0, "ops_total": 16.0, "partitions": 1.0}
    assert parse_log(log("intel_cpu") * 2) == {"ops_selected": 32.0, "ops_total": 32.0, "partitions": 2.0}
    assert parse_log(log("qualcomm")) == {}


def test_more_selected_than_there_are_is_not_believed() -> None:
    assert parse_log("Partitioned subgraph<0>, selected 9 ops, from a total of 3 ops. resulted in 1 partitions.") == {}


@given(st.text() | st.binary().map(lambda data: data.decode(errors="replace")))
def test_any_text_is_read(text: str) -> None:
    found = parse_log(text)
    assert not found or found["ops_selected"] <= found["ops_total"]


@pytest.mark.parametrize(
    ("name", "said", "hint"),
    [
        ("qualcomm", "libQnnHtp.so: cannot open shared object file", "sdk_libs"),
        ("mediatek", "Failed to load NeuronAdapter shared library", "MediaTek's SDK"),
        ("samsung", "undefined symbol: _ZN11flatbuffers13ClassicLocale9instance_E", "another version"),
        ("google_tensor", "liblitert_plugin_compiler.so: cannot open shared object file", "sdk_libs"),
        ("intel_without_openvino", "libopenvino.so.2631: cannot open shared object file", "sdk_libs"),
        ("intel_npu", "libopenvino_intel_npu_compiler_loader.so: cannot open shared object file", "sdk_libs"),
        ("variable_tensors", "Variable tensors not yet supported", "streaming"),
    ],
)
def test_recorded_failures_name_the_cause(tmp_path: Path, name: str, said: str, hint: str) -> None:
    settings = {"vendor": "intel_openvino", "soc_model": "PTL"}
    asked = request(tmp_path, "litert-aot", b"", settings)
    (asked.folder / "model_IntelOpenVINO_PTL.tflite").write_bytes(b"")  # it leaves an empty file behind
    with pytest.raises(CompilerError, match="apply_plugin_main did not compile the model") as err:
        litert_aot.parse(asked, Ran(status=0, output=log(name)))
    assert said in err.value.message
    assert hint in err.value.hint


def test_what_is_compiled_for_a_cpu_is_a_finding(tmp_path: Path) -> None:
    settings = {"vendor": "intel_openvino", "soc_model": "PTL", "device": "cpu"}
    asked = request(tmp_path, "litert-aot", b"", settings)
    (asked.folder / "model_IntelOpenVINO_PTL.tflite").write_bytes(b"file")
    compiled = litert_aot.parse(asked, Ran(status=0, output=log("intel_cpu")))
    assert compiled.told_cpu_ops == 0
    assert [finding.name for finding in compiled.findings] == ["not-the-npu"]


@pytest.mark.parametrize(
    ("vendor", "said", "hint"),
    [
        ("qualcomm", "Qualcomm's libQnnHtp.so is not there", "pip install ai-edge-litert-sdk-qualcomm"),
        ("mediatek", "MediaTek's libneuron_adapter.so is not there", "ends with success without it"),
        ("google_tensor", "Google's liblitert_plugin_compiler.so", "sdk_libs"),
        ("intel_openvino", r"OpenVINO's libopenvino.so.2631, and OpenVINO is not", 'pip install "openvino==2026.3.1"'),
    ],
)
def test_a_missing_sdk_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, vendor: str, said: str, hint: str
) -> None:
    without_sdks(monkeypatch)
    settings = {"vendor": vendor, "soc_model": CHIPS[vendor]}
    with pytest.raises(CompilerError, match=said) as err:
        check_compiler(target(), accelerator("litert-aot"), settings, tmp_path)
    assert hint in err.value.hint


def test_samsungs_plugin_in_this_wheel_does_not_load(tmp_path: Path) -> None:
    settings = {"vendor": "samsung", "soc_model": "E9965"}
    with pytest.raises(CompilerError, match="cannot load its plug-in: undefined symbol") as err:
        check_compiler(target(), accelerator("litert-aot"), settings, tmp_path)
    assert "another version" in err.value.hint


def test_a_damaged_library_is_named(tmp_path: Path) -> None:
    (tmp_path / "libQnnHtp.so").write_bytes(b"")
    settings = {"vendor": "qualcomm", "soc_model": "SM8750", "sdk_libs": str(tmp_path)}
    with pytest.raises(CompilerError, match=r"libQnnHtp\.so: file too short"):
        check_compiler(target(), accelerator("litert-aot"), settings, tmp_path)


def test_an_sdk_of_the_users_own_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(litert_aot, "_load", lambda *_: None)
    (tmp_path / "libQnnHtp.so").write_bytes(b"")
    settings = {"vendor": "qualcomm", "soc_model": "SM8750", "sdk_libs": str(tmp_path), "max_partitions": "1"}
    settings["options"] = "qualcomm_optimization_level=O3"
    merged, version = check_compiler(target(), accelerator("litert-aot"), settings, Path())
    assert version == "2.3.0"
    command = litert_aot.command(request(tmp_path / "work", "litert-aot", b"", merged))
    assert command[-2:] == ("--compiler_options_max_partitions=1", "--qualcomm_optimization_level=O3")
    assert "--soc_model=SM8750" in command
    assert libraries(VENDORS["qualcomm"], "SM8750", tmp_path) == (tmp_path,)
    with pytest.raises(CompilerError, match="is not there in nowhere"):
        libraries(VENDORS["qualcomm"], "SM8750", Path("nowhere"))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "needs vendor"),
        ({"vendor": "qualcomm"}, "needs soc_model"),
        ({"vendor": "apple", "soc_model": "M5"}, "vendor: found 'apple', expected qualcomm or"),
        ({"vendor": "samsung", "soc_model": "SM8750"}, "soc_model: found 'SM8750', expected E9965"),
        ({"vendor": "samsung", "soc_model": "E9965", "device": "cpu"}, "device: Samsung has no such choice"),
        ({"vendor": "samsung", "soc_model": "E9965", "max_partitions": "many"}, "expected a whole number"),
        ({"vendor": "samsung", "soc_model": "E9965", "options": "o=/etc/passwd"}, "expected samsung_NAME=VALUE"),
        ({"vendor": "samsung", "soc_model": "E9965", "options": "qualcomm_profiling=off"}, "expected samsung_NAME"),
    ],
)
def test_wrong_settings_are_refused(tmp_path: Path, settings: dict[str, str], said: str) -> None:
    with pytest.raises(CompilerError, match=said):
        check_compiler(target(), accelerator("litert-aot"), settings, tmp_path)


@pytest.mark.timeout(10)
def test_a_failure_of_one_endless_line_is_said_in_time(tmp_path: Path) -> None:
    asked = request(tmp_path, "litert-aot", b"", {"vendor": "intel_openvino", "soc_model": "PTL"})
    with pytest.raises(CompilerError, match="libx: file too short"):
        litert_aot.parse(asked, Ran(status=1, output="x" * 4_000_000 + " libx: file too short" + "ERROR: [" * 100_000))


@pytest.mark.timeout(10)
@pytest.mark.parametrize("part", ["x", "A 1 ", "ERROR: [", "D RKNN: [1] ", "a.b:", " ", "| Total "])
def test_one_endless_line_is_read_in_time(part: str) -> None:
    parse_log(part * (2_000_000 // len(part)))

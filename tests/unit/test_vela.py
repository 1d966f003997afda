"""Arm Vela itself, on real models: what the manifest says of it is what its reports say."""

import csv
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec.structs import replace

from edgekit.artifact import Artifact
from edgekit.build import build
from edgekit.cache import Cache
from edgekit.cli.artifact_text import describe_compilation
from edgekit.compilers import vela
from edgekit.compilers.step import check_compiler, compile_model, place_by_compiler
from edgekit.compilers.types import Compiled, CompileRequest, Ran
from edgekit.compilers.vela_config import config_file
from edgekit.compilers.vela_report import parse_cpu_count, parse_layers, parse_reasons, parse_summary
from edgekit.device_evaluation import evaluate_file
from edgekit.errors import AuditError, CompilerError, LockError, ProjectError
from edgekit.held_out import held_out
from edgekit.lock import settings_of
from edgekit.manifest import build_findings
from edgekit.plan import BuildOptions, BuildPlan, plan
from edgekit.predict import predict
from edgekit.project import load_project
from edgekit.target import Target, load_target
from edgekit.target_placement import place_on
from edgekit_converters.structure import read_structure
from edgekit_converters.types import QuantizedModel
from tests.unit.float_networks import network_samples, planted_network

pytestmark = pytest.mark.unit
pytest.importorskip("ethosu.vela", reason="edgekit[npu] is not installed")

SYSTEMS = {
    "ethos-u55-128": ("Ethos_U55_High_End_Embedded", "Shared_Sram"),
    "ethos-u65-256": ("Ethos_U65_High_End", "Dedicated_Sram"),
    "ethos-u85-256": ("Ethos_U85_SYS_DRAM_Mid", "Dedicated_Sram_384KB"),
}


def settings_for(npu: str, **changes: str) -> dict[str, str]:
    system, mode = SYSTEMS[npu]
    return {"accelerator_config": npu, "system_config": system, "memory_mode": mode, **changes}


def arguments(folder: Path, npu: str = "ethos-u55-128", target: Target | None = None, **changes: str) -> dict[str, Any]:
    board = target or load_target("ethos-u55-128")
    return {
        "target": board,
        "accelerator": board.accelerators[0],
        "settings": settings_for(npu, **changes),
        "directory": folder,
        "log_folder": folder / "logs",
        "progress": lambda *_: None,
    }


@pytest.fixture(scope="module")
def kws(cases: Path) -> bytes:
    return (cases / "models/tflite_ref/kws_int8.tflite").read_bytes()


@pytest.fixture(scope="module")
def compiled_kws(kws: bytes, tmp_path_factory: pytest.TempPathFactory) -> tuple[Compiled, Path]:
    """With the folder that keeps Vela's own reports."""
    kept = tmp_path_factory.mktemp("reports")
    with pytest.MonkeyPatch.context() as patch:
        parse = vela.parse

        def keep(request: CompileRequest, ran: Ran) -> Compiled:
            for report in request.folder.glob("*.csv"):
                (kept / report.name).write_bytes(report.read_bytes())
            return parse(request, ran)

        patch.setattr(vela, "parse", keep)
        return compile_model(kws, **arguments(kept)), kept


def assert_as_reported(found: Compiled, reports: Path) -> None:
    """Every number of the summary and every op of the per-layer report, read here in another way."""
    with next(reports.glob("*_summary_*.csv")).open(newline="") as stream:
        header, values = list(csv.reader(stream))
    numbers = [float(value) for value in values if value.replace(".", "").replace("e-", "").isdigit()]
    assert sorted(found.entry.figures.values()) == sorted(number for number in numbers if np.isfinite(number))
    row = dict(zip(header, values, strict=True))
    figures = found.entry.figures
    assert figures["cycles_total"] == float(row["cycles_total"]) > 0
    assert figures["sram_used_kib"] == float(row["sram_memory_used"])
    assert figures["estimated_inference_s"] == float(row["inference_time"])
    lines = next(reports.glob("*_per-layer.csv")).read_text().splitlines()[1:]
    assert len(found.entry.layers) == len(lines)
    for layer, line in zip(found.entry.layers, lines, strict=True):
        cells = line.split(",", 15)
        assert (layer.name, layer.figures["cycles_total"], layer.figures["macs"]) == (
            cells[15],
            float(cells[5]),
            float(cells[12]),
        )
    assert sum(layer.figures["macs"] for layer in found.entry.layers) == figures["macs"]


def test_the_manifest_says_what_vela_reports(compiled_kws: tuple[Compiled, Path]) -> None:
    found, reports = compiled_kws
    assert found.name == "model_vela.tflite"
    assert (found.entry.ops_on_accelerator, found.entry.ops_on_cpu) == (13, {})
    assert read_structure(found.model).custom_counts == {"ethos-u": 1}
    assert_as_reported(found, reports)


def test_its_estimate_is_shown_as_one(compiled_kws: tuple[Compiled, Path]) -> None:
    lines = list(describe_compilation(compiled_kws[0].entry))
    assert lines[0] == "compiled by vela 5.2.0: 13 ops on ethos-u55-128, none on the CPU"
    assert "KiB sram" in lines[1]
    assert lines[2].startswith("  vela's estimate, not measured: ")


@pytest.mark.slow
@pytest.mark.parametrize("npu", SYSTEMS)
@pytest.mark.parametrize("model", ["kws", "ic_resnet8", "vww"])
def test_every_npu(cases: Path, model: str, npu: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parse = vela.parse

    def keep(request: CompileRequest, ran: Ran) -> Compiled:
        for report in request.folder.glob("*.csv"):
            (tmp_path / report.name).write_bytes(report.read_bytes())
        return parse(request, ran)

    monkeypatch.setattr(vela, "parse", keep)
    tflite = (cases / f"models/tflite_ref/{model}_int8.tflite").read_bytes()
    found = compile_model(tflite, **arguments(tmp_path, npu))
    assert found.entry.ops_on_cpu == {}
    assert_as_reported(found, tmp_path)
    assert compile_model(tflite, **arguments(tmp_path, npu)).model == found.model


def test_a_float_model_is_refused_though_vela_exits_0(cases: Path, tmp_path: Path) -> None:
    tflite = (cases / "models/tflite_ref/ic_resnet8_float.tflite").read_bytes()
    with pytest.raises(
        AuditError, match=r"nothing on the accelerator.*Why: Operation has tensor with unsupported DataT"
    ):
        compile_model(tflite, **arguments(tmp_path))
    assert (tmp_path / "logs/compile-vela.log").exists()


def test_ops_on_the_cpu_are_counted(cases: Path, tmp_path: Path) -> None:
    tflite = (cases / "models/tflite_ref/ic_resnet8_int8.tflite").read_bytes()
    found = compile_model(tflite, **arguments(tmp_path, ignore_ops="ADD"))
    assert (found.entry.ops_on_accelerator, found.entry.ops_on_cpu) == (13, {"ADD": 3})


@pytest.mark.slow
def test_its_placement_names_the_ops_on_the_cpu(cases: Path, tmp_path: Path) -> None:
    tflite = (cases / "models/tflite_ref/ic_resnet8_int8.tflite").read_bytes()
    placement, _ = place_by_compiler(tflite, **arguments(tmp_path, ignore_ops="ADD"))
    assert placement.told_by == "vela 5.2.0"
    assert [op.op for op in placement.ops if op.processor == "cpu"] == ["ADD"] * 3


def test_too_little_memory_is_refused(kws: bytes, tmp_path: Path) -> None:
    with pytest.raises(AuditError, match=r"uses 21\.7 KiB of SRAM; ethos-u55-128 has 16 KiB"):
        compile_model(kws, **arguments(tmp_path, target=with_memory(sram_kib=16)))


@pytest.mark.slow
def test_weights_that_vela_puts_into_sram_count_as_sram(kws: bytes, tmp_path: Path) -> None:
    board = with_memory(sram_kib=16, flash_kib=4)
    _, findings = place_by_compiler(kws, **arguments(tmp_path, target=board, memory_mode="Sram_Only"))
    assert [finding.message for finding in findings] == [
        "The compiled model uses 46.0 KiB of SRAM; ethos-u55-128 has 16 KiB."
    ]


def with_memory(**sizes: int) -> Target:
    board = load_target("ethos-u55-128")
    return replace(board, memory=replace(board.memory, **sizes))


def test_the_user_s_own_configuration(kws: bytes, tmp_path: Path) -> None:
    own = config_file({}, tmp_path).read_text(encoding="utf-8")
    (tmp_path / "Arm").mkdir()
    slow = own.replace("core_clock=500e6", "core_clock=250e6").replace("Ethos_U55_High_End_Embedded", "Ours")
    (tmp_path / "Arm/vela.ini").write_text(slow, encoding="utf-8")  # the same name as Vela's own
    found = compile_model(kws, **arguments(tmp_path, config="Arm/vela.ini", system_config="Ours"))
    assert found.entry.figures["core_clock_hz"] == 250e6
    assert found.entry.settings["config"] == "Arm/vela.ini"


@pytest.mark.parametrize(
    ("changes", "message", "hint"),
    [
        ({"memory_mode": "Dedicated_Sram"}, r"puts the arena into OffChipFlash of Ethos_U55", "such as Shared_Sram"),
        ({"memory_mode": "Dedicated_Sram_512KB"}, r"puts the arena into OffChipFlash", "such as Shared_Sram"),
        ({"accelerator_config": "ethos-u55"}, "found 'ethos-u55', expected ethos-u55-32 or ethos", "Correct"),
        ({"arena_cache_size": "64k"}, "arena_cache_size: found '64k', expected a whole number", "Correct"),
        ({"memory_mode": "Shared"}, r"Arm/vela\.ini has no section Memory_Mode\.Shared", "Shared_Sram, Sram_Only"),
        ({"system_config": "Mine"}, r"has no section System_Config\.Mine", "Ethos_U55_Deep_Embedded"),
        ({"system_config": ""}, "Vela needs system_config", "its figures|--compiler-setting system_config=NAME"),
        (
            {"config": "nowhere.ini"},
            r"configuration nowhere\.ini is no \.ini file",
            "Arm/vela.ini that comes with Vela",
        ),
    ],
)
def test_wrong_settings_are_said_before_anything_runs(
    tmp_path: Path, changes: dict[str, str], message: str, hint: str
) -> None:
    board = load_target("ethos-u55-128")
    with pytest.raises(CompilerError, match=message) as caught:
        check_compiler(board, board.accelerators[0], settings_for("ethos-u55-128", **changes), tmp_path)
    assert hint.rpartition("|")[2] in caught.value.hint


@pytest.mark.parametrize("content", [b"\xff\xfe", b"no section\n", b"[half\n"])
def test_a_configuration_that_is_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "my.ini").write_bytes(content)
    board = load_target("ethos-u55-128")
    with pytest.raises(CompilerError, match="cannot be read"):
        check_compiler(board, board.accelerators[0], settings_for("ethos-u55-128", config="my.ini"), tmp_path)


def test_without_vela(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    board = load_target("ethos-u55-128")
    with pytest.raises(CompilerError, match="is not installed") as caught:
        check_compiler(board, board.accelerators[0], {}, tmp_path)
    assert caught.value.hint == 'Install it: pip install "edgekit[npu]".'


def test_reports_that_are_none() -> None:
    for text in ("", "a,b\n1,2\n", "cycles_total\n1\n2\n"):
        with pytest.raises(CompilerError, match="summary is not as edgekit knows it"):
            parse_summary(text)
    header = "Original Operator,NNG Operator,Target,Name"
    for text in ("", "Name\n", f"{header}\nConv2D,Conv2D\n"):
        with pytest.raises(CompilerError, match="per-layer report is not as edgekit knows it"):
            parse_layers(text)
    assert parse_layers(f"{header}\nConv2D,Relu,NPU,a,b\n")[0].name == "a,b"
    assert parse_summary("cycles_total,inference_time,nn_tops\n0,0.0,nan\n") == {
        "cycles_total": 0.0,
        "estimated_inference_s": 0.0,
    }


@given(st.text(max_size=300) | st.lists(st.text('Oriprtaelo,NGcdn \n1.é\0"', max_size=40)).map("\n".join))
@example("cycles_total,x\n1e400,2\n")
@example('cycles_total\n"1\n')
@example("cycles_total\n1,2,3\n")
@example("Original Operator,NNG Operator,Name\na,b\nc\n")
def test_any_report_is_read_or_refused(text: str) -> None:
    for parse in (parse_summary, parse_layers):
        with suppress(CompilerError):
            parse(text)
    assert parse_cpu_count(text) is None or "CPU operators" in text


def test_reasons_belong_to_the_op_of_the_model(kws: bytes) -> None:
    reference = read_structure(kws)
    conv = next(op for op in reference.ops if op.name == "CONV_2D")
    said = (
        "CPU operators = 2 (5.0%)\n\n"
        f"Warning (supported operators) operator: RELU, ofm: '{conv.outputs[0].name}'\n"
        "Reason: Operation has tensor with unsupported DataType Float32 (a;b(c))\n"
        "Feature-map dataTypes must be one of {INT8}\n\n"
        "Warning (supported operators) operator: MEAN, ofm: 'nowhere'\nReason: Too large (3/4)\n\n"
    )
    assert parse_reasons(said, reference) == {
        "CONV_2D": "Operation has tensor with unsupported DataType Float32. "
        "Feature-map dataTypes must be one of {INT8}",
        "MEAN": "Too large (3/4)",
    }
    assert parse_cpu_count(said) == 2
    assert parse_cpu_count("") is None


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    (folder / "model.tflite").write_bytes(planted_network(hard=None).tflite)
    samples = np.concatenate([sample["x"] for sample in network_samples(16)])
    np.savez(folder / "calibration.npz", x=samples)
    np.save(folder / "sample.npy", samples[0])
    mode = '[compiler.vela]\nmemory_mode = "Shared_Sram"\narena_cache_size = 65536\n'
    (folder / "edgekit.toml").write_text(mode)
    return folder


def planned(folder: Path, *flags: str, **options: Any) -> BuildPlan:
    chosen = BuildOptions(
        model=str(folder / "model.tflite"),
        calibration="calibration.npz",
        calibrator="min-max",
        equalize=False,
        correct_biases=False,
        compiler_setting=("system_config=Ethos_U55_Deep_Embedded", *flags),
        **options,
    )
    return plan(load_project(folder), load_target("ethos-u55-128"), chosen, folder)


@pytest.fixture(scope="module")
def built(project: Path) -> Artifact:
    return build(planned(project), cache=Cache(folder=project / "cache"))


def test_a_build_keeps_the_reference_beside_the_compiled_file(built: Artifact, project: Path) -> None:
    manifest = built.manifest
    assert (manifest.model, manifest.reference) == ("model_vela.tflite", "reference.tflite")
    assert manifest.delegate == "ethos-u"
    assert manifest.compilation is not None
    assert manifest.compilation.version == "5.2.0"
    assert manifest.compilation.settings["system_config"] == "Ethos_U55_Deep_Embedded"
    assert manifest.compilation.settings["arena_cache_size"] == "65536"
    assert manifest.compilation.ops_on_accelerator == 6
    assert manifest.audit.ops == {"FULLY_CONNECTED": 6}
    assert "accelerator-not-proven" in [finding.name for finding in manifest.findings]
    found = predict(built.path, project / "sample.npy")
    assert [finding.name for finding in found.findings] == ["of-reference"]


def test_its_accuracy_here_is_that_of_the_reference(built: Artifact, project: Path) -> None:
    samples = np.concatenate([sample["x"] for sample in network_samples(16, seed=3)]).clip(-2, 2)
    np.savez(project / "labelled.npz", x=samples, y=np.arange(16) % 8)
    data = held_out(load_project(project), str(project / "labelled.npz"), "top1")
    assert data is not None
    found = evaluate_file(built, data)
    assert found.model == built.path / "reference.tflite"
    assert "of-reference" in [finding.name for finding in found.findings]


def test_the_same_build_is_the_same_bytes_and_locked(built: Artifact, project: Path) -> None:
    again = build(planned(project), locked=True)
    assert again.digest == built.digest
    said: list[str] = []
    build(planned(project), cache=Cache(folder=project / "cache"), said=said.append)
    assert said == ["reused the whole artifact: model, data, settings and tools are unchanged"]


def test_another_setting_or_version_is_not_the_locked_build(
    built: Artifact, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(LockError, match=r"setting compiler-settings: locked .*, now .*\"optimise\":\"Size\""):
        build(planned(project, "optimise=Size"), locked=True)
    monkeypatch.setattr(vela, "_version", lambda: "5.3.0")
    with pytest.raises(LockError, match=r"setting compiler-version: locked 5\.2\.0, now 5\.3\.0"):
        build(planned(project), locked=True)


def test_a_missing_compiler_is_said_before_the_conversion(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> str:
        raise CompilerError("Vela is not installed.", hint="Install it.")

    monkeypatch.setattr(vela, "_version", missing)
    monkeypatch.setattr("edgekit.build.convert_or_reuse", lambda *_: pytest.fail("it was converted"))
    with pytest.raises(CompilerError, match="not installed"):
        build(planned(project))


def test_a_device_does_not_time_what_nobody_compiled(project: Path) -> None:
    chosen = planned(project, precision="auto", evaluate="calibration.npz", max_drop="100pt")
    with pytest.raises(ProjectError, match="compiled"):
        build(chosen, latency=lambda _tflite: 1.0)


def test_inspect_asks_with_the_project_s_settings_and_places_what_does_not_fit(kws: bytes, tmp_path: Path) -> None:
    (tmp_path / "edgekit.toml").write_text('[compiler.vela]\nignore_ops = "SOFTMAX"\n')
    board = with_memory(sram_kib=16)
    board = replace(board, runtime=replace(board.runtime, ops=("RELU",)))
    found = place_on(kws, board, None, directory=tmp_path, compile_it=True, progress=lambda *_: None)
    assert found.told is not None
    assert found.told.counts == {"ethos-u55-128": 12, "cpu": 1}
    messages = {finding.name: finding.message for finding in found.findings}
    assert messages["does-not-fit"].startswith("The compiled model uses")
    assert "does not have SOFTMAX" in messages["unsupported-op"]  # the NPU has the others
    assert [finding.name for finding in found.findings].count("unsupported-op") == 1


def test_the_quantized_model_alone_is_for_the_cpu_and_says_so(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)  # no Vela on this machine
    target = load_target("ethos-u55-128")
    wishes: dict[str, Any] = {"model": str(project / "model.tflite"), "calibration": "calibration.npz"}
    chosen = plan(load_project(project), target, BuildOptions(**wishes, compile=False), project)
    assert chosen.compilation is None
    assert chosen.target.delegate == "none"
    assert settings_of(chosen)["not-compiled-for"] == "ethos-u55-128"
    model = planted_network(hard=None)
    made = QuantizedModel(tflite=b"", precision="int8", inputs=model.inputs, outputs=model.outputs, tools={})
    assert next(build_findings(chosen, made, None, has_samples=True)).message == (
        "ethos-u55-128 does not run this file: it was not compiled (--no-compile), and is for the CPU alone."
    )
    flagged = BuildOptions(**wishes, compile=False, compiler_setting=("optimise=Size",))
    with pytest.raises(ProjectError, match="needs no compiler"):
        plan(load_project(project), target, flagged, project)

"""The source package of a bundle for microcontrollers: its text, and what it is made from."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from edgekit.artifact import GOLDEN, Artifact, write_artifact
from edgekit.bundle.mcu.names import byte_lines, comment, float_literal, identifier, string_literal
from edgekit.bundle.mcu.package import TFLM, source_package
from edgekit.bundle.mcu.settings import SETTINGS, read_settings
from edgekit.bundle.mcu.view import view_of
from edgekit.compilers.entries import CompilationEntry
from edgekit.documents import write_json
from edgekit.entries import FindingEntry, Golden
from edgekit.errors import BundleError, IntegrityError
from tests.bundles import MICRO, tiny_artifact
from tests.firmware.build import compile_package, write_package, write_stand_in
from tests.firmware.tiny import FOLDER, tiny_view

pytestmark = pytest.mark.unit
NOT_CHECKED = FindingEntry(name="micro-not-checked", severity="warning", message="m", fix="f")


def texts(**changes: Any) -> dict[str, str]:
    return {path: data.decode() for path, data in source_package(replace(tiny_view(), **changes)).items()}


def test_the_text_is_that_of_the_golden_files() -> None:
    """After a change that is meant: ``python -m tests.firmware.tiny`` writes them anew, and git shows what changed."""
    kept = {file.relative_to(FOLDER).as_posix(): file.read_text() for file in FOLDER.rglob("*") if file.is_file()}
    assert texts() == kept


def test_the_same_view_gives_the_same_bytes() -> None:
    assert source_package(tiny_view()) == source_package(tiny_view())


def test_every_path_and_line_is_what_a_tree_and_a_reader_take() -> None:
    for path, text in texts().items():
        assert text.endswith("\n"), path
        assert not text.endswith("\n\n"), path
        assert "\n\n\n" not in text, path
        assert max(map(len, text.splitlines())) <= 320, path
        assert text.isascii(), path


def test_the_arena_is_an_estimate_that_can_be_set() -> None:
    text = texts()["src/model_2d_net/arena.h"]
    assert "#define MODEL_2D_NET_ARENA_ESTIMATE_BYTES 2000" in text
    assert "#ifndef MODEL_2D_NET_ARENA_BYTES\n#define MODEL_2D_NET_ARENA_BYTES 3072" in text
    assert "tflite-micro/issues/2474" in text


def test_without_an_estimate_the_user_gives_the_size() -> None:
    arena = replace(tiny_view().arena, estimate=None, default=None)
    files = texts(arena=arena)
    assert '#error "Nobody knows how large the arena is' in files["src/model_2d_net/arena.h"]
    assert "\tdefault " not in files["zephyr/Kconfig"]


def test_an_npu_is_said_and_switched_on() -> None:
    files = texts(ethos_u="u65", methods=("AddEthosU",))
    assert "resolver.AddEthosU()" in files["src/model_2d_net/ops.h"]
    assert "the NPU with the model it was compiled from" in files["src/model_2d_net/selftest.cpp"]
    assert "no NPU driver is linked" in files["src/model_2d_net/runner.cpp"]
    assert 'set(TFLM_ETHOS_U "u65"' in files["cmake/tflm.cmake"]
    assert 'set(CPU "cortex-m55"' in files["cmake/cortex-m.cmake"]
    assert "CONFIG_ETHOS_U=y" in files["samples/selftest/prj.conf"]
    assert "depends on ETHOS_U" in files["zephyr/Kconfig"]


def test_zephyr_and_arduino_find_their_files() -> None:
    files = texts()
    module = yaml.safe_load(files["zephyr/module.yml"])
    assert module == {"name": "model_2d_net", "build": {"cmake": "zephyr", "kconfig": "zephyr/Kconfig"}}
    properties = dict(line.split("=", 1) for line in files["library.properties"].splitlines())
    assert (properties["name"], properties["version"]) == ("model_2d_net", "1.2.0")
    assert f"src/{properties['includes']}" in files


def test_tflite_micro_is_pinned_with_its_digest() -> None:
    text = texts()["cmake/tflm.cmake"]
    assert f'set(TFLM_URL "https://github.com/tensorflow/tflite-micro/archive/{TFLM.commit}.zip"' in text
    assert f'set(TFLM_SHA256 "{TFLM.sha256}"' in text


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("kws_ref_model", "kws_ref_model"),
        ("kws-v2.1", "kws_v2_1_model"),
        ("2d-Net", "model_2d_net"),
        ("log", "log_model"),
        ("int", "int_model"),
        ("a--b__c", "a_b_c_model"),
        ("Model", "model_model"),
    ],
)
def test_a_name_becomes_an_identifier(name: str, expected: str) -> None:
    assert identifier(name) == expected


@given(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", fullmatch=True))
def test_every_model_name_is_an_identifier(name: str) -> None:
    found = identifier(name)
    assert found.isidentifier()
    assert found.isascii()
    assert found[0].isalpha()
    assert "__" not in found
    assert "model" in found


@given(st.text())
def test_no_text_leaves_its_literal_or_its_comment(text: str) -> None:
    literal = string_literal(text)
    assert literal[0] == literal[-1] == '"'
    inside = literal[1:-1]
    assert inside.encode().decode("unicode_escape").encode("latin-1") == text.encode()
    assert '"' not in inside
    assert "?" not in inside
    assert comment(text).isprintable()
    assert not set("\\?") & set(comment(text))


def test_numbers_and_bytes_as_c_has_them() -> None:
    assert float_literal(0.0039215688593685627) == "3.921569e-03f"
    assert list(byte_lines(bytes(range(18))))[1] == "0x10, 0x11,"


def test_an_artifact_for_a_system_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError) as caught:
        view_of(tiny_artifact(tmp_path / "a", micro=None), "1.0.0")
    assert caught.value.message == (
        "The artifact was built for rpi4, which is no microcontroller: TFLite Micro does not run it."
    )
    assert "nucleo-f446re" in caught.value.hint


def test_an_artifact_without_the_check_in_tflite_micro_has_no_estimate(tmp_path: Path) -> None:
    view = view_of(tiny_artifact(tmp_path / "a", micro=None, findings=(NOT_CHECKED,)), "1.0.0")
    assert (view.arena.estimate, view.arena.default) == (None, None)
    assert view.methods == ("AddAdd", "AddMul")


def test_what_the_view_says_of_an_artifact(tmp_path: Path) -> None:
    artifact = tiny_artifact(tmp_path / "a")
    view = view_of(artifact, "1.0.0")
    assert (view.id, view.macro, view.artifact_sha256) == ("demo_model", "DEMO_MODEL", artifact.digest)
    assert view.model == artifact.model.read_bytes()
    assert (view.arena.estimate, view.arena.default) == (1500, 2048)
    assert [tensor.c_type for tensor in (*view.inputs, *view.outputs)] == ["float", "float"]
    # float32: 1e-3 for another CPU's order of summation, 1e-5 for TFLite Micro's kernels
    assert view.tolerances[0].max_error == "1.01e-03f"
    assert len(view.vectors) == 4


def with_golden(artifact: Artifact, folder: Path, **changes: Any) -> Artifact:
    files = {path: (artifact.path / path).read_bytes() for path in artifact.manifest.files}
    golden = msgspec.json.decode(files[GOLDEN], type=Golden)
    files[GOLDEN] = write_json(msgspec.structs.replace(golden, **changes))
    return write_artifact(folder, files, artifact.manifest)


def test_golden_vectors_of_another_model_are_refused(tmp_path: Path) -> None:
    artifact = tiny_artifact(tmp_path / "a")
    golden = msgspec.json.decode((artifact.path / GOLDEN).read_bytes(), type=Golden)
    renamed = msgspec.structs.replace(golden.vectors[0], inputs={"y": "golden/0-input-0.bin"})
    with pytest.raises(IntegrityError, match="there is no tensor"):
        view_of(with_golden(artifact, tmp_path / "b", vectors=(renamed,)), "1.0.0")
    swapped = msgspec.structs.replace(
        golden.vectors[0], inputs=dict.fromkeys(golden.vectors[0].inputs, artifact.manifest.model)
    )
    with pytest.raises(IntegrityError, match="do not fit the model"):
        view_of(with_golden(artifact, tmp_path / "c", vectors=(swapped,)), "1.0.0")


def test_a_dtype_that_tflite_micro_has_not_is_refused(tmp_path: Path) -> None:
    artifact = tiny_artifact(tmp_path / "a")
    tensor = msgspec.structs.replace(artifact.manifest.inputs[0], dtype="float16")
    manifest = msgspec.structs.replace(artifact.manifest, inputs=(tensor,))
    with pytest.raises(BundleError, match="is float16, which TFLite Micro has no tensors of"):
        view_of(msgspec.structs.replace(artifact, manifest=manifest), "1.0.0")


def test_vela_s_memory_is_the_estimate(tmp_path: Path) -> None:
    compilation = CompilationEntry(
        compiler="vela", version="5.2.0", accelerator="ethos-u55-128", settings={}, ops_on_accelerator=1,
        ops_on_cpu={}, figures={"sram_used_kib": 20.5},
    )  # fmt: skip
    view = view_of(tiny_artifact(tmp_path / "a", compilation=compilation), "1.0.0")
    assert view.arena.estimate == 20992 + MICRO.arena.persistent_bytes if MICRO.arena else None
    assert view.arena.source.startswith("what Vela planned")


def test_no_text_of_a_manifest_becomes_code(tmp_path: Path) -> None:
    hostile = msgspec.structs.replace(MICRO, resolver=("AddAdd", "AddMul(); Steal"))
    with pytest.raises(IntegrityError, match="names other operators for TFLite Micro"):
        view_of(tiny_artifact(tmp_path / "a", micro=hostile), "1.0.0")
    micro = msgspec.structs.replace(MICRO, version="0\nint steal;")
    artifact = tiny_artifact(tmp_path / "b", micro=micro, target='x"; int steal; //\\\n#', labels=('"}\nint steal;',))
    for path, data in source_package(view_of(artifact, "1.0.0")).items():
        for line in data.decode().splitlines():
            assert "steal" not in line or line.lstrip().startswith(("//", "#")) or not path.endswith((".h", ".cpp"))
    facts = source_package(view_of(artifact, "1.0.0"))["src/demo_model/facts.h"].decode()
    assert '#define DEMO_MODEL_LABELS {"\\042}\\012int steal;"}' in facts
    assert '#define DEMO_MODEL_TARGET "x\\042; int steal; //__#"' in facts


def test_settings_have_defaults_and_limits() -> None:
    found = read_settings({})
    assert (found.model, found.firmware, found.security_counter, found.header_bytes) == (True, None, None, 0x200)
    assert read_settings({"security-counter": "7", "align": "32", "slot-size": "0x20000"}).slot_bytes == 131072


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("security-counter", "4294967296", "a whole number from 0 to 4294967295"),
        ("security-counter", "new", "a whole number"),
        ("header-size", "31", "a whole number from 32"),
        ("header-size", "40", "a multiple of 16"),
        ("align", "3", "1, 2, 4, 8, 16 or 32"),
        ("image", "firmware", "model or none"),
        ("firmware-model", "maybe", "inside or elsewhere"),
        ("slot-size", "-1", "a whole number from 0"),
    ],
)
def test_a_setting_that_cannot_be(name: str, value: str, wanted: str) -> None:
    with pytest.raises(BundleError) as caught:
        read_settings({name: value})
    assert caught.value.message == f"The setting {name} cannot be {value!r}."
    assert wanted in caught.value.hint


def test_a_setting_that_does_not_exist() -> None:
    with pytest.raises(BundleError, match="no setting 'slot'") as caught:
        read_settings({"slot": "1"})
    assert all(name in caught.value.hint for name in SETTINGS)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="no g++ here")
def test_it_compiles_here_without_a_warning(tmp_path: Path) -> None:
    """With every type of tensor; that it runs is for tests/lab/test_firmware.py."""
    view = tiny_view()
    package, stand_in = write_package(view, tmp_path / "mcu"), write_stand_in(view, tmp_path / "tflm")
    compile_package(package, stand_in, tmp_path / "program", ["g++", "-Wshadow", "-Wconversion"])

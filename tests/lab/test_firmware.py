"""Source packages of real builds: compiled for Cortex-M, run on QEMU's boards, by CMake, as Arduino library and Zephyr
module. TFLite Micro itself is not linked: tests/firmware/README.md says what stands in for it.
"""

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from edgekit.agent.selftest import compare_output
from edgekit.artifact import Artifact
from edgekit.build import build
from edgekit.bundle.create import create_bundle
from edgekit.bundle.mcu.envelope import FIRMWARE_IMAGE
from edgekit.bundle.mcu.image import read_image
from edgekit.bundle.mcu.view import PackageView, view_of
from edgekit.bundle.sealed import read_sealed
from edgekit.cache import Cache
from edgekit.digests import sha256_file
from edgekit.keys.trust import checked_certificate, read_trust
from edgekit.micro.host import run_on_host
from edgekit.plan import BuildOptions, plan
from edgekit.project import Project
from edgekit.target import load_target
from tests.bundles import NOW, make_keys, wanted
from tests.firmware.build import (
    BOARDS,
    HERE,
    STRICT,
    compile_package,
    cross_compile,
    raw_binary,
    run_on,
    write_package,
    write_stand_in,
)
from tests.firmware.tiny import tiny_view
from tests.kws import saved_model, write_data

pytestmark = pytest.mark.lab
ARM = ("arm-none-eabi-g++", "qemu-system-arm")
TARGETS = ("nucleo-f446re", "ethos-u55-128")


def require(*programs: str) -> None:
    missing = [program for program in programs if shutil.which(program) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} not installed (tests/lab/packages.txt)")


@dataclass(frozen=True)
class Sources:
    """One artifact's source package, and the stand-in that knows its golden vectors."""

    artifact: Artifact
    view: PackageView
    package: Path
    stand_in: Path


@pytest.fixture(scope="module")
def built(cases: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Sources]:
    """Keyword spotting, built for a Cortex-M4 and for an Ethos-U55: the conversion is done once."""
    folder = tmp_path_factory.mktemp("kws")
    calibration, evaluation = write_data(cases, folder)
    made = {}
    for target in TARGETS:
        options = BuildOptions(
            model=str(saved_model(cases)), calibration=str(calibration), evaluate=str(evaluation),
            calibrator="min-max", equalize=False, correct_biases=False, output=folder / target,
        )  # fmt: skip
        artifact = build(plan(Project(), load_target(target), options, folder), cache=Cache(folder=folder / "cache"))
        view = view_of(artifact, "1.4.0")
        package = write_package(view, folder / f"{target}-mcu")
        made[target] = Sources(artifact, view, package, write_stand_in(view, folder / f"{target}-tflm"))
    return made


@pytest.fixture(params=TARGETS)
def sources(request: pytest.FixtureRequest, built: dict[str, Sources]) -> Sources:
    return built[request.param]


@pytest.mark.parametrize(
    ("target", "cpu"), [*(("nucleo-f446re", cpu) for cpu in BOARDS), ("ethos-u55-128", "cortex-m55")]
)
def test_the_self_test_passes_on_a_board(built: dict[str, Sources], target: str, cpu: str, tmp_path: Path) -> None:
    require(*ARM)
    sources = built[target]
    ran = run_on(BOARDS[cpu], cross_compile(sources.package, sources.stand_in, tmp_path / "program", BOARDS[cpu]))
    assert ran.returncode == 0, ran.stdout + ran.stderr
    lines = ran.stdout.splitlines()
    assert lines[0] == f"kws_ref_model 1.4.0, model {sources.view.model_sha256[:12]}"
    assert sum(line.startswith("PASS vector") for line in lines) == 4
    assert lines[-1] == "PASS: 4 of 4 vectors"
    assert ("It runs on the Ethos-U55" in ran.stdout) is (sources.view.ethos_u is not None)


def test_a_wrong_output_fails_on_a_board(built: dict[str, Sources], tmp_path: Path) -> None:
    require(*ARM)
    sources, board = built["nucleo-f446re"], BOARDS["cortex-m4"]
    allowed = sources.view.tolerances[0].max_steps
    ran = run_on(board, cross_compile(sources.package, sources.stand_in, tmp_path / "off", board, "-DOFF_BY=100"))
    assert ran.returncode == 1
    assert f"FAIL vector 1 output 0: differs by 100 steps, {allowed} allowed" in ran.stdout
    assert ran.stdout.splitlines()[-1] == "FAIL: 3 of 4 vectors"
    within = run_on(board, cross_compile(sources.package, sources.stand_in, tmp_path / "in", board, "-DOFF_BY=1"))
    assert within.returncode == 0
    assert "PASS vector 1 output 0: differs by 1 steps" in within.stdout


def test_an_arena_that_is_too_small_is_said(built: dict[str, Sources], tmp_path: Path) -> None:
    require(*ARM)
    sources, board = built["nucleo-f446re"], BOARDS["cortex-m4"]
    least = sources.view.arena.least
    define, scratch = "-DKWS_REF_MODEL_ARENA_BYTES=", f"-DSCRATCH_BYTES={least}"
    program = cross_compile(sources.package, sources.stand_in, tmp_path / "program", board, f"{define}{least}", scratch)
    ran = run_on(board, program)
    assert ran.returncode == 1
    assert "the arena is too small or an operator is missing" in ran.stdout
    assert ran.stdout.splitlines()[-1] == "FAIL: the model was not run"
    with pytest.raises(AssertionError, match="is smaller than the largest tensor of the model"):
        cross_compile(sources.package, sources.stand_in, tmp_path / "p", board, f"{define}{least - 1}")


def test_memory_is_used_as_cpp_allows(built: dict[str, Sources], tmp_path: Path) -> None:
    require("g++")
    sources = built["nucleo-f446re"]
    command = ["g++", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    program = compile_package(sources.package, sources.stand_in, tmp_path / "program", command)
    ran = subprocess.run([program], capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines()[-1] == "PASS: 4 of 4 vectors"


def test_tflite_micro_keeps_the_tolerance_of_the_package(built: dict[str, Sources]) -> None:
    """The real kernels, on this machine: what a board computes is within what the self-test allows."""
    pytest.importorskip("tflite_micro")
    sources = built["nucleo-f446re"]
    view, shapes = sources.view, [tensor.shape for tensor in sources.view.inputs]
    inputs = [
        tuple(np.frombuffer(data, np.int8).reshape(shape) for data, shape in zip(vector.inputs, shapes, strict=True))
        for vector in view.vectors
    ]
    ran = run_on_host(view.model, inputs, outputs=1, arena_bytes=2**20)
    tolerance = {"max_steps": view.tolerances[0].max_steps, "same_top1": view.tolerances[0].same_top1}
    for vector, outputs in zip(view.vectors, ran.outputs, strict=True):
        result = compare_output(np.frombuffer(vector.outputs[0], np.int8).reshape(1, -1), outputs[0], tolerance)
        assert result["passed"], result


def cmake(*arguments: str | Path) -> str:
    done = subprocess.run(["cmake", *map(str, arguments)], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_cmake_builds_it_with_the_user_s_tflite_micro(built: dict[str, Sources], tmp_path: Path) -> None:
    require("cmake", "g++", "make")
    sources = built["nucleo-f446re"]
    cmake("-S", sources.package, "-B", tmp_path, f"-DTFLM_DIR={sources.stand_in}")
    cmake("--build", tmp_path, "-j2")
    ran = subprocess.run([tmp_path / "kws_ref_model_selftest"], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout.splitlines()[-1]) == (0, "PASS: 4 of 4 vectors")


@pytest.mark.parametrize(("target", "cpu"), [("nucleo-f446re", "cortex-m4"), ("ethos-u55-128", "cortex-m55")])
def test_cmake_cross_compiles_it(built: dict[str, Sources], target: str, cpu: str, tmp_path: Path) -> None:
    require("cmake", "make", "arm-none-eabi-g++")
    sources = built[target]
    toolchain = sources.package / "cmake" / "cortex-m.cmake"
    options = (f"-DCMAKE_TOOLCHAIN_FILE={toolchain}", f"-DCPU={cpu}", f"-DTFLM_DIR={sources.stand_in}")
    cmake("-S", sources.package, "-B", tmp_path, *options, "-DKWS_REF_MODEL_ARENA_BYTES=50000")
    cmake("--build", tmp_path, "-j2", "--target", "kws_ref_model")
    size = subprocess.run(
        ["arm-none-eabi-size", tmp_path / "libkws_ref_model.a"], capture_output=True, text=True, check=True
    )
    runner = next(line for line in size.stdout.splitlines() if "runner" in line)
    assert 50000 <= int(runner.split()[2]) < 50000 + 4096  # bss


GENERATOR = """
import json, os, shutil, sys
options, tree = sys.argv[1].removeprefix("--makefile_options="), sys.argv[2]
shutil.copytree(os.environ["STAND_IN"], tree)
with open(os.environ["SAID"], "w") as file:
    json.dump(options.split(), file)
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout of tflite-micro with nothing in it but the script that other build systems call."""
    script = tmp_path / "tflite-micro" / "tensorflow/lite/micro/tools/project_generation/create_tflm_tree.py"
    script.parent.mkdir(parents=True)
    script.write_text(GENERATOR)
    return tmp_path / "tflite-micro"


def test_cmake_asks_a_checkout_for_what_the_model_needs(
    sources: Sources, checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    require("cmake", "g++", "make")
    said = tmp_path / "said.json"
    monkeypatch.setenv("STAND_IN", str(sources.stand_in))
    monkeypatch.setenv("SAID", str(said))
    options = (f"-DTFLM_DIR={checkout}", "-DTFLM_CMSIS_NN=ON", "-DTFLM_MAKE_OPTIONS=CMSIS_NN_PATH=/opt/cmsis-nn")
    cmake("-S", sources.package, "-B", tmp_path / "build", *options)
    expected = ["CMSIS_NN_PATH=/opt/cmsis-nn", "TARGET=cortex_m_generic", "TARGET_ARCH=project_generation"]
    expected += ["OPTIMIZED_KERNEL_DIR=cmsis_nn"]
    if sources.view.ethos_u:
        expected += ["CO_PROCESSOR=ethos_u", "ETHOSU_ARCH=u55"]
    assert json.loads(said.read_text()) == expected
    said.unlink()
    cmake("-S", sources.package, "-B", tmp_path / "build", *options)
    assert not said.exists()  # made once


def test_cmake_fetches_an_archive_of_that_digest_only(
    built: dict[str, Sources], checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    require("cmake", "g++", "make")
    sources = built["nucleo-f446re"]
    monkeypatch.setenv("STAND_IN", str(sources.stand_in))
    monkeypatch.setenv("SAID", str(tmp_path / "said.json"))
    archive = Path(shutil.make_archive(str(tmp_path / "archive"), "zip", checkout.parent, checkout.name))
    url = f"-DTFLM_URL={archive.as_uri()}"
    digest = sha256_file(archive)
    cmake("-S", sources.package, "-B", tmp_path / "build", url, f"-DTFLM_SHA256={digest}")
    assert json.loads((tmp_path / "said.json").read_text()) == []  # no kernels but the reference ones on this machine
    cmake("--build", tmp_path / "build", "-j2")
    with pytest.raises(AssertionError, match=r"[Hh]ash"):
        cmake("-S", sources.package, "-B", tmp_path / "other", url, f"-DTFLM_SHA256={'0' * 64}")


def test_cmake_says_what_is_no_tflite_micro(built: dict[str, Sources], tmp_path: Path) -> None:
    require("cmake", "g++", "make")
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(AssertionError, match="neither a checkout of tflite-micro nor a folder of its"):
        cmake("-S", built["nucleo-f446re"].package, "-B", tmp_path / "build", f"-DTFLM_DIR={empty}")


def test_the_arduino_sketch_compiles(built: dict[str, Sources]) -> None:
    require("arm-none-eabi-g++")
    sources = built["nucleo-f446re"]
    sketch = sources.package / "examples" / "Selftest" / "Selftest.ino"
    include = [f"-I{sources.package / 'src'}", f"-I{HERE / 'arduino'}", "-include", "Arduino.h"]
    command = ["arm-none-eabi-g++", "-mcpu=cortex-m4", "-mthumb", *STRICT, *include, "-x", "c++", "-fsyntax-only"]
    done = subprocess.run([*command, str(sketch)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def test_the_zephyr_module_builds(built: dict[str, Sources], tmp_path: Path) -> None:
    require("cmake", "g++", "make")
    sources = built["nucleo-f446re"]
    configuration = ("-DCONFIG_KWS_REF_MODEL=y", "-DCONFIG_KWS_REF_MODEL_ARENA_BYTES=40000")
    places = (f"-DMODULE={sources.package}", f"-DTFLM_DIR={sources.stand_in}")
    cmake("-S", HERE / "zephyr", "-B", tmp_path, *places, *configuration)
    cmake("--build", tmp_path, "-j2")
    ran = subprocess.run([tmp_path / "app"], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout.splitlines()[-1]) == (0, "PASS: 4 of 4 vectors")


def test_every_type_of_tensor_is_compared(tmp_path: Path) -> None:
    require(*ARM)
    view, board = tiny_view(), BOARDS["cortex-m4"]
    package, stand_in = write_package(view, tmp_path / "mcu"), write_stand_in(view, tmp_path / "tflm")
    ran = run_on(board, cross_compile(package, stand_in, tmp_path / "program", board))
    assert ran.returncode == 0, ran.stdout
    assert "PASS vector 1 output 1: differs by 0 millionths, 1000 allowed" in ran.stdout


def test_a_linked_firmware_is_signed_for_mcuboot(built: dict[str, Sources], tmp_path: Path) -> None:
    require(*ARM)
    sources, board, keys = built["nucleo-f446re"], BOARDS["cortex-m4"], make_keys(tmp_path / "keys")
    firmware = raw_binary(cross_compile(sources.package, sources.stand_in, tmp_path / "program", board))
    output = tmp_path / "kws.mcu.tar"
    settings = {"firmware": str(firmware), "slot-size": "0x60000"}
    create_bundle(wanted(sources.artifact, "mcu", keys, output, settings=settings), now=NOW)
    tree = read_sealed(output.read_bytes(), read_trust(keys), NOW)
    certificate = checked_certificate(read_trust(keys), "mcuboot", NOW)
    image = read_image(tree.files[FIRMWARE_IMAGE], certificate, name="firmware.bin")
    assert image.payload == firmware.read_bytes()
    assert sources.view.model in image.payload

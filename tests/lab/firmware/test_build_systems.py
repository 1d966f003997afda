"""A source package as CMake project, Arduino library and Zephyr module."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from edgekit.digests import sha256_file
from tests.firmware.build import HERE, STRICT
from tests.lab.firmware.sources import Sources, require

pytestmark = pytest.mark.lab


def cmake(*arguments: str | Path) -> str:
    done = subprocess.run(["cmake", *map(str, arguments)], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


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
    ran = subprocess.run([tmp_path / "build" / "kws_ref_model_selftest"], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout.splitlines()[-1]) == (0, "PASS: 4 of 4 vectors")
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

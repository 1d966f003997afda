"""Source packages compiled for Cortex-M and run on QEMU's boards. TFLite Micro for them is in no registry, so they are
linked with what tests/firmware/README.md describes; test_tflite_micro.py has the real one, for this machine.
"""

import subprocess
from pathlib import Path

import pytest

from edgekit.bundle.create import create_bundle
from edgekit.bundle.mcu.envelope import FIRMWARE_IMAGE
from edgekit.bundle.mcu.image import read_image
from edgekit.bundle.sealed import read_sealed
from edgekit.keys.trust import checked_certificate, read_trust
from tests.bundles import NOW, make_keys, wanted
from tests.firmware.build import (
    BOARDS,
    as_of_late_2026,
    compile_package,
    cross_compile,
    raw_binary,
    run_on,
    write_package,
    write_stand_in,
)
from tests.firmware.tiny import tiny_view
from tests.lab.firmware.sources import ARM, Sources, require

pytestmark = pytest.mark.lab


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


def test_tflite_micro_may_have_its_names_elsewhere(built: dict[str, Sources], tmp_path: Path) -> None:
    """Where it has them since late 2026. On this machine, where sanitizers look at the memory of the package, too."""
    require("g++")
    sources = built["nucleo-f446re"]
    stand_in = as_of_late_2026(write_stand_in(sources.view, tmp_path / "tflm"))
    command = ["g++", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    program = compile_package(sources.package, stand_in, tmp_path / "program", command)
    ran = subprocess.run([program], capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines()[-1] == "PASS: 4 of 4 vectors"


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

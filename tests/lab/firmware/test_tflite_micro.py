"""Source packages with TFLite Micro itself: its headers, and its interpreter and kernels for this machine."""

import re
import subprocess
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest

from edgekit.agent.selftest import compare_output
from edgekit.micro.host import run_on_host
from edgekit.target import load_target
from tests.firmware.build import BOARDS, STRICT, TIMEOUT_S, units, write_package
from tests.lab.firmware.sources import Sources, build_sources, require
from tests.lab.firmware.tflm import Tflm, tflm
from tests.lab.machine import LabUnavailable

pytestmark = pytest.mark.lab
HEAP = ("malloc", "calloc", "free", "_Znw", "_Zna", "_Zdl", "_Zda", "__cxa_guard", "__cxa_throw", "__dynamic_cast")


@pytest.fixture(scope="module")
def real() -> Tflm:
    try:
        return tflm()
    except LabUnavailable as err:
        pytest.skip(str(err))


@dataclass(frozen=True)
class Host:
    """Compiles, links and runs packages here; what was compiled is kept, since TFLite Micro's headers take long."""

    real: Tflm
    folder: Path
    objects: dict[tuple[Path, tuple[str, ...]], Path] = field(default_factory=dict)

    def run(self, package: Path, *defines: str, instead: Path | None = None) -> subprocess.CompletedProcess[str]:
        """The self-test of a package, with one unit of another package ``instead`` of its own."""
        objects = [
            self._object(unit, package / "src", defines)
            for unit in units(package)
            if instead is None or unit.name != instead.name
        ]
        other = [self._object(instead, instead.parents[1], defines)] if instead else []
        program = self.folder / "program"
        compiled("g++", *objects, *other, *self.real.link, "-o", program)
        return subprocess.run([program], capture_output=True, text=True, timeout=TIMEOUT_S, check=False)

    def _object(self, unit: Path, include: Path, defines: tuple[str, ...]) -> Path:
        key = (unit, defines)
        if key not in self.objects:
            made = self.folder / f"{len(self.objects)}.o"
            compiled("g++", *STRICT, f"-I{include}", *self.real.include, *defines, "-c", unit, "-o", made)
            self.objects[key] = made
        return self.objects[key]


def compiled(*command: str | Path, folder: Path | None = None) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def host(real: Tflm, tmp_path_factory: pytest.TempPathFactory) -> Host:
    require("g++")
    return Host(real, tmp_path_factory.mktemp("host"))


def arena_used(output: str) -> int:
    (found,) = re.findall(r"^arena: (\d+) bytes in use$", output, re.MULTILINE)
    return int(found)


def test_the_self_test_passes_with_tflite_micro(built: dict[str, Sources], host: Host) -> None:
    view = built["nucleo-f446re"].view
    ran = host.run(built["nucleo-f446re"].package)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    lines = ran.stdout.splitlines()
    assert sum(line.startswith("PASS vector") for line in lines) == 4
    assert lines[-1] == "PASS: 4 of 4 vectors"
    assert view.arena.default is not None
    assert view.arena.least < arena_used(ran.stdout) <= view.arena.default
    assert arena_used(ran.stdout) == pytest.approx(view.arena.estimate, rel=0.02)


def test_a_wrong_golden_output_fails_with_tflite_micro(built: dict[str, Sources], host: Host, tmp_path: Path) -> None:
    view = built["nucleo-f446re"].view
    first, second, *others = view.vectors
    moved = bytes((byte + 100) % 256 for byte in second.outputs[0])
    vectors = (first, replace(second, outputs=(moved,)), *others)
    changed = write_package(replace(view, vectors=vectors), tmp_path / "mcu")
    ran = host.run(built["nucleo-f446re"].package, instead=changed / "src" / "kws_ref_model" / "golden.cpp")
    assert ran.returncode == 1
    allowed = view.tolerances[0].max_steps
    assert re.search(rf"^FAIL vector 1 output 0: differs by \d+ steps, {allowed} allowed", ran.stdout, re.MULTILINE)
    assert ran.stdout.splitlines()[-1] == "FAIL: 3 of 4 vectors"


def test_an_arena_that_is_too_small_is_said_by_tflite_micro(built: dict[str, Sources], host: Host) -> None:
    """The least that compiles: with less TFLite Micro can crash, its kernels write to structs that they did not get."""
    package, least = built["nucleo-f446re"].package, built["nucleo-f446re"].view.arena.least
    ran = host.run(package, f"-DKWS_REF_MODEL_ARENA_BYTES={least}")
    assert ran.returncode == 1, ran.stderr
    assert "Failed to resize buffer. Requested: 16000" in ran.stdout + ran.stderr
    assert "the arena is too small or an operator is missing: TFLite Micro's log says which" in ran.stdout
    assert ran.stdout.splitlines()[-1] == "FAIL: the model was not run"
    with pytest.raises(AssertionError, match="KWS_REF_MODEL_ARENA_BYTES has no room for the tensors of one operator"):
        host.run(package, f"-DKWS_REF_MODEL_ARENA_BYTES={least - 1}", "-Wfatal-errors")


@pytest.mark.parametrize(
    ("model", "log", "said"),
    [
        ("tflite_ref/ic_resnet8_int8", "Didn't find op for builtin opcode 'ADD'", "or an operator is missing"),
        ("tflm/hello_world_int8", "", "the model has other inputs or outputs than facts.h says"),
    ],
)
def test_another_model_is_refused(
    built: dict[str, Sources], cases: Path, host: Host, tmp_path: Path, model: str, log: str, said: str
) -> None:
    """Such as one in an MCUboot slot, for which this firmware does not have the operators, or the application."""
    other = replace(built["nucleo-f446re"].view, model=(cases / "models" / f"{model}.tflite").read_bytes())
    changed = write_package(other, tmp_path / "mcu")
    ran = host.run(built["nucleo-f446re"].package, instead=changed / "src" / "kws_ref_model" / "model.cpp")
    assert ran.returncode == 1, ran.stderr
    assert log in ran.stdout + ran.stderr
    assert said in ran.stdout
    assert ran.stdout.splitlines()[-1] == "FAIL: the model was not run"


def test_a_tflite_micro_that_computes_wrong_is_found(cases: Path, host: Host, tmp_path: Path) -> None:
    """That of 2023 takes the first scale of a per-channel FULLY_CONNECTED for all channels, and says nothing."""
    calibration, model = tmp_path / "calibration.npz", cases / "models" / "tflm" / "hello_world_float.tflite"
    np.savez(calibration, x=np.linspace(0, 2 * np.pi, 100, dtype=np.float32).reshape(-1, 1))
    sources = build_sources(load_target("nucleo-f446re"), model, calibration, None, tmp_path)
    ran = host.run(sources.package)
    assert ran.returncode == 1
    assert re.search(r"^FAIL vector \d output 0: differs by \d{2,3} steps, \d allowed", ran.stdout, re.MULTILINE)


@pytest.mark.parametrize(("target", "cpu"), [("nucleo-f446re", "cortex-m4"), ("ethos-u55-128", "cortex-m55")])
def test_every_unit_compiles_with_the_headers_of_tflite_micro(
    built: dict[str, Sources], real: Tflm, target: str, cpu: str, tmp_path: Path
) -> None:
    require("arm-none-eabi-g++", "arm-none-eabi-nm")
    package = built[target].package
    include = [f"-I{package / 'src'}", *real.include, "-DTF_LITE_STATIC_MEMORY"]
    flags = (*BOARDS[cpu].flags, "-mthumb", *STRICT)
    compiled("arm-none-eabi-g++", *flags, *include, "-c", *units(package), folder=tmp_path)
    objects = sorted(tmp_path.glob("*.o"))
    assert len(objects) == len(units(package))
    nm = ("arm-none-eabi-nm", "--undefined-only", "--format=posix", *map(str, objects))
    listed = subprocess.run(nm, capture_output=True, text=True, check=True).stdout
    needed = {words[0] for line in listed.splitlines() if len(words := line.split()) > 1}
    assert any("MicroInterpreter" in symbol for symbol in needed)
    assert [symbol for symbol in needed if symbol.startswith(HEAP)] == []


def test_the_newest_kernels_keep_the_tolerance_of_the_package(built: dict[str, Sources]) -> None:
    """Those of the pinned tflite-micro, which has no headers to compile with."""
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

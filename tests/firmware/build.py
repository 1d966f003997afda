"""A source package compiled, linked with the stand-in for TFLite Micro, and run: here and on QEMU's Cortex-M boards."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgekit.bundle.mcu.package import source_package
from edgekit.bundle.mcu.view import PackageView
from edgekit.micro.resolver import BUILTINS, CUSTOM

HERE = Path(__file__).parent
STRICT = ("-std=c++17", "-O2", "-Wall", "-Wextra", "-Werror", "-fno-exceptions", "-fno-rtti", "-fno-threadsafe-statics")
TIMEOUT_S = 120


@dataclass(frozen=True)
class Board:
    """One of QEMU's, with the flags of its processor."""

    machine: str
    flags: tuple[str, ...]


BOARDS = {
    "cortex-m3": Board("mps2-an385", ("-mcpu=cortex-m3", "-mfloat-abi=soft")),
    "cortex-m4": Board("mps2-an386", ("-mcpu=cortex-m4", "-mfloat-abi=hard", "-mfpu=fpv4-sp-d16")),
    "cortex-m7": Board("mps2-an500", ("-mcpu=cortex-m7", "-mfloat-abi=hard", "-mfpu=fpv5-d16")),
    "cortex-m55": Board("mps3-an547", ("-mcpu=cortex-m55", "-mfloat-abi=hard")),
}


def write_package(view: PackageView, folder: Path) -> Path:
    """The source package as a folder."""
    for path, data in source_package(view).items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    return folder


def write_stand_in(view: PackageView, folder: Path) -> Path:
    """A tree like that of create_tflm_tree.py, which knows the golden vectors of ``view``."""
    shutil.copytree(HERE / "tflm", folder)
    micro = folder / "tensorflow" / "lite" / "micro"
    methods = sorted({*BUILTINS.values(), *CUSTOM.values()})
    (micro / "methods.inc").write_text("".join(f"METHOD({method})\n" for method in methods))
    (micro / "known_outputs.cc").write_text("\n".join(_known(view)) + "\n")
    return folder


def as_of_late_2026(stand_in: Path) -> Path:
    """Its classes and C types in ``tflite::micro``, types global by using-declarations, and no tensorflow/lite/c: where
    TFLite Micro has them since tflite-micro#3797.
    """
    micro, old = stand_in / "tensorflow" / "lite" / "micro", stand_in / "tensorflow" / "lite" / "c"
    text = (old / "common.h").read_text()
    types = sorted({*re.findall(r"\bkTfLite\w+", text), *re.findall(r"} (TfLite\w+);", text)})
    start, end = text.index("typedef"), text.rindex("#endif")
    inside = f"namespace tflite::micro {{\n{text[start:end]}}}\n"
    uses = "".join(f"using ::tflite::micro::{name};\n" for name in types)
    shutil.rmtree(old)
    for file in micro.iterdir():
        moved = file.read_text().replace("namespace tflite {", "namespace tflite::micro {")
        file.write_text(moved.replace("tensorflow/lite/c/", "tensorflow/lite/micro/c/"))
    (micro / "c").mkdir()
    (micro / "c" / "common.h").write_text(text[:start] + inside + uses + text[end:])
    return stand_in


def _known(view: PackageView) -> Iterator[str]:
    """``known`` from the raw tensors, not from what the package made of them."""
    tensors = (*view.inputs, *view.outputs)
    arrays = [data for vector in view.vectors for data in (*vector.inputs, *vector.outputs)]
    yield '#include "tensorflow/lite/micro/known_outputs.h"'
    yield "namespace {"
    for number, data in enumerate(arrays):
        yield f"const unsigned char array_{number}[] = {_braced(data)};"
    yield f"const unsigned char* const arrays[] = {_braced(f'array_{number}' for number in range(len(arrays)))};"
    yield f"const KnownTensor tensors[] = {_braced(_braced((t.tflite_type, t.data_bytes)) for t in tensors)};"
    yield f"const char* const methods[] = {_braced(map(json.dumps, view.methods))};"
    yield "}"
    counts = (len(view.inputs), len(view.outputs), "arrays", len(view.vectors), "methods", len(view.methods))
    yield f"const Known known = {_braced(('tensors', *counts))};"


def _braced(items: Iterable[object]) -> str:
    return f"{{{', '.join(map(str, items))}}}"


def units(package: Path) -> list[Path]:
    """What is compiled of a package: all but the Arduino sketch."""
    return [*sorted(package.glob("src/*/*.cpp")), package / "test" / "main.cpp"]


def compile_package(
    package: Path, stand_in: Path, program: Path, command: Sequence[str], *, more: Sequence[Path] = ()
) -> Path:
    """The package and the stand-in as one program; ``command``: compiler and its flags."""
    sources = [*units(package), *sorted(stand_in.rglob("*.cc"))]
    include = [f"-I{package / 'src'}", f"-I{stand_in}", "-DTF_LITE_STATIC_MEMORY"]
    arguments = [*command, *STRICT, *include, *map(str, (*sources, *more)), "-o", str(program)]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    assert done.returncode == 0, done.stderr
    return program


def cross_compile(package: Path, stand_in: Path, program: Path, board: Board, *defines: str) -> Path:
    """As ``compile_package``, for a board, with newlib's semihosting."""
    command = ["arm-none-eabi-g++", *board.flags, "-mthumb", *defines]
    startup = program.with_suffix(".startup.o")
    start = ["arm-none-eabi-gcc", *board.flags, "-mthumb", "-O2", "-Wall", "-Wextra", "-Werror", "-c"]
    subprocess.run([*start, str(HERE / "startup.c"), "-o", str(startup)], check=True, timeout=TIMEOUT_S)
    linker = ["--specs=rdimon.specs", f"-T{HERE / 'mps2.ld'}", "-Wl,--gc-sections", "-ffunction-sections"]
    return compile_package(package, stand_in, program, [*command, *linker], more=[startup])


def run_on(board: Board, program: Path) -> subprocess.CompletedProcess[str]:
    """The program on an emulated board; its exit status and what it said over semihosting."""
    command = ["qemu-system-arm", "-M", board.machine, "-nographic", "-monitor", "none", "-serial", "none"]
    return subprocess.run(
        [*command, "-semihosting", "-kernel", str(program)],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=TIMEOUT_S, check=False,
    )  # fmt: skip


def raw_binary(program: Path) -> Path:
    """What goes into flash."""
    output = program.with_suffix(".bin")
    command = ["arm-none-eabi-objcopy", "-O", "binary", "--only-section=.text", str(program), str(output)]
    subprocess.run(command, check=True, timeout=TIMEOUT_S)
    return output

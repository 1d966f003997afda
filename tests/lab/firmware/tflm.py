"""TFLite Micro's own headers and interpreter for this machine, as a wheel of PyPI has them.

TFLite Micro is Apache-2.0; the rest of the wheel is XMOS's, under a licence of its own. Tests link it, and nothing of
it is kept in this repository or passed on.
"""

import platform
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

from tests.lab import debian
from tests.lab.machine import LabUnavailable

WHEEL = "xmos-ai-tools==1.3.1"
"""The last one whose TFLite Micro is in the namespace ``tflite``. Of late 2023: it has no ``AddReverseV2``."""
SHA256 = "69cc0cf116ee9524352e9be9c694ecac62b42e441f2016056a461800ec04cd01"
HEADERS = "xmos_ai_tools/runtime/include/"
LIBRARY = "xmos_ai_tools/xinterpreters/libs/linux/xtflm_python.so.1.0.1"
"""Interpreter and reference kernels, with their C++ symbols; the wheel's static library has no interpreter."""
GEMMLOWP = Path("/usr/include/gemmlowp")
"""The wheel has TFLite Micro's headers without those of its third parties (libgemmlowp-dev)."""
TIMEOUT_S = 300


@dataclass(frozen=True, kw_only=True)
class Tflm:
    """What a program is compiled and linked with."""

    headers: tuple[Path, ...]
    library: Path

    @property
    def include(self) -> list[str]:
        """As headers of the system, whose warnings are not ours."""
        return [word for folder in self.headers for word in ("-isystem", str(folder))]

    @property
    def link(self) -> list[str]:
        return [str(self.library), f"-Wl,-rpath,{self.library.parent}"]


def tflm() -> Tflm:
    """TFLite Micro, cached; 60 MB are fetched once. Raises LabUnavailable."""
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        raise LabUnavailable("TFLite Micro's library in PyPI is for Linux on x86-64")
    if not GEMMLOWP.is_dir():
        raise LabUnavailable("gemmlowp's headers not found: install tests/lab/packages.txt")
    folder = debian.cached("tflm", (WHEEL, SHA256), _make)
    return Tflm(headers=(folder / HEADERS, GEMMLOWP), library=folder / LIBRARY)


def _make(folder: Path) -> None:
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{WHEEL} --hash=sha256:{SHA256}\n")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    done = subprocess.run(
        [*command, "--require-hashes", "-r", requirements, "-d", folder],
        capture_output=True, text=True, timeout=TIMEOUT_S, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise LabUnavailable(f"{WHEEL} cannot be had from PyPI: {done.stderr.strip()[-300:]}")
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if name.startswith(HEADERS) or name == LIBRARY]
        archive.extractall(folder, names)
    wheel.unlink()

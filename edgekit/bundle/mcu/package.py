"""The source package: one folder that is a CMake project, an Arduino library and a Zephyr module."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from edgekit.agent.versions import parse
from edgekit.bundle.mcu.names import byte_lines, comment, joined, string_literal
from edgekit.bundle.mcu.view import PackageView

if TYPE_CHECKING:
    from jinja2 import Environment


@dataclass(frozen=True, kw_only=True)
class Pin:
    """A revision of TFLite Micro, which has neither tags nor releases."""

    commit: str
    sha256: str
    """Of GitHub's zip archive of it."""


TFLM = Pin(
    commit="b75c6ff4e2270047f2b48fa01f833c8101c31f43",
    sha256="ac3e675b71c55529a32d19a8cf0912413c1d1b9a551512e2665883a1666fb0ba",
)
"""As Google's Coral NPU pins it: https://github.com/google-coral/coralnpu, rules/repos.bzl."""
UNITS = ("model", "runner", "golden", "selftest")
HEADERS = ("facts", "model", "ops", "arena", "tflm", "runner", "golden", "selftest")
PLACES = {
    "CMakeLists.txt": "CMakeLists.txt.j2",
    "README.md": "README.md.j2",
    "cmake/tflm.cmake": "tflm.cmake.j2",
    "cmake/cortex-m.cmake": "cortex-m.cmake.j2",
    "test/main.cpp": "main.cpp.j2",
    "library.properties": "library.properties.j2",
    "examples/Selftest/Selftest.ino": "Selftest.ino.j2",
    "zephyr/module.yml": "module.yml.j2",
    "zephyr/CMakeLists.txt": "zephyr.cmake.j2",
    "zephyr/Kconfig": "Kconfig.j2",
    "samples/selftest/CMakeLists.txt": "sample.cmake.j2",
    "samples/selftest/prj.conf": "prj.conf.j2",
}
"""Path in the package -> template."""
CPUS = {"u55": "cortex-m55", "u65": "cortex-m55", "u85": "cortex-m85"}
"""Beside an Ethos-U; the toolchain file's default is cortex-m4 for all others."""


def source_package(view: PackageView) -> dict[str, bytes]:
    """Path in the package -> UTF-8 text; the same view gives the same bytes."""
    units = {f"src/{view.id}/{unit}.cpp": f"{unit}.cpp.j2" for unit in UNITS}
    headers = {f"src/{view.id}/{header}.h": f"{header}.h.j2" for header in HEADERS}
    places = {**PLACES, f"src/{view.id}.h": "umbrella.h.j2", **units, **headers}
    facts: Mapping[str, object] = {
        "view": view,
        "tflm": TFLM,
        "sources": tuple(units),
        "cpu": CPUS.get(view.ethos_u or "", "cortex-m4"),
        "arduino_version": ".".join(map(str, parse(view.version).core)),  # Arduino's has no room for a pre-release
    }
    templates = _environment()
    return {path: templates.get_template(name).render(facts).encode() for path, name in sorted(places.items())}


@cache
def _environment() -> "Environment":
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(  # noqa: S701 - C++ and CMake; names pass through mcu/names.py
        loader=PackageLoader("edgekit.bundle.mcu"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(byte_lines=byte_lines, joined=joined, comment=comment, literal=string_literal)
    return environment

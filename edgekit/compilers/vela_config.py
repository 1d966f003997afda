"""Vela's settings and its configuration file, checked before anything is converted. Reads the file, runs nothing.

Source: https://gitlab.arm.com/artificial-intelligence/ethos-u/ethos-u-vela/-/blob/main/OPTIONS.md
"""

import configparser
import importlib.util
from collections.abc import Mapping
from pathlib import Path

from edgekit.compilers.tools import one_of, whole_number
from edgekit.errors import CompilerError

SETTINGS: Mapping[str, str] = {
    "accelerator_config": "the NPU and its MACs a cycle, such as ethos-u55-128",
    "system_config": "section System_Config.NAME of the configuration: clock, memories and their speed",
    "memory_mode": "section Memory_Mode.NAME: which memory holds weights, and which the arena",
    "config": "a vela.ini, from the project's folder; default: Vela's own Arm/vela.ini",
    "optimise": "Performance (default) or Size, for less memory",
    "arena_cache_size": "bytes of the arena's cache, in place of the memory mode's",
    "cpu_tensor_alignment": "bytes that tensors shared with the CPU are aligned to; default 16",
    "tensor_allocator": "HillClimb (default), Greedy or LinearAlloc",
    "ignore_ops": "operators to leave to the CPU, separated by commas",
}
REQUIRED = ("accelerator_config", "system_config", "memory_mode")
CHOICES = {
    "accelerator_config": (
        *(f"ethos-u55-{macs}" for macs in (32, 64, 128, 256)),
        *(f"ethos-u65-{macs}" for macs in (256, 512)),
        *(f"ethos-u85-{macs}" for macs in (128, 256, 512, 1024, 2048)),
    ),
    "optimise": ("Size", "Performance"),
    "tensor_allocator": ("HillClimb", "Greedy", "LinearAlloc"),
}
NUMBERS = ("arena_cache_size", "cpu_tensor_alignment")
MAX_NUMBER = 999_999_999
OWN_CONFIG = "Arm/vela.ini"
SECTIONS = {"system_config": "System_Config", "memory_mode": "Memory_Mode"}
ARENA_MEMORIES = ("Sram", "Dram")
"""The arena is written to: no flash."""
MAX_CONFIG_BYTES = 2**20


def check_settings(settings: Mapping[str, str], accelerator: str, directory: Path) -> None:
    """Raise CompilerError for a setting that is missing, unknown in the configuration, or does not fit the others."""
    for name in REQUIRED:
        if not settings.get(name):
            raise CompilerError(
                f"Vela needs {name} for {accelerator}: without it, its figures mean nothing.",
                hint=f"Set it in the target profile, under [compiler.vela] of edgekit.toml, or with --compiler-setting "
                f"{name}=NAME: {SETTINGS[name]}.",
            )
    for name, choices in CHOICES.items():
        one_of(settings, name, choices)
    for name in NUMBERS:
        whole_number(settings, name, 0, MAX_NUMBER)
    _check_sections(settings, _read(config_file(settings, directory)))


def config_file(settings: Mapping[str, str], directory: Path) -> Path:
    """The user's file, or Vela's own; raises CompilerError."""
    given = settings.get("config", OWN_CONFIG)
    path = directory / Path(given).expanduser()
    if path.suffix == ".ini" and path.is_file():
        return path
    own = own_config()
    if given == OWN_CONFIG and own is not None:
        return own
    raise CompilerError(
        f"Vela's configuration {given} is no .ini file that is there.",
        hint=f"Correct the setting config: a path from {directory}, or {OWN_CONFIG} that comes with Vela.",
    )


def own_config() -> Path | None:
    """The configuration that Vela brings along; None without Vela."""
    spec = importlib.util.find_spec("ethosu")
    packages = (spec.submodule_search_locations if spec else None) or ()
    found = (Path(package) / "config_files" / OWN_CONFIG for package in packages)
    return next((path for path in found if path.is_file()), None)


def _read(path: Path) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    try:
        with path.open(encoding="utf-8") as stream:
            parser.read_string(stream.read(MAX_CONFIG_BYTES), source=str(path))
    except (OSError, UnicodeDecodeError, configparser.Error) as err:
        raise CompilerError(f"Vela's configuration {path} cannot be read: {err}.", hint="Correct the file.") from err
    return parser


def _check_sections(settings: Mapping[str, str], parser: configparser.ConfigParser) -> None:
    file = settings.get("config", OWN_CONFIG)
    for name, prefix in SECTIONS.items():
        known = sorted(one.removeprefix(f"{prefix}.") for one in parser.sections() if one.startswith(f"{prefix}."))
        if settings[name] not in known:
            raise CompilerError(
                f"{file} has no section {prefix}.{settings[name]}.",
                hint=f"Choose a {name} that it has: {', '.join(known) or 'none'}.",
            )
    port = _value(parser, f"Memory_Mode.{settings['memory_mode']}", "arena_mem_area")
    memory = port and _value(parser, f"System_Config.{settings['system_config']}", f"{port.lower()}_port")
    if memory and memory not in ARENA_MEMORIES:
        raise CompilerError(
            f"The memory mode {settings['memory_mode']} puts the arena into {memory} of {settings['system_config']}, "
            "which cannot be written to.",
            hint="Choose a memory_mode whose arena_mem_area is the SRAM, such as Shared_Sram, or a system with DRAM.",
        )


def _value(parser: configparser.ConfigParser, section: str, key: str) -> str | None:
    """As Vela reads it: what a section inherits wins over its own. None where it is not there."""
    seen, found = set(), None
    while section not in seen and parser.has_section(section):
        seen.add(section)
        found = parser.get(section, key, fallback=found)
        section = parser.get(section, "inherit", fallback=section)
    return found

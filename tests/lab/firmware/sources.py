"""Source packages of real builds, and what compiles them."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from edgekit.artifact import Artifact
from edgekit.build import build
from edgekit.bundle.mcu.view import PackageView, view_of
from edgekit.cache import Cache
from edgekit.plan import BuildOptions, plan
from edgekit.project import Project
from edgekit.target import Target
from tests.firmware.build import write_package, write_stand_in

ARM = ("arm-none-eabi-g++", "qemu-system-arm")
TARGETS = ("nucleo-f446re", "ethos-u55-128")


@dataclass(frozen=True)
class Sources:
    """One artifact's source package, and the stand-in that knows its golden vectors."""

    artifact: Artifact
    view: PackageView
    package: Path
    stand_in: Path


def build_sources(target: Target, model: Path, calibration: Path, evaluation: Path | None, folder: Path) -> Sources:
    """The model, built for ``target``; conversions are cached in ``folder``."""
    options = BuildOptions(
        model=str(model), calibration=str(calibration), evaluate=str(evaluation) if evaluation else None,
        calibrator="min-max", equalize=False, correct_biases=False, output=folder / target.name,
    )  # fmt: skip
    artifact = build(plan(Project(), target, options, folder), cache=Cache(folder=folder / "cache"))
    view = view_of(artifact, "1.4.0")
    package = write_package(view, folder / f"{target.name}-mcu")
    return Sources(artifact, view, package, write_stand_in(view, folder / f"{target.name}-tflm"))


def require(*programs: str) -> None:
    missing = [program for program in programs if shutil.which(program) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} not installed (tests/lab/packages.txt)")

"""Requests to compilers, and programs that stand in for tools that are not on this machine."""

import os
from collections.abc import Mapping
from pathlib import Path

from edgekit.compilers import CompileRequest
from edgekit.target import Accelerator, CompilerName, Target, load_target

SOURCE = "https://example.org/accelerator"


def accelerator(compiler: CompilerName, **settings: str) -> Accelerator:
    """An accelerator of that compiler."""
    return Accelerator(
        name="npu", kind="npu", delegate="libnpu.so", compiler=compiler, settings=settings, source=SOURCE
    )


def target() -> Target:
    """A board that takes int8."""
    return load_target("rpi4")


def request(
    folder: Path, compiler: CompilerName, model: bytes, settings: Mapping[str, str] | None = None
) -> CompileRequest:
    """One model in a scratch folder, as ``compile_model`` lays it out."""
    (folder / "out").mkdir(parents=True)
    (folder / "model.tflite").write_bytes(model)
    return CompileRequest(
        model=folder / "model.tflite",
        folder=folder / "out",
        log=folder / "log.txt",
        target=target(),
        accelerator=accelerator(compiler),
        settings=dict(settings or {}),
        directory=folder,
    )


def fake_program(folder: Path, name: str, script: str) -> None:
    """A program on PATH that replays what was recorded; the caller puts ``folder`` on PATH."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text("#!/bin/sh\n" + script, encoding="utf-8")
    path.chmod(0o755)


def path_with(folder: Path) -> str:
    """PATH with ``folder`` first."""
    return f"{folder}{os.pathsep}{os.environ['PATH']}"

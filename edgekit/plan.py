"""What a build will do, decided before anything is read or run: flags over edgekit.toml over defaults."""

import re
from dataclasses import dataclass
from pathlib import Path

from edgekit.errors import ProjectError, TargetError
from edgekit.project import Calibration, Deploy, Evaluation, Input, Project, parse_fraction
from edgekit.target import IoName, PrecisionName, Target


@dataclass(frozen=True, kw_only=True)
class BuildOptions:
    """What the command line says; None where it says nothing."""

    model: Path | None = None
    precision: PrecisionName | None = None
    io: IoName | None = None
    calibration: str | None = None
    evaluate: str | None = None
    max_drop: str | None = None
    output: Path | None = None
    max_memory_mib: int | None = None


@dataclass(frozen=True, kw_only=True)
class DataPlan:
    """Where samples come from: a path or ``package.module:function``."""

    spec: str
    limit: int | None
    """Use at most this many samples; None is all."""


@dataclass(frozen=True, kw_only=True)
class BuildPlan:
    """Everything a build needs to know."""

    name: str
    source: Path
    directory: Path
    """Folder that relative data paths start from."""
    target: Target
    precision: PrecisionName
    io: IoName
    batch: int
    inputs: dict[str, Input]
    labels: Path | None
    calibration: DataPlan | None
    evaluation: DataPlan | None
    max_drop: str | None
    output: Path
    max_memory_mib: int | None
    deploy: Deploy


def plan(project: Project, target: Target, options: BuildOptions, directory: Path = Path()) -> BuildPlan:
    """Decide the build; raises ProjectError or TargetError when it cannot be done as asked."""
    _check_support(target)
    source = _source(project, options, directory)
    precision = _precision(project, target, options)
    io = _io(project, target, options, precision)
    calibration = _data(options.calibration, project.calibration)
    evaluation = _data(options.evaluate, project.evaluation)
    max_drop = options.max_drop or (project.evaluation.max_drop if project.evaluation else None)
    _check_budget(max_drop, evaluation)
    if precision == "int8" and calibration is None:
        raise ProjectError(
            "int8 needs calibration data: the ranges of the activations come from real samples.",
            hint="Give --calibration DATA (.npz, .npy, a folder of images or package.module:function), "
            "or choose --precision float16 or dynamic, which need none.",
        )
    name = project.name or name_of(source)
    model = project.model
    return BuildPlan(
        name=name,
        source=source,
        directory=directory,
        target=target,
        precision=precision,
        io=io,
        batch=model.batch if model else 1,
        inputs=project.input,
        labels=directory / model.labels if model and model.labels else None,
        calibration=calibration,
        evaluation=evaluation,
        max_drop=max_drop,
        output=options.output or directory / "build" / f"{name}-{target.name}-{precision}",
        max_memory_mib=options.max_memory_mib,
        deploy=project.deploy,
    )


def _check_support(target: Target) -> None:
    if target.support.build == "planned":
        raise TargetError(
            f"edgekit cannot build for {target.name} yet. {target.support.missing}",
            hint="`edgekit target list` shows the targets that are ready.",
        )


def _source(project: Project, options: BuildOptions, directory: Path) -> Path:
    if options.model is not None:
        return options.model
    if project.model is None:
        raise ProjectError(
            "There is no model: none was given, and there is no edgekit.toml with a [model] here.",
            hint="`edgekit build MODEL --target NAME`, or `edgekit init MODEL` first.",
        )
    return directory / project.model.path


def _precision(project: Project, target: Target, options: BuildOptions) -> PrecisionName:
    precision = options.precision or project.build.precision or target.quantization.default_precision
    if precision not in target.quantization.precisions:
        raise TargetError(
            f"{target.name} takes {', '.join(target.quantization.precisions)}; {precision} was asked for.",
            hint=f"Use --precision {target.quantization.default_precision}.",
        )
    return precision


def _io(project: Project, target: Target, options: BuildOptions, precision: PrecisionName) -> IoName:
    asked = options.io or project.build.io
    if precision != "int8":
        if asked not in {None, "float32"}:
            raise ProjectError(
                f"io {asked} needs an int8 model; a {precision} model takes and gives float32.",
                hint="Leave --io away, or use --precision int8.",
            )
        return "float32"
    io = asked or target.quantization.io_dtypes[0]
    if io not in target.quantization.io_dtypes:
        raise TargetError(
            f"{target.name} takes inputs and outputs of {', '.join(target.quantization.io_dtypes)}; "
            f"{io} was asked for.",
            hint=f"Use --io {target.quantization.io_dtypes[0]}.",
        )
    return io


def _data(flag: str | None, table: Calibration | Evaluation | None) -> DataPlan | None:
    spec = flag or (table.data if table else None)
    return DataPlan(spec=spec, limit=table.samples if table else None) if spec else None


def _check_budget(max_drop: str | None, evaluation: DataPlan | None) -> None:
    if max_drop is None:
        return
    parse_fraction(max_drop)
    if evaluation is None:
        raise ProjectError(
            f"A budget of {max_drop} was asked for, and there is nothing to measure it on.",
            hint="Give --evaluate DATA with labelled samples, or leave --max-drop away.",
        )


def name_of(source: Path) -> str:
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", source.stem).strip("-._")[:63]
    if not name:
        raise ProjectError(f"No name can be made from {source.name!r}.", hint='Set name = "..." in edgekit.toml.')
    return name

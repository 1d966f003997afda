"""What a build will do, decided before anything is read or run: flags over edgekit.toml over defaults."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from msgspec.structs import replace

from edgekit.compilers.plan import CompilationPlan, compiled_for, plan_compilation, without_compiler
from edgekit.entries import Postprocessing
from edgekit.errors import ProjectError, TargetError
from edgekit.metrics import metric_of
from edgekit.metrics.budget import check_unit
from edgekit.postprocessing import decide_postprocessing
from edgekit.project import (
    Build,
    Calibration,
    CalibratorName,
    Deploy,
    Detection,
    Evaluation,
    Input,
    Project,
    Stream,
    parse_fraction,
)
from edgekit.scheme import decide_precision, decide_scheme
from edgekit.target import IoName, PrecisionName, Target
from edgekit_converters.sources import FACTORY
from edgekit_converters.types import Scheme

Layout = Literal["nchw", "nhwc"]
Switch = Literal["auto", "on", "off"]
"""``auto``: where the file made with it is surely better on the calibration samples."""


@dataclass(frozen=True, kw_only=True)
class BuildOptions:
    """What the command line says; None where it says nothing."""

    model: str | None = None
    """A path, or ``package.module:function``."""
    weights: Path | None = None
    layout: Layout | None = None
    precision: PrecisionName | Literal["auto"] | None = None
    io: IoName | None = None
    weight_bits: Literal[4, 8] | None = None
    granularity: Literal["per-channel", "per-tensor"] | None = None
    activations: Literal["affine", "symmetric"] | None = None
    equalize: bool | None = None
    correct_biases: bool | None = None
    calibration: str | None = None
    calibrator: CalibratorName | None = None
    evaluate: str | None = None
    metric: str | None = None
    max_drop: str | None = None
    max_trials: int | None = None
    keep_best: bool = False
    output: Path | None = None
    max_memory_mib: int | None = None
    compiler_setting: tuple[str, ...] = ()
    """``NAME=VALUE`` each."""
    compile: bool = True
    """False: the quantized model is the result, for a compiler that runs elsewhere."""
    no_micro_check: bool = False


@dataclass(frozen=True, kw_only=True)
class DataPlan:
    """Where samples come from: a path or ``package.module:function``."""

    spec: str
    limit: int | None
    """Use at most this many samples; None is all."""


@dataclass(frozen=True, kw_only=True)
class SourcePlan:
    """The model as its user names it."""

    spec: str
    """A path, or ``package.module:function``; relative to ``directory``."""
    directory: Path
    weights: Path | None
    layout: Layout | None


@dataclass(frozen=True, kw_only=True)
class BuildPlan:
    """Everything a build needs to know."""

    name: str
    source: SourcePlan
    directory: Path
    """Folder that relative data paths start from."""
    target: Target
    precision: PrecisionName | Literal["auto"]
    scheme: Scheme
    """What ``precision`` means in detail; for ``auto`` the int8 that the search starts from."""
    calibrator: CalibratorName
    fixed_io: bool
    """The user named ``scheme.io``: a search leaves it as it is."""
    equalize: Switch
    correct_biases: Switch
    batch: int
    inputs: dict[str, Input]
    labels: Path | None
    calibration: DataPlan | None
    evaluation: DataPlan | None
    metric: str
    detection: Detection | None
    """How a detector's outputs are read; None where edgekit.toml does not say."""
    postprocessing: Postprocessing | None
    """What the application makes of the outputs."""
    stream: Stream | None
    """How frames follow each other; None for a model of independent samples."""
    max_drop: str | None
    max_trials: int
    keep_best: bool
    output: Path
    max_memory_mib: int | None
    deploy: Deploy
    compilation: CompilationPlan | None
    """None where the target runs the quantized model as it is."""
    not_compiled_for: str | None
    """Accelerator that does not run the file, as the user wished."""
    micro_check: bool
    """Run the file in TFLite Micro, where the target is a microcontroller."""


def plan(project: Project, target: Target, options: BuildOptions, directory: Path = Path()) -> BuildPlan:
    """Decide the build; raises ProjectError, TargetError or CompilerError where it cannot be done so."""
    _check_support(target)
    accelerator = compiled_for(target)
    target = target if options.compile else without_compiler(target)
    source = _source(project, options, directory)
    wishes = _wishes(project.build, options)
    precision = decide_precision(options.precision or wishes.precision, target)
    calibration = _data(options.calibration, project.calibration)
    evaluation = _data(options.evaluate, project.evaluation)
    max_drop = options.max_drop or (project.evaluation.max_drop if project.evaluation else None)
    metric = options.metric or (project.evaluation.metric if project.evaluation else "top1")
    if evaluation is not None:
        _check_metric(metric, project.detection, max_drop, directory)
    _check_budget(max_drop, evaluation)
    _needs_calibration(precision, calibration, source)
    _needs_budget(precision, max_drop)
    _check_keep_best(precision, options)
    own = options.model is None or project.model is None or options.model == project.model.path
    name = (project.name if own else None) or name_of(source.spec)  # the file's name is that of its own model
    model = project.model
    return BuildPlan(
        name=name,
        source=source,
        directory=directory,
        target=target,
        precision=precision,
        scheme=decide_scheme(precision, wishes, target),
        calibrator=options.calibrator or (project.calibration.calibrator if project.calibration else "auto"),
        fixed_io=wishes.io is not None,
        equalize=_switch(wishes.equalize),
        correct_biases=_switch(wishes.correct_biases),
        batch=model.batch if model else 1,
        inputs=project.input,
        labels=directory / model.labels if model and model.labels else None,
        calibration=calibration,
        evaluation=evaluation,
        metric=metric,
        detection=project.detection,
        postprocessing=decide_postprocessing(project),
        stream=project.stream,
        max_drop=max_drop,
        max_trials=wishes.max_trials,
        keep_best=options.keep_best,
        output=options.output or directory / "build" / f"{name}-{target.name}-{precision}",
        max_memory_mib=options.max_memory_mib,
        deploy=project.deploy,
        compilation=plan_compilation(target, project.compiler, options.compiler_setting),
        not_compiled_for=None if accelerator is None or options.compile else accelerator.name,
        micro_check=not options.no_micro_check,
    )


def _check_support(target: Target) -> None:
    if target.support.build == "planned":
        raise TargetError(
            f"edgekit cannot build for {target.name} yet. {target.support.missing}",
            hint="`edgekit target list` shows the targets that are ready.",
        )


def _source(project: Project, options: BuildOptions, directory: Path) -> SourcePlan:
    """A model on the command line is found from where the command runs, one of edgekit.toml from its folder."""
    table = project.model
    layout = options.layout or (table.layout if table else None)
    if options.model is not None:
        return SourcePlan(spec=options.model, directory=Path(), weights=options.weights, layout=layout)
    if table is None:
        raise ProjectError(
            "There is no model: none was given, and there is no edgekit.toml with a [model] here.",
            hint="`edgekit build MODEL --target NAME`, or `edgekit init MODEL` first.",
        )
    weights = options.weights or (directory / table.weights if table.weights else None)
    return SourcePlan(spec=table.path, directory=directory, weights=weights, layout=layout)


def _wishes(build: Build, options: BuildOptions) -> Build:
    """[build] of edgekit.toml with the flags laid over it."""
    flags = {
        "io": options.io,
        "weight_bits": options.weight_bits,
        "granularity": options.granularity,
        "activations": options.activations,
        "equalize": options.equalize,
        "correct_biases": options.correct_biases,
        "max_trials": options.max_trials,
    }
    return replace(build, **{name: value for name, value in flags.items() if value is not None})


def _needs_calibration(precision: str, calibration: DataPlan | None, source: SourcePlan) -> None:
    if precision in {"int8", "int16x8", "auto"} and calibration is None:
        finished = " A .tflite that is quantized already is not built again: `edgekit inspect` and `bench` take it."
        raise ProjectError(
            f"{precision} needs calibration data: the ranges of the activations come from real samples.",
            hint="Give --calibration DATA (.npz, .npy, a folder of images or package.module:function), "
            "or choose --precision float16 or dynamic, which need none."
            + (finished if source.spec.endswith(".tflite") else ""),
        )


def _switch(wish: bool | None) -> Switch:
    if wish is None:
        return "auto"
    return "on" if wish else "off"


def _check_keep_best(precision: str, options: BuildOptions) -> None:
    if options.keep_best and precision != "auto":
        raise ProjectError(
            f"--keep-best keeps the best of several files, and --precision {precision} makes one.",
            hint="Use --precision auto, or leave --keep-best away.",
        )


def _needs_budget(precision: str, max_drop: str | None) -> None:
    if precision == "auto" and max_drop is None:
        raise ProjectError(
            "--precision auto looks for the fastest file that keeps a budget, and there is none.",
            hint="Give --max-drop, such as 1pt, and --evaluate DATA with held-out labelled samples.",
        )


def _data(flag: str | None, table: Calibration | Evaluation | None) -> DataPlan | None:
    spec = flag or (table.data if table else None)
    return DataPlan(spec=spec, limit=table.samples if table else None) if spec else None


def _check_metric(name: str, detection: Detection | None, max_drop: str | None, directory: Path) -> None:
    """Refuse now what would be refused after a long conversion."""
    metric = metric_of(name, detection=detection, directory=directory)
    if max_drop is not None:
        check_unit(metric.name, max_drop, is_fraction=metric.is_fraction)


def _check_budget(max_drop: str | None, evaluation: DataPlan | None) -> None:
    if max_drop is None:
        return
    parse_fraction(max_drop)
    if evaluation is None:
        raise ProjectError(
            f"A budget of {max_drop} was asked for, and there is nothing to measure it on.",
            hint="Give --evaluate DATA with labelled samples, or leave --max-drop away.",
        )


def name_of(spec: str) -> str:
    """A model's name from its path or ``package.module:function``; raises ProjectError where none can be made."""
    stem = spec.rpartition(":")[2] if FACTORY.fullmatch(spec) else Path(spec).stem
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", stem).strip("-._")[:63]
    if not name:
        raise ProjectError(f"No name can be made from {spec!r}.", hint='Set name = "..." in edgekit.toml.')
    return name

"""The files to choose from: given ones, or a model built in every precision of its target."""

from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from msgspec.structs import replace

from edgekit.artifact import is_artifact, read_artifact
from edgekit.build import build
from edgekit.entries import FindingEntry
from edgekit.errors import EdgekitError, ModelError
from edgekit.plan import BuildOptions, plan
from edgekit.progress import Progress, silent
from edgekit.project import Project
from edgekit.target import PrecisionName, Target
from edgekit.tune.run import File


def given_files(paths: Sequence[Path]) -> list[File]:
    """Artifacts and .tflite files, named by their precision, or their folder where several have the same.

    Raises:
        ArtifactError, IntegrityError: a folder that is no artifact, or one that was changed.
        ModelError: a path that is neither, or one given twice.
    """
    models = [read_artifact(path) if path.is_dir() else path for path in paths]
    precisions = [None if isinstance(model, Path) else model.manifest.precision for model in models]
    unique = {precision for precision in precisions if precision is not None and precisions.count(precision) == 1}
    files = [
        File(name=precision if precision in unique else path.stem if path.is_file() else path.name,
             precision=precision, model=model)
        for path, model, precision in zip(paths, models, precisions, strict=True)
    ]  # fmt: skip
    names = [file.name for file in files]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ModelError(
            f"Several of the files are called {twice[0]}.", hint="Give each once, in folders of different names."
        )
    return files


def are_files(paths: Sequence[Path]) -> bool:
    """Whether these are files to choose from, rather than one model to build from."""
    return bool(paths) and all(is_artifact(path) or path.suffix == ".tflite" for path in paths)


def build_files(
    project: Project,
    target: Target,
    precisions: Sequence[PrecisionName],
    options: BuildOptions,
    *,
    progress: Progress = silent,
) -> tuple[list[File], list[FindingEntry]]:
    """An artifact in each precision; ``precisions`` empty: every one of the target that can be built, others are said.

    Raises what ``plan`` and ``build`` do for a precision that was asked for, or where none can be built.
    """
    unjudged: Project = replace(project, evaluation=None)  # the budget is tune's own
    files: list[File] = []
    findings: list[FindingEntry] = []
    first: EdgekitError | None = None
    for precision in precisions or [name for name in get_args(PrecisionName) if name in target.quantization.precisions]:
        chosen = BuildOptions(**{**vars(options), "precision": precision})
        try:
            artifact = build(plan(unjudged, target, chosen), progress)
        except EdgekitError as err:
            if precisions:
                raise
            first = first or err
            findings.append(
                FindingEntry(name="not-built", severity="warning", message=f"{precision}: {err.message}", fix=err.hint)
            )
        else:
            files.append(File(name=precision, precision=precision, model=artifact))
    if first is not None and not files:
        raise first
    return files, findings

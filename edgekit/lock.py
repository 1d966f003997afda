"""``edgekit.lock``: what a project's builds were made from, so that another machine makes the same or says why not.

Beside edgekit.toml; one table a build. ``edgekit build --locked`` compares before and after and refuses with every
difference.
"""

import hashlib
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec

from edgekit.digests import sha256_file, sha256_files, sha256_source
from edgekit.documents import Document, read_toml
from edgekit.entries import Manifest, Sha256
from edgekit.errors import LockError, ProjectError, foreign_errors
from edgekit.metrics import METRICS
from edgekit.plan import BuildPlan, DataPlan
from edgekit.versions import version_of

LOCK = "edgekit.lock"
HEADER = "# Written by `edgekit build`; `edgekit build --locked` refuses to build from anything else.\n"


class LockedBuild(Document, frozen=True, kw_only=True):
    """What one build depends on."""

    source: dict[str, Sha256]
    """File or folder of the model (or the code and weights behind a function) -> sha256."""
    calibration: Sha256 | None = None
    """sha256 of the data's files; of the samples themselves where a function yields them."""
    evaluation: Sha256 | None = None
    target: Sha256
    """sha256 of the target profile."""
    settings: dict[str, str]
    """What flags and edgekit.toml say."""
    tools: dict[str, str]
    """Package -> version."""


class Lock(Document, frozen=True, kw_only=True):
    """``edgekit.lock``."""

    schema_version: Literal[1]
    builds: dict[str, LockedBuild] = msgspec.field(default_factory=dict)
    """Name of the artifact's folder -> what it was made from."""


def read_lock(directory: Path) -> Lock | None:
    """The project's lock, or None where there is none; raises ProjectError for a damaged one."""
    path = directory / LOCK
    return read_toml(path, Lock, ProjectError) if path.exists() else None


def locked_build(plan: BuildPlan, manifest: Manifest, files: tuple[str, ...]) -> LockedBuild:
    """What was used; ``files`` is the code behind a ``package.module:function`` model."""
    return LockedBuild(
        source=source_digests(plan, files),
        calibration=_data_digest(plan, plan.calibration, manifest.calibration.sha256 if manifest.calibration else None),
        evaluation=_data_digest(plan, plan.evaluation, manifest.evaluation.sha256 if manifest.evaluation else None),
        target=hashlib.sha256(msgspec.json.encode(plan.target, order="sorted")).hexdigest(),
        settings=settings_of(plan),
        tools=manifest.tools,
    )


def write_lock(plan: BuildPlan, entry: LockedBuild) -> None:
    """Put ``entry`` into the project's lock by one rename; other builds' tables stay as they are."""
    import tomlkit

    path = plan.directory / LOCK
    lock = read_lock(plan.directory) or Lock(schema_version=1)
    builds = {**lock.builds, plan.output.name: entry}
    document = msgspec.to_builtins(Lock(schema_version=1, builds=dict(sorted(builds.items()))))
    text = HEADER + tomlkit.dumps(_without_none(document))
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return
    temporary = path.with_name(f".{LOCK}.{os.getpid()}")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    except OSError as err:
        raise ProjectError(f"{path} cannot be written: {err.strerror}.", hint="Make the folder writable.") from err
    finally:
        temporary.unlink(missing_ok=True)


def check_before(plan: BuildPlan) -> LockedBuild:
    """Compare what can be known before a build; raises LockError naming every difference."""
    lock = read_lock(plan.directory)
    entry = lock.builds.get(plan.output.name) if lock else None
    if entry is None:
        known = f"it knows {', '.join(lock.builds) or 'none'}" if lock else f"there is no {LOCK} in {plan.directory}"
        raise LockError(
            f"The build {plan.output.name} is not locked: {known}.",
            hint="Build it once without --locked and commit the lock.",
        )
    now = {
        "source": source_digests(plan, tuple(entry.source)),
        "calibration": _data_digest(plan, plan.calibration, entry.calibration),
        "evaluation": _data_digest(plan, plan.evaluation, entry.evaluation),
        "settings": settings_of(plan),
        "tools": {name: version for name in entry.tools if (version := version_of(name)) is not None},
    }
    here = {name: version for name, version in entry.tools.items() if name in now["tools"]}  # type: ignore[operator]
    _refuse(differences(msgspec.structs.replace(entry, tools=here), msgspec.structs.replace(entry, **now)))
    return entry


def check_after(locked: LockedBuild, made: LockedBuild) -> None:
    """Compare what only the build shows: samples of a function, tools of another environment, imported modules."""
    _refuse(differences(locked, made))


def differences(locked: LockedBuild, made: LockedBuild) -> tuple[str, ...]:
    """Every difference as a sentence; pure."""
    return (
        *_changed("model file", locked.source, made.source),
        *_one("calibration data", locked.calibration, made.calibration),
        *_one("evaluation data", locked.evaluation, made.evaluation),
        *_one("target profile", locked.target, made.target),
        *_changed("setting", locked.settings, made.settings),
        *_changed("tool", locked.tools, made.tools),
    )


def source_digests(plan: BuildPlan, files: tuple[str, ...]) -> dict[str, str]:
    """Relative name -> sha256 of the model; missing files are left out, and so show as a difference."""
    source = plan.source
    model = source.directory / source.spec
    names = (source.spec,) if model.exists() else tuple(name for name in files if (source.directory / name).is_file())
    found = {_shown(name): sha256_source(source.directory / name) for name in names}
    if source.weights is not None and source.weights.is_file():
        found[source.weights.name] = sha256_file(source.weights)
    return found


def _shown(name: str) -> str:
    """Relative as it was given; of an absolute path only the last part, which is the same on another machine."""
    path = Path(name)
    return path.name if path.is_absolute() else path.as_posix()


def settings_of(plan: BuildPlan) -> dict[str, str]:
    """What shapes the bytes besides the files: everything the plan decided that is no path."""
    scheme = plan.scheme
    chosen: dict[str, object] = {
        "name": plan.name,
        "labels": sha256_file(plan.labels) if plan.labels and plan.labels.is_file() else None,
        "target": plan.target.name,
        "precision": plan.precision,
        "io": scheme.io,
        "fixed-io": plan.fixed_io if plan.precision == "auto" else None,
        "weight-bits": scheme.weight_bits,
        "per-channel": scheme.per_channel,
        "per-channel-fully-connected": scheme.per_channel_fully_connected,
        "symmetric-activations": scheme.symmetric_activations,
        "calibrator": plan.calibrator,
        "equalize": plan.equalize,
        "correct-biases": plan.correct_biases,
        "batch": plan.batch,
        "layout": plan.source.layout,
        "inputs": msgspec.json.encode(plan.inputs, order="sorted").decode(),
        "calibration-samples": plan.calibration.limit if plan.calibration else None,
        "evaluation-samples": plan.evaluation.limit if plan.evaluation else None,
        "metric": plan.metric,
        "metric-code": _metric_code(plan),
        "detection": None if plan.detection is None else msgspec.json.encode(plan.detection, order="sorted").decode(),
        "postprocessing": None
        if plan.postprocessing is None
        else msgspec.json.encode(plan.postprocessing, order="sorted").decode(),
        "max-drop": plan.max_drop,
        "stream": None if plan.stream is None else msgspec.json.encode(plan.stream, order="sorted").decode(),
        "max-trials": plan.max_trials,
        "micro-check": None if plan.micro_check else "off",
        "not-compiled-for": plan.not_compiled_for,
        **_compiler_settings(plan),
    }
    return {name: str(value) for name, value in chosen.items() if value is not None}


def _compiler_settings(plan: BuildPlan) -> dict[str, str | None]:
    """Compiler, its version and settings; of a setting that names a file, the digest of what is in it."""
    if plan.compilation is None:
        return {}
    files = {name: plan.directory / Path(value).expanduser() for name, value in plan.compilation.settings.items()}
    settings = {
        name: f"sha256 {sha256_file(files[name])}" if files[name].is_file() else value
        for name, value in plan.compilation.settings.items()
    }
    return {
        "compiler": plan.compilation.accelerator.compiler,
        "compiler-version": plan.compilation.version,
        "compiler-settings": msgspec.json.encode(settings, order="sorted").decode(),
    }


def _data_digest(plan: BuildPlan, data: DataPlan | None, of_samples: str | None) -> str | None:
    if data is None:
        return None
    path = plan.directory / data.spec
    return sha256_data(path) if path.exists() else of_samples


def sha256_data(path: Path) -> str:
    """sha256 of a data file or folder; of COCO instances with the images that they name. Raises DataError."""
    if path.suffix.lower() != ".json":
        return sha256_source(path)
    from edgekit_converters.coco import read_instances

    with foreign_errors():
        images = read_instances(path).files
    return sha256_files((path, *(file for file in images if file.is_file())))


def _metric_code(plan: BuildPlan) -> str | None:
    """sha256 of the module that a metric of the user's own is in; None for the others."""
    if plan.evaluation is None or plan.metric in METRICS:
        return None
    from edgekit_converters.functions import import_function

    with foreign_errors():
        function = import_function(plan.metric, plan.directory)
    file = getattr(sys.modules.get(function.__module__), "__file__", None)
    return sha256_file(Path(file)) if file else None


def _changed(what: str, locked: Mapping[str, str], made: Mapping[str, str]) -> Iterator[str]:
    for name in sorted({**locked, **made}):
        yield from _one(f"{what} {name}", locked.get(name), made.get(name))


def _one(what: str, locked: str | None, made: str | None) -> Iterator[str]:
    if locked != made:
        yield f"{what}: locked {_short(locked)}, now {_short(made)}"


def _short(value: str | None) -> str:
    if value is None:
        return "nothing"
    return f"sha256 {value[:12]}" if len(value) == 64 else value  # noqa: PLR2004 - hexadecimal digits of a sha256


def _refuse(found: tuple[str, ...]) -> None:
    if found:
        raise LockError(
            f"The build is not the locked one: {'; '.join(found)}.",
            hint="Restore what changed, or build without --locked to renew the lock and look at the new results.",
            details={"differences": found},
        )


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_none(item) for key, item in value.items() if item is not None}
    return value

"""The compile step: one model through one external compiler, in a scratch folder, its output audited."""

import contextlib
import difflib
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NotRequired, TypedDict, Unpack

from msgspec.structs import replace as replace_document

from edgekit.compilers import load_compiler
from edgekit.compilers.audit import audit_compiled, read_compiled
from edgekit.compilers.types import Compiled, Compiler, CompileRequest
from edgekit.errors import AuditError, CompilerError, EdgekitError
from edgekit.placement.entries import Placement
from edgekit.progress import Progress
from edgekit.target import Accelerator, CompilerName, Target
from edgekit_converters.structure import read_structure
from edgekit_converters.types import Finding

if TYPE_CHECKING:
    import numpy as np

    Samples = Callable[[], Iterable[Mapping[str, np.ndarray[Any, Any]]]]

MAX_SAMPLES = 100
"""Calibration samples for a compiler that quantizes for itself; more change its ranges little."""


class Wanted(TypedDict):
    """What is compiled, for what, and how."""

    target: Target
    accelerator: Accelerator
    """Of the target; its ``compiler`` says by which tool."""
    settings: Mapping[str, str]
    """The user's, laid over the profile's."""
    directory: Path
    """Where relative paths in the settings start."""
    log_folder: Path
    """Gets the tool's output where it failed."""
    progress: Progress
    float_tflite: NotRequired[bytes | None]
    """For compilers that NEED it, as are the others."""
    source: NotRequired[Path | None]
    samples: "NotRequired[Samples | None]"
    """Gives arrays by input name, in the model's order, float32 in the float model's shapes."""


def merged_settings(accelerator: Accelerator, wishes: Mapping[str, str]) -> dict[str, str]:
    """The profile's settings with the user's laid over them.

    Raises CompilerError for a setting that the accelerator's compiler does not have, with those that it has.
    """
    name, compiler = _compiler_of(accelerator)
    known = compiler.SETTINGS
    settings = {**accelerator.settings, **wishes}
    for setting in settings:
        if setting not in known:
            close = difflib.get_close_matches(setting, known, n=1)
            listed = ", ".join(sorted(known)) or "none"
            raise CompilerError(
                f"{name} has no setting {setting!r}.",
                hint=(f"Did you mean {close[0]}? " if close else "") + f"It has: {listed}.",
            )
    return dict(sorted(settings.items()))


def check_compiler(
    target: Target, accelerator: Accelerator, wishes: Mapping[str, str], directory: Path
) -> tuple[dict[str, str], str | None]:
    """The settings and the version of the accelerator's compiler, before anything is converted.

    Raises CompilerError where the tool is missing, or a setting is unknown, missing or wrong.
    """
    settings = merged_settings(accelerator, wishes)
    return settings, _compiler_of(accelerator)[1].check(target, accelerator, settings, directory.absolute())


def compile_model(tflite: bytes, **request: Unpack[Wanted]) -> Compiled:
    """Compile a quantized .tflite for the accelerator's compiler, and audit the file it made.

    Raises:
        CompilerError: the tool is missing, a setting is wrong, it failed, or its output is not what it should be.
        AuditError: nothing is on the accelerator, it does not fit, or the file is another model (exit code 3).
    """
    return _compile(tflite, request, audited=True)


def place_by_compiler(tflite: bytes, **request: Unpack[Wanted]) -> tuple[Placement, tuple[Finding, ...]]:
    """Where the accelerator's compiler itself puts each op, and what there is to say of the file it made.

    Only for compilers whose output is a .tflite; what they leave to the CPU runs on the plain kernels here. Raises
    CompilerError, and ModelError for a graph with a cycle.
    """
    from edgekit.compilers.told import told_placement

    target, accelerator = request["target"], request["accelerator"]
    compiled = _compile(tflite, request, audited=False)
    entry, reference = compiled.entry, read_structure(tflite)
    structure = read_compiled(compiled.model, entry.compiler)
    operators = _compiler_of(accelerator)[1].ACCELERATOR_OPS
    placement = told_placement(
        reference,
        structure,
        target=target,
        accelerator=accelerator,
        accelerator_ops=operators,
        told_by=f"{entry.compiler} {entry.version}" if entry.version else entry.compiler,
        reasons=entry.reasons,
    )
    return placement, compiled.findings


def _compile(tflite: bytes, wanted: Wanted, *, audited: bool) -> Compiled:
    name, compiler = _compiler_of(wanted["accelerator"])
    with tempfile.TemporaryDirectory(prefix="edgekit-compile-") as scratch:
        request = _request(Path(scratch), compiler, tflite, wanted)
        progress = wanted["progress"]
        progress(f"compile with {name}")
        try:
            command = compiler.command(request)
            ran = compiler.run(request, command, lambda line: progress(f"{name}: {line[:80]}"))
            compiled = compiler.parse(request, ran)
            return _audited(compiled, compiler, tflite, wanted["target"]) if audited else compiled
        except (CompilerError, AuditError) as err:
            raise _with_log(err, request.log, wanted["log_folder"], name) from err


def _compiler_of(accelerator: Accelerator) -> tuple[CompilerName, Compiler]:
    if accelerator.compiler is None:
        raise CompilerError(
            f"The accelerator {accelerator.name} has no compiler: it takes the .tflite as it is.",
            hint="Leave the compiler's settings away.",
        )
    return accelerator.compiler, load_compiler(accelerator.compiler)


def _request(scratch: Path, compiler: Compiler, tflite: bytes, wanted: Wanted) -> CompileRequest:
    """Lay out the scratch folder."""
    (scratch / "out").mkdir()
    (scratch / "model.tflite").write_bytes(tflite)
    float_model = calibration = None
    float_tflite, samples, source = wanted.get("float_tflite"), wanted.get("samples"), wanted.get("source")
    if "float-model" in compiler.NEEDS and float_tflite is not None:
        float_model = scratch / "float.tflite"
        float_model.write_bytes(float_tflite)
    if "calibration" in compiler.NEEDS and samples is not None:
        calibration = scratch / "calibration"
        _write_samples(calibration, samples)
    return CompileRequest(
        model=scratch / "model.tflite",
        float_model=float_model,
        source=source.absolute() if source else None,
        calibration=calibration,
        folder=scratch / "out",
        log=scratch / "log.txt",
        target=wanted["target"],
        accelerator=wanted["accelerator"],
        settings=merged_settings(wanted["accelerator"], wanted["settings"]),
        directory=wanted["directory"].absolute(),
    )


def _write_samples(folder: Path, samples: "Samples") -> None:
    import numpy as np

    for number, sample in enumerate(islice(samples(), MAX_SAMPLES)):
        for index, array in enumerate(sample.values()):
            (folder / str(index)).mkdir(parents=True, exist_ok=True)
            np.save(folder / str(index) / f"{number:05d}.npy", np.ascontiguousarray(array), allow_pickle=False)


def _audited(compiled: Compiled, compiler: Compiler, tflite: bytes, target: Target) -> Compiled:
    """With the ops counted in the file where it is a .tflite; raises CompilerError and AuditError."""
    entry = compiled.entry
    if not compiled.model:
        raise CompilerError(f"{entry.compiler} wrote an empty file.", hint="Look for its errors in the log.")
    if compiler.ACCELERATOR_OPS:
        reference = read_structure(tflite)
        on_cpu = audit_compiled(
            reference,
            read_compiled(compiled.model, entry.compiler),
            compiler=entry.compiler,
            accelerator_ops=compiler.ACCELERATOR_OPS,
            told_cpu_ops=compiled.told_cpu_ops,
            reasons=entry.reasons,
        )
        on_accelerator = len(reference.ops) - sum(on_cpu.values())
        entry = replace_document(entry, ops_on_cpu=on_cpu, ops_on_accelerator=on_accelerator)
    elif entry.ops_on_accelerator == 0:
        raise AuditError(
            f"{entry.compiler} put nothing on the accelerator.",
            hint="`edgekit inspect MODEL --target NAME` says what the accelerator takes.",
        )
    for finding in compiled.findings:
        if finding.severity == "error":
            message = f"The file for {target.name} is not what it should be: {finding.message}"
            raise AuditError(message, hint=finding.fix, details={"findings": compiled.findings})
    return replace(compiled, entry=entry)


def _with_log(err: EdgekitError, log: Path, log_folder: Path, name: CompilerName) -> EdgekitError:
    """The same error, naming the tool's output where there is any; a disk that is full or read-only hides nothing."""
    if not log.is_file() or not log.stat().st_size:
        return err
    said = "Its log could not be kept."
    with contextlib.suppress(OSError):
        said = f"Log: {_kept(log, log_folder, f'compile-{name}.log')}."
    return type(err)(err.message, hint=f"{err.hint} {said}", details=err.details)


def _kept(log: Path, folder: Path, name: str) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return Path(shutil.copyfile(log, folder / name))
    except OSError:
        return Path(shutil.copyfile(log, Path(tempfile.mkdtemp(prefix="edgekit-log-")) / name))

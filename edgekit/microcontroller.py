"""The step of a build for a microcontroller: the file runs in TFLite Micro here before any board sees it."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from edgekit.agent.runtime import REFERENCE, Model, ModelRefused
from edgekit.artifact import GOLDEN, Artifact
from edgekit.audit import read
from edgekit.documents import parse_json
from edgekit.entries import Golden, Manifest, TensorEntry
from edgekit.errors import ArtifactError, AuditError
from edgekit.manifest import finding_entry
from edgekit.micro.examine import ETHOS_U, Examined, Files, MicroVector, examine, examine_file
from edgekit.micro.host import check_installed
from edgekit.plan import BuildPlan
from edgekit.progress import Progress
from edgekit.target import Target
from edgekit_converters.types import Finding

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

UNCHECKED = Finding(
    name="micro-not-checked",
    severity="warning",
    message="The file was not run in TFLite Micro (--no-micro-check): nobody knows whether its kernels take it, what "
    "it computes there, or how large its arena is.",
    fix="Build without the flag on Linux on x86-64 with edgekit[micro], or check it on the board.",
)


def check_ready(plan: BuildPlan) -> None:
    """Asked before minutes go into a conversion; raises MicroError where TFLite Micro is needed and missing."""
    if _needed(plan):
        check_installed()


def checked_on_micro(plan: BuildPlan, files: Mapping[str, bytes], manifest: Manifest, progress: Progress) -> Manifest:
    """The manifest of an artifact with what TFLite Micro makes of its model; as it is for targets with a system.

    ``files``: the artifact's, golden vectors with them. Raises MicroError where the interpreter cannot be used,
    AuditError where it refuses the model, computes something else than the TFLite reference, or where the model does
    not fit the target's memory (exit code 3); ``details`` hold every finding.
    """
    if plan.target.runtime.kind != "tflm":
        return manifest
    if not _needed(plan):
        return msgspec.structs.replace(manifest, findings=(*manifest.findings, finding_entry(UNCHECKED)))
    progress("run in TFLite Micro")
    golden = parse_json(files[GOLDEN], Golden, ArtifactError, where=GOLDEN)
    found = examine(
        Files(model=files[manifest.model], reference=files[manifest.reference]),
        plan.target,
        vectors=tuple(_vectors(golden, files, manifest)),
        states=frozenset(plan.stream.state) if plan.stream else frozenset(),
    )
    stop_at_errors(found.findings)
    findings = (*manifest.findings, *map(finding_entry, found.findings))
    return msgspec.structs.replace(manifest, micro=found.entry, findings=findings)


def look_on_micro(target: Target, model: bytes, artifact: Artifact | None) -> Examined | None:
    """What TFLite Micro makes of a file, for people who look at it: an artifact's own record, else it is tried now.

    None where the target has a system, and for a file that its NPU's compiler would have to make another of first.
    Raises ModelError for what is no .tflite.
    """
    if target.runtime.kind != "tflm":
        return None
    if artifact is not None and artifact.manifest.target == target.name and artifact.manifest.micro is not None:
        return Examined(entry=artifact.manifest.micro, findings=())
    compiled = ETHOS_U in read(model).custom_counts
    if not compiled and any(accelerator.compiler for accelerator in target.accelerators):
        return None
    return examine_file(model, target, reference=artifact.reference.read_bytes() if artifact else None)


def stop_at_errors(findings: tuple[Finding, ...]) -> None:
    """Raise AuditError for the first error among them."""
    errors = [finding for finding in findings if finding.severity == "error"]
    if errors:
        more = f" ({len(errors) - 1} more: {', '.join(finding.name for finding in errors[1:])})" if errors[1:] else ""
        raise AuditError(errors[0].message + more, hint=errors[0].fix, details={"findings": findings})


def _needed(plan: BuildPlan) -> bool:
    return plan.target.runtime.kind == "tflm" and plan.micro_check


def _vectors(golden: Golden, files: Mapping[str, bytes], manifest: Manifest) -> Iterator[MicroVector]:
    """The golden inputs, with what the reference kernels make of them; raises AuditError where those refuse."""
    try:
        model = Model(files[manifest.reference], REFERENCE)
        for vector in golden.vectors:
            arrays = {tensor.name: _array(files[vector.inputs[tensor.name]], tensor) for tensor in manifest.inputs}
            model.reset()
            outputs = model.run(arrays)
            yield MicroVector(
                inputs=tuple(arrays.values()), outputs=tuple(outputs[tensor.name] for tensor in manifest.outputs)
            )
    except ModelRefused as err:
        raise AuditError(
            f"TFLite's reference kernels refuse the model, so TFLite Micro cannot be compared with them: {err}.",
            hint="Build with another --precision, or --no-micro-check and compare outputs on the board.",
        ) from err


def _array(data: bytes, tensor: TensorEntry) -> "Array":
    import numpy as np

    dtype = np.dtype(tensor.dtype)
    return np.frombuffer(data, dtype.newbyteorder("<")).astype(dtype).reshape(tensor.shape)

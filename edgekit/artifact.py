"""The artifact: a folder with model.tflite, manifest.json and golden/, named by the digest of its manifest.

The manifest holds the sha256 of every other file, so the sha256 of manifest.json is the digest of the whole.
Nothing in it depends on when, where or by whom it was made: two builds of the same inputs are byte-identical.
"""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

import msgspec

from edgekit.digests import sha256_file
from edgekit.documents import Document, parse_json, read_bounded, write_json
from edgekit.entries import FileEntry, Manifest, Sha256
from edgekit.errors import ArtifactError, IntegrityError
from edgekit.files import scratch_beside
from edgekit_converters.types import Finding

MANIFEST = "manifest.json"
MODEL = "model.tflite"
REFERENCE = "reference.tflite"
"""What a compiled model was made from."""
GOLDEN = "golden/golden.json"
MAX_FILES = 1000


class Artifact(Document, frozen=True, kw_only=True):
    """A verified artifact on this machine."""

    path: Path
    digest: Sha256
    manifest: Manifest

    @property
    def model(self) -> Path:
        """The file that runs on the target."""
        return self.path / self.manifest.model

    @property
    def reference(self) -> Path:
        """The quantized model that runs here; the same file unless a compiler made ``model`` from it."""
        return self.path / self.manifest.reference

    @property
    def files(self) -> dict[str, FileEntry]:
        """Every file of the folder with the manifest itself."""
        size = (self.path / MANIFEST).stat().st_size
        return {**self.manifest.files, MANIFEST: FileEntry(sha256=self.digest, bytes=size)}


def of_reference(artifact: Artifact) -> tuple[Finding, ...]:
    """What to say of figures that this machine finds for a compiled artifact; nothing for another."""
    if artifact.manifest.compilation is None:
        return ()
    where = artifact.manifest.compilation.accelerator
    return (
        Finding(
            name="of-reference",
            severity="info",
            message=f"This is of {artifact.manifest.reference}, which {artifact.manifest.model} was compiled from: "
            f"only {where} runs the compiled file, and accuracy there is not proven by it.",
            fix="Where edgekit reaches the device, `edgekit evaluate --device NAME` proves it; elsewhere golden/ "
            "holds inputs and expected outputs to compare with.",
        ),
    )


def is_artifact(path: Path) -> bool:
    """Whether ``path`` looks like an artifact's folder."""
    return (path / MANIFEST).is_file()


def read_artifact(path: Path) -> Artifact:
    """Read and verify a folder.

    Raises:
        ArtifactError: no artifact, or a manifest of another schema.
        IntegrityError: a file is missing, added or changed (exit code 8).
    """
    if not path.exists():
        raise ArtifactError(f"{path} does not exist.", hint="Build it first: edgekit build --target NAME.")
    if not is_artifact(path):
        raise ArtifactError(
            f"{path} holds no {MANIFEST}: it is no artifact.", hint="Give a folder that `edgekit build` made."
        )
    if (path / MANIFEST).is_symlink():
        raise IntegrityError(f"{path / MANIFEST} is a link.", hint="Build the artifact again.")
    data = read_bounded(path / MANIFEST, ArtifactError)
    manifest = parse_json(data, Manifest, IntegrityError, where=str(path / MANIFEST))
    _verify_files(path, manifest)
    return Artifact(path=path, digest=hashlib.sha256(data).hexdigest(), manifest=manifest)


def _verify_files(path: Path, manifest: Manifest) -> None:
    needed = {manifest.model, manifest.reference, GOLDEN}
    for name in (manifest.model, manifest.reference):
        if "/" in name:  # a golden vector is no model
            raise IntegrityError(f"{path / MANIFEST} calls {name} a model.", hint="Build the artifact again.")
    if len(manifest.files) > MAX_FILES or not needed <= set(manifest.files):
        raise IntegrityError(
            f"{path / MANIFEST} lists {len(manifest.files)} files, and must list {', '.join(sorted(needed))}.",
            hint="Build the artifact again.",
        )
    present = {
        PurePosixPath(file.relative_to(path)).as_posix()
        for file in path.rglob("*")
        if file.is_symlink() or not file.is_dir()
    }
    for name in sorted(present - set(manifest.files) - {MANIFEST}):
        raise IntegrityError(f"{path / name} is not in the manifest.", hint="Remove it, or build the artifact again.")
    for name, entry in sorted(manifest.files.items()):
        file = path / name
        if file.is_symlink() or not file.is_file():
            raise IntegrityError(f"{file} is missing or a link.", hint="Build the artifact again.")
        if file.stat().st_size != entry.bytes or sha256_file(file) != entry.sha256:
            raise IntegrityError(
                f"{file} no longer matches the manifest: it was changed after the build.",
                hint="Build the artifact again; do not edit its files.",
            )


def write_artifact(path: Path, files: Mapping[str, bytes], manifest: Manifest) -> Artifact:
    """Write a folder whole or not at all; an artifact that stood there is replaced by one rename.

    ``manifest.files`` is filled in here. Raises ArtifactError when the place holds something else or cannot be
    written.
    """
    if path.exists() and not is_artifact(path) and (not path.is_dir() or any(path.iterdir())):
        raise ArtifactError(
            f"{path} exists and is no artifact; it is left as it is.",
            hint="Choose another --output, or remove it.",
        )
    entries = {
        name: FileEntry(sha256=hashlib.sha256(data).hexdigest(), bytes=len(data)) for name, data in files.items()
    }
    manifest = msgspec.structs.replace(manifest, files=dict(sorted(entries.items())))
    document = write_json(manifest)
    try:
        with scratch_beside(path) as staging:
            for name, data in {**files, MANIFEST: document}.items():
                (staging / name).parent.mkdir(parents=True, exist_ok=True)
                (staging / name).write_bytes(data)
            staging.chmod(0o755)
            _swap(staging, path)
    except OSError as err:
        raise _cannot_write(path, err) from err
    return read_artifact(path)


def _swap(staging: Path, path: Path) -> None:
    """Put ``staging`` in the place of ``path``; what stood there is gone only when the new one is in place."""
    if not path.exists():
        staging.rename(path)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{path.name}.old.", dir=path.parent))
    try:
        os.rename(path, old / "artifact")  # noqa: PTH104 - mirrors the line below
        staging.rename(path)
    finally:  # after a signal, too
        if (old / "artifact").exists() and not path.exists():
            (old / "artifact").rename(path)
        shutil.rmtree(old, ignore_errors=True)


def _cannot_write(path: Path, err: OSError) -> ArtifactError:
    return ArtifactError(
        f"{path} cannot be written: {err.strerror or err}.",
        hint="Free some space, or choose another --output.",
    )

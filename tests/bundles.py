"""Bundles for tests: keys, a small artifact, a tree, a bundle of any format; each made once where it can be shared."""

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from edgekit.artifact import Artifact
from edgekit.bundle.create import BundleRequest, Created, create_bundle, own_settings, release_request
from edgekit.bundle.entries import Format, Installation, Release
from edgekit.bundle.tar import tar_of
from edgekit.bundle.tree import build_tree
from edgekit.bundle.types import CreateRequest, Tree
from edgekit.keys.new import new_keys
from edgekit.keys.types import Algorithm, Purpose
from edgekit.micro.entries import ArenaEntry, MicroEntry
from edgekit.project import Deploy
from tests.artifacts import make_artifact
from tests.unit.delegate_models import chain

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
"""When tests sign and verify."""
DAYS = 7000
"""Long, because the formats' own tools ask the clock of this machine."""
MICRO = MicroEntry(
    version="0.dev1",
    ran="model",
    ops=("ADD", "MUL"),
    resolver=("AddAdd", "AddMul"),
    arena=ArenaEntry(bytes=1500, used_bytes=1200, nonpersistent_bytes=200, persistent_bytes=1000, allocations=()),
    state_bytes=0,
    model_bytes=1000,
    max_steps=None,
    max_error=0.0,
    vectors=4,
)
"""What a build for a microcontroller says of ``tiny_model``."""


@cache
def tiny_model() -> bytes:
    """A float .tflite of a few hundred bytes that needs no case and no TensorFlow."""
    return chain(["ADD", "MUL"])


def tiny_artifact(folder: Path, **changes: object) -> Artifact:
    """The smallest artifact that runs, in TFLite Micro, too: every format takes it."""
    return make_artifact(folder, tiny_model(), **{"precision": "float32", "io": "float32", "micro": MICRO, **changes})


def make_keys(
    folder: Path,
    *,
    algorithms: Mapping[Purpose, Algorithm] | None = None,
    days: int = DAYS,
    ca: Path | None = None,
    now: datetime = NOW,
) -> Path:
    """A keys folder as `edgekit key new` writes it."""
    new_keys(folder, algorithms=algorithms or {}, days=days, organization="Tests", ca=ca, now=now)
    return folder


def wanted(artifact: Artifact, format: Format, keys: Path, output: Path, **changes: object) -> BundleRequest:  # noqa: A002
    """What `edgekit bundle create` would make; ``changes`` override."""
    fields: dict[str, object] = {
        "version": "1.0.0", "settings": {}, "licenses": ("Apache-2.0",), "deploy": Deploy(), "directory": output.parent,
        **changes,
    }  # fmt: skip
    return BundleRequest(artifact=artifact, format=format, keys=keys, output=output, **fields)  # type: ignore[arg-type]


def make_release(**changes: object) -> Release:
    """What release.json says of a tree without files; ``changes`` override."""
    fields: dict[str, object] = {
        "schema_version": 1, "name": "demo", "version": "1.2.0", "target": "rpi4", "hardware": ("rpi4",),
        "artifact": "0" * 64, "installation": Installation(), "files": {}, **changes,
    }  # fmt: skip
    return Release(**fields)  # type: ignore[arg-type]


def make_tree(artifact: Artifact, keys: Path, **changes: object) -> Tree:
    """A sealed tree without the files that a format adds."""
    return build_tree(release_request(wanted(artifact, "tar", keys, Path("unused"), **changes), None), keys, {})


def create_request(tree: Tree, format: Format, keys: Path, scratch: Path, **settings: str) -> CreateRequest:  # noqa: A002
    """What an envelope's ``create`` takes; ``scratch`` is made."""
    scratch.mkdir(parents=True)
    return CreateRequest(
        tree=tree,
        payload=tar_of(tree),
        keys=keys,
        settings=own_settings(format, settings),
        scratch=scratch,
        now=NOW,
    )


def make_bundle(
    folder: Path,
    format: Format,  # noqa: A002
    *,
    keys: Path | None = None,
    model: bytes | None = None,
    artifact: Artifact | None = None,
    now: datetime = NOW,
    **changes: object,
) -> Created:
    """A verified bundle bundle-VERSION.FORMAT in ``folder``; keys and artifact are made there where not given."""
    folder.mkdir(parents=True, exist_ok=True)
    keys = keys or (folder / "keys" if (folder / "keys").exists() else make_keys(folder / "keys"))
    if artifact is None:
        artifact = make_artifact(folder / "artifact", model) if model else tiny_artifact(folder / "artifact")
    output = folder / f"bundle-{changes.get('version', '1.0.0')}.{format}"
    return create_bundle(wanted(artifact, format, keys, output, **changes), now=now)


def write_tree(tree: Tree, folder: Path) -> Path:
    """The tree as an update client leaves it on a device."""
    for path, data in tree.files.items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    return folder

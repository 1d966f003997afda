"""Releases of one tiny model, unpacked as an update client leaves them on a device; each made once."""

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgekit.agent import install_command
from edgekit.agent.layout import find_damage
from edgekit.project import Deploy
from tests.artifacts import with_wrong_golden
from tests.bundles import make_keys, make_tree, tiny_artifact, write_tree

Capture = Callable[[], str]


@dataclass(frozen=True)
class Shelf:
    """Makes releases and keeps them."""

    folder: Path

    def release(self, version: str, *, wrong_golden: bool = False, note: str = "", **changes: Any) -> Path:
        """An unpacked release of this version; ``note`` makes another one of the same version."""
        name = f"{version}{note}{'-wrong' if wrong_golden else ''}-{abs(hash(repr(sorted(changes.items()))))}"
        path = self.folder / "trees" / name
        if not path.exists():
            keys = self.folder / "keys"
            if not keys.exists():
                make_keys(keys)
            artifact = tiny_artifact(self.folder / "artifacts" / name, tools={"edgekit": version + note})
            if wrong_golden:
                artifact = with_wrong_golden(artifact, self.folder / "wrong" / name)
            write_tree(make_tree(artifact, keys, version=version, **changes), path)
        return path

    def copy(self, release: Path, folder: Path) -> Path:
        """One that a test may spoil."""
        return Path(shutil.copytree(release, folder))

    def with_hooks(self, version: str, **hooks: Any) -> Path:
        return self.release(version, deploy=Deploy(**hooks))


@dataclass(frozen=True)
class Board:
    """A device without a host: its folder, and install.sh's Python part run in this process."""

    root: Path
    heard: Capture

    def install(self, release: Path, *arguments: str) -> tuple[int, str]:
        """(exit status, what it said)."""
        self.heard()
        status = install_command.main([str(release), "--root", str(self.root), *arguments])
        return status, self.heard()

    @property
    def state(self) -> Any:
        return json.loads((self.root / "models" / "demo" / "state.json").read_bytes())

    @property
    def floor(self) -> str | None:
        floor = self.state["floor"]
        return floor and str(floor["version"])

    def active(self) -> str | None:
        """Version of the release that is active, whole; None: none is."""
        return active_version(self.root)


def active_version(root: Path) -> str | None:
    """Version of the release that an application gets from ``root``, checked to be whole; None: none.

    What the manifest says and what the model is must be of one release.
    """
    link = root / "models" / "demo" / "current"
    if not link.is_symlink():
        return None
    folder = link.resolve()
    assert find_damage(str(folder), folder.name) == [], "what is active is not whole"
    made_by: str = json.loads((folder / "manifest.json").read_bytes())["tools"]["edgekit"]
    return re.sub(r"[+].*", "", made_by)

"""A profile of the user's own, started from one that is there: ``./targets/NAME.toml``."""

import re
from pathlib import Path

from edgekit.errors import TargetError
from edgekit.files import replace_file
from edgekit.target import Target, read_target, target_file

NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


def new_target(
    name: str, source: str, directory: Path = Path(), *, description: str | None = None, force: bool = False
) -> tuple[Path, Target]:
    """Write ``directory``/targets/``name``.toml: ``source`` with its comments, but a name and description of its own.

    ``name`` may be that of a shipped profile, before which the user's own comes. Returns where it is, and the profile.

    Raises TargetError for a name that cannot be one, a source that is not there or invalid, a file that is there
    already (without ``force``), a folder that cannot be written.
    """
    import tomlkit

    if not NAME.fullmatch(name):
        raise TargetError(
            f"{name!r} cannot be the name of a target.",
            hint="Use lower-case letters, digits and '-', 63 at most, a letter or digit first.",
        )
    old = target_file(source, directory)
    described = description or f"{name}, from {source}: {read_target(old).description}"
    path = directory / "targets" / f"{name}.toml"
    if path.exists() and not force:
        raise TargetError(
            f"{path} is there already.", hint="Choose another name, edit the file, or overwrite it with --force."
        )
    document = tomlkit.parse(old.read_text())
    document["name"], document["description"] = name, described
    _write(path, tomlkit.dumps(document))
    return path, read_target(path)


def _write(path: Path, text: str) -> None:
    """The whole file or nothing of it."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, text.encode())
    except OSError as err:
        raise TargetError(f"{path} cannot be written: {err.strerror}.", hint="Check the folder's permissions.") from err

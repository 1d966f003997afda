"""Files that appear whole or not at all."""

from pathlib import Path


def replace_file(path: Path, data: bytes) -> None:
    """Write ``data`` beside ``path`` and rename it there; nothing is left behind however this ends. Raises OSError.

    A link stays one: what it names is replaced. What stands under the name of the part, a link to another file too, is
    removed and never followed.
    """
    path = path.resolve()
    part = path.with_name(f".{path.name}.part")
    try:
        part.unlink(missing_ok=True)
        part.write_bytes(data)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)

"""A folder of files that appears whole or not at all."""

from collections.abc import Collection, Mapping
from pathlib import Path

from edgekit.errors import BundleError
from edgekit.files import scratch_beside


def write_folder(folder: Path, files: Mapping[str, bytes], executable: Collection[str] = ()) -> None:
    """Write relative path -> contents below ``folder``, which is new or empty.

    Raises BundleError where it holds something or cannot be written.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise BundleError(f"{folder} exists and is not empty; it is left as it is.", hint="Choose another --output.")
    try:
        _write(folder, files, executable)
    except OSError as err:
        raise unwritable(folder, err) from err


def _write(folder: Path, files: Mapping[str, bytes], executable: Collection[str]) -> None:
    with scratch_beside(folder) as scratch:
        part = scratch / "files"
        part.mkdir()
        for name, data in files.items():
            path = part / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            path.chmod(0o755 if name in executable else 0o644)
        if folder.exists():
            folder.rmdir()
        part.rename(folder)


def unwritable(path: Path | str, err: OSError) -> BundleError:
    """What keeps ``path`` from being written."""
    return BundleError(
        f"{path} cannot be written: {err.strerror or err}.", hint="Free some space, or choose another --output."
    )

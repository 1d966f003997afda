"""Trees of files that stand for /sys and /proc."""

from pathlib import Path


def plant(root: Path, folder: str, **files: object) -> str:
    """Files of one folder, as the kernel shows them; returns the root for a sensor's ``find``."""
    (root / folder).mkdir(parents=True, exist_ok=True)
    for name, value in files.items():
        (root / folder / name).write_text(f"{value}\n")
    return str(root)

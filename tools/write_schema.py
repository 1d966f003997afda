"""Write docs/schema/*.json: the JSON Schemas of what edgekit reads and writes, from the classes themselves."""

import inspect
import json
import sys
from pathlib import Path
from typing import Any

import msgspec

from edgekit.bundle.entries import Release
from edgekit.device import Inventory
from edgekit.entries import Golden, Manifest
from edgekit.history import RunRecord
from edgekit.project import Project
from edgekit.target import Target

FOLDER = Path(__file__).parent.parent / "docs" / "schema"
SCHEMAS: dict[str, type] = {
    "manifest": Manifest,
    "golden": Golden,
    "edgekit-toml": Project,
    "target": Target,
    "devices": Inventory,
    "run": RunRecord,
    "release": Release,
}


def schema(name: str) -> str:
    """The schema called ``name`` as the text of its file."""
    document: dict[str, Any] = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": name,
        **_cleaned(msgspec.json.schema(SCHEMAS[name])),
    }
    return json.dumps(document, indent=2) + "\n"


def _cleaned(value: Any) -> Any:
    """Descriptions without the indentation of their docstrings, which Python keeps before 3.13."""
    if isinstance(value, dict):
        return {
            key: inspect.cleandoc(item) if key == "description" and isinstance(item, str) else _cleaned(item)
            for key, item in value.items()
        }
    return [_cleaned(item) for item in value] if isinstance(value, list) else value


def main() -> int:
    """Write every schema."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in SCHEMAS:
        (FOLDER / f"{name}.json").write_text(schema(name))
    return 0


if __name__ == "__main__":
    sys.exit(main())

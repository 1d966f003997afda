"""The published schemas are those of the classes, and real documents satisfy them."""

import json
import re
import tomllib
from pathlib import Path

import jsonschema
import pytest

from tools.write_schema import FOLDER, SCHEMAS, schema

pytestmark = pytest.mark.unit
ROOT = Path(__file__).parent.parent.parent


@pytest.mark.parametrize("name", SCHEMAS)
def test_the_published_schema_is_current(name: str) -> None:
    assert (FOLDER / f"{name}.json").read_text() == schema(name), "run `make schema`"
    jsonschema.Draft202012Validator.check_schema(json.loads(schema(name)))


@pytest.mark.parametrize("path", sorted((ROOT / "targets").glob("*.toml")), ids=lambda path: path.stem)
def test_every_target_satisfies_its_schema(path: Path) -> None:
    jsonschema.validate(tomllib.loads(path.read_text()), json.loads(schema("target")))


def test_a_wrong_target_does_not() -> None:
    document = tomllib.loads((ROOT / "targets" / "rpi4.toml").read_text())
    document["cpu"]["cores"] = "four"
    with pytest.raises(jsonschema.ValidationError, match="four"):
        jsonschema.validate(document, json.loads(schema("target")))


@pytest.mark.parametrize("name", SCHEMAS)
def test_no_pattern_takes_a_line_break_at_the_end(name: str) -> None:
    """``$`` alone matches before one, in Python: a name with it is a path with it."""
    patterns = re.findall(r'"pattern": ("(?:[^"\\]|\\.)*")', schema(name))
    assert all(json.loads(pattern).endswith(r"$(?!\n)") for pattern in patterns)

"""An artifact as people read it."""

import io
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from edgekit.cli.artifact_text import render_trials

pytestmark = pytest.mark.unit

TRIALS: list[dict[str, Any]] = [
    {"candidate": "int8", "drop": 0.035, "keeps": False, "refuted": False, "size_bytes": 34639, "failure": None},
    {
        "candidate": "float16",
        "drop": None,
        "keeps": False,
        "refuted": False,
        "size_bytes": None,
        "failure": "It is too large.",
    },
]


@pytest.mark.parametrize(("is_fraction", "shown"), [(True, "+3.50 pt"), (False, "+0.035"), (None, "+0.035")])
def test_drops_of_a_search_have_the_unit_of_the_metric(*, is_fraction: bool | None, shown: str) -> None:
    file = io.StringIO()
    evaluation: Any = None if is_fraction is None else SimpleNamespace(is_fraction=is_fraction)
    render_trials(Console(file=file, width=100), TRIALS, evaluation)
    text = file.getvalue()
    assert "drop where chosen" in text
    assert shown in text
    assert "exceeded" in text
    assert "It is too large." in text

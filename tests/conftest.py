"""Fixtures every test can use."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def cases() -> Path:
    """Real models and data: ../shared/cases, or ./cases as `make cases` fetches them."""
    for folder in (ROOT.parent / "shared" / "cases", ROOT / "cases"):
        if (folder / "MANIFEST.tsv").exists():
            return folder
    pytest.skip("no real models here: run `make cases`")

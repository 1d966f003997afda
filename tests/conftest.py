"""Fixtures every test can use."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# Shared machines are slow at times: how long an example takes says nothing about the code.
settings.register_profile("edgekit", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
settings.load_profile("edgekit")

# A shell that runs the tests in the background ignores Ctrl-C for them; some of them are about Ctrl-C.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test reads or fills the cache and the history of who runs it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGEKIT_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("EDGEKIT_RUNS_DIR", str(tmp_path_factory.mktemp("runs")))
        yield


@pytest.fixture(scope="session")
def cases() -> Path:
    """Real models and data: ../shared/cases, or ./cases as `make cases` fetches them."""
    for folder in (ROOT.parent / "shared" / "cases", ROOT / "cases"):
        if (folder / "MANIFEST.tsv").exists():
            return folder
    pytest.skip("no real models here: run `make cases`")

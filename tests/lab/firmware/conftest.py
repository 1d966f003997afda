"""Keyword spotting as a source package, built once a run."""

from pathlib import Path

import pytest

from edgekit.target import load_target
from tests.kws import saved_model, write_data
from tests.lab.firmware.sources import TARGETS, Sources, build_sources


@pytest.fixture(scope="session")
def built(cases: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Sources]:
    """Keyword spotting, built for a Cortex-M4 and for an Ethos-U55: the conversion is done once."""
    folder = tmp_path_factory.mktemp("kws")
    calibration, evaluation = write_data(cases, folder)
    return {
        name: build_sources(load_target(name), saved_model(cases), calibration, evaluation, folder) for name in TARGETS
    }


@pytest.fixture(params=TARGETS)
def sources(request: pytest.FixtureRequest, built: dict[str, Sources]) -> Sources:
    return built[request.param]

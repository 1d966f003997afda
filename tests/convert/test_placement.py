"""Networks of other kinds than the real .tflite files: XNNPACK takes what was predicted, in every precision."""

from pathlib import Path

import pytest

from benchmarks.placement_compare import compare
from benchmarks.placement_truth import forms, make_zoo
from edgekit.agent.runtime import ModelRefused

pytestmark = [pytest.mark.convert, pytest.mark.slow]

NETWORKS = {
    "mobilenet-v2": 9,
    "efficientnet-lite": 9,
    "ds-cnn": 9,
    "lstm-loop": 2,  # no loop can be brought to integers
    "lstm-unrolled": 9,
    "transformer": 9,
    "unet": 9,
    "torch-transformer": 9,
    "torch-mobile": 9,
}
"""Name -> how many precisions it can be brought to."""


@pytest.fixture(scope="session")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("zoo")
    make_zoo(folder)
    return folder


@pytest.mark.xdist_group("zoo")
@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_is_taken_as_predicted_in_every_precision(zoo: Path, name: str) -> None:
    made = dict(forms(name, (zoo / f"{name}.tflite").read_bytes()))
    found = {}
    for label, model in made.items():
        try:
            found[label] = compare(model)
        except ModelRefused as err:
            pytest.fail(f"{label}: {err}")
    assert {label: item.differences for label, item in found.items() if item.differences} == {}
    assert len(found) == NETWORKS[name]
    assert found[name].reported > 0

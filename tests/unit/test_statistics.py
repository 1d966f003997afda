"""Statistics of activations on a real float model."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit_converters.errors import ConversionError
from edgekit_converters.flatbuffer import read, write
from edgekit_converters.statistics import BINS, MOMENTUM, Statistics, collect_statistics
from edgekit_converters.types import FloatModel
from tests.unit.float_models import float_model
from tests.unit.float_networks import network_samples, planted_network

pytestmark = pytest.mark.unit


@pytest.fixture(scope="module")
def resnet(cases: Path) -> FloatModel:
    return float_model(cases / "models/tflite_ref/ic_resnet8_float.tflite")


@pytest.fixture(scope="module")
def given() -> list[dict[str, Any]]:
    rng = np.random.default_rng(0)
    return [{"in0": (rng.random((1, 32, 32, 3)) * 255).astype(np.float32)} for _ in range(13)]


@pytest.fixture(scope="module")
def collected(resnet: FloatModel, given: list[dict[str, Any]]) -> Statistics:
    return collect_statistics(resnet.tflite, lambda: given, histograms=True)


def test_the_true_minimum_and_maximum(resnet: FloatModel, given: list[dict[str, Any]], collected: Statistics) -> None:
    outputs: list[Any] = []
    counts: list[int] = []
    statistics = collect_statistics(
        resnet.tflite,
        lambda: iter(given),
        histograms=False,
        on_outputs=lambda out: outputs.append(out["out0"]),
        on_sample=counts.append,
    )
    assert counts == list(range(1, 14))
    assert len(outputs) == 13
    (name,) = (name for name in statistics.tensors if "input" in name.lower())
    pixels = np.stack([sample["in0"] for sample in given])
    tensor = statistics.tensors[name]
    assert (tensor.low, tensor.high) == (float(pixels.min()), float(pixels.max()))
    scores = np.stack(outputs)
    assert (scores.min(), scores.max()) in [(found.low, found.high) for found in statistics.tensors.values()]
    assert tensor.histogram is None
    assert (tensor.low, tensor.high) == (collected.tensors[name].low, collected.tensors[name].high)


def test_no_sample(resnet: FloatModel) -> None:
    assert collect_statistics(resnet.tflite, list, histograms=True) == Statistics(samples=0, tensors={}, half=None)


def test_the_moving_average_starts_at_the_first_sample(given: list[dict[str, Any]], collected: Statistics) -> None:
    (tensor,) = (found for name, found in collected.tensors.items() if "input" in name.lower())
    expected = float(given[0]["in0"].max())
    for sample in given[1:]:
        expected = MOMENTUM * expected + (1 - MOMENTUM) * float(sample["in0"].max())
    assert tensor.moving_high == pytest.approx(expected)


def test_histograms_count_every_element(given: list[dict[str, Any]], collected: Statistics) -> None:
    sizes = {}
    for name, tensor in collected.tensors.items():
        assert tensor.histogram is not None
        assert tensor.histogram.counts.shape == (BINS,)
        assert (tensor.histogram.counts >= 0).all()
        sizes[name] = int(tensor.histogram.counts.sum()) + tensor.histogram.zeros
    (pixels,) = (name for name in sizes if "input" in name.lower())
    assert sizes[pixels] == 13 * 32 * 32 * 3
    expected, _ = np.histogram(np.stack([sample["in0"] for sample in given]), BINS)
    found = collected.tensors[pixels].histogram
    assert found is not None
    # float32 and float64 may differ about a value at an edge.
    assert np.abs(np.cumsum(found.counts) - np.cumsum(expected)).max() < 0.001 * expected.sum()


def test_zeros_of_a_relu_are_no_part_of_the_histogram(collected: Statistics) -> None:
    rectified = [found for found in collected.tensors.values() if found.low == 0 < found.high and found.histogram]
    assert any(found.histogram.zeros > found.histogram.counts.sum() / 10 for found in rectified if found.histogram)
    for found in rectified:
        assert found.histogram is not None
        assert found.histogram.counts[0] < found.histogram.counts.sum() / 2, "the zeros do not stand in the first bin"


def test_half_is_every_second_sample(resnet: FloatModel, given: list[dict[str, Any]], collected: Statistics) -> None:
    assert collected.half is not None
    alone = collect_statistics(resnet.tflite, lambda: given[::2], histograms=True)
    assert collected.half.samples == alone.samples == 7
    for name, tensor in alone.tensors.items():
        half = collected.half.tensors[name]
        assert (half.low, half.high, half.moving_low) == (tensor.low, tensor.high, tensor.moving_low)
        assert half.histogram is not None
        assert tensor.histogram is not None
        total = half.histogram.counts.sum() + half.histogram.zeros
        assert total == tensor.histogram.counts.sum() + tensor.histogram.zeros
    one = collect_statistics(resnet.tflite, lambda: given[:1], histograms=False)
    assert one.half is None


def test_a_generator_starts_again_for_the_second_pass(resnet: FloatModel, given: list[dict[str, Any]]) -> None:
    passes = []

    def samples() -> Iterator[dict[str, Any]]:
        passes.append(1)
        yield from given[:2]

    collect_statistics(resnet.tflite, samples, histograms=True)
    assert len(passes) == 2


def test_masks_do_not_stretch_a_range(resnet: FloatModel, given: list[dict[str, Any]]) -> None:
    masked = {"in0": given[0]["in0"].copy()}
    masked["in0"][0, 0, 0, 0] = -3.4e38
    statistics = collect_statistics(resnet.tflite, lambda: [masked], histograms=True)
    (pixels,) = (found for name, found in statistics.tensors.items() if "input" in name.lower())
    assert pixels.low >= 0
    assert pixels.histogram is not None
    assert pixels.histogram.counts.sum() + pixels.histogram.zeros == 32 * 32 * 3 - 1


def test_a_model_that_the_runtime_refuses(cases: Path) -> None:
    broken = (cases / "models/negative/model_invoking_error.tflite").read_bytes()
    with pytest.raises(ConversionError, match="does not load in the TFLite runtime") as caught:
        collect_statistics(broken, list, histograms=False)
    assert "report the model" in caught.value.hint


FLAT = """
import sys, resource, numpy as np
from pathlib import Path
from tests.unit.float_models import float_model
from edgekit_converters.statistics import collect_statistics
model = float_model(Path(sys.argv[1]))
sample = np.random.default_rng(0)
samples = lambda: ({"in0": sample.random((1, 32, 32, 3), np.float32)} for _ in range(int(sys.argv[2])))
collect_statistics(model.tflite, samples, histograms=True)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_memory_of_both_passes_is_flat(cases: Path) -> None:
    path = cases / "models/tflite_ref/ic_resnet8_float.tflite"
    peaks = [
        int(
            subprocess.run(
                [sys.executable, "-c", FLAT, str(path), str(count)],
                capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2],
            ).stdout
        )
        for count in (50, 1000)
    ]  # fmt: skip
    assert peaks[1] < 1.05 * peaks[0], f"KiB at 50 and 1000 samples: {peaks}"


def test_a_tensor_that_nobody_gives_is_an_error_that_says_so() -> None:
    model = read(planted_network().tflite)
    model.subgraphs[0].operators = model.subgraphs[0].operators[1:]
    data = write(model)
    with pytest.raises(ConversionError, match="lacks data"):
        collect_statistics(data, lambda: network_samples(1), histograms=False)

"""Each check of the data: found, named, with a fix; and silence where nothing is wrong."""

from typing import Any

import numpy as np
import pytest

from edgekit_converters.calibration import Sample
from edgekit_converters.checks import Checks, contradiction, overlap
from edgekit_converters.types import Finding, TensorSpec

pytestmark = pytest.mark.unit

SPEC = (TensorSpec(name="image", shape=(1, 8, 8, 3), dtype="float32"),)


def sample(values: Any, *, dtype: str = "float32") -> Sample:
    digest = hash(values.tobytes()).to_bytes(16, "little", signed=True)
    return Sample(inputs={"image": values}, label=None, digest=digest, source_dtypes={"image": dtype})


def images(count: int, high: float, seed: int = 0) -> list[Any]:
    rng = np.random.default_rng(seed)
    return [(rng.random((1, 8, 8, 3)) * high).astype(np.float32) for _ in range(count)]


def check(values: list[Any], dtype: str = "float32", **options: Any) -> Checks:
    checks = Checks(SPEC, **options)
    for value in values:
        checks.see(sample(value, dtype=dtype))
    return checks


def named(findings: tuple[Finding, ...]) -> dict[str, str]:
    return {finding.name: finding.severity for finding in findings}


def test_good_data_is_silent() -> None:
    assert check(images(120, 1), declared={"image": (0, 1)}).findings() == ()
    assert check(images(120, 255), dtype="uint8", declared={"image": (0, 255)}).findings() == ()


def test_counts() -> None:
    assert named(check([]).findings()) == {"calibration-count": "error"}
    assert named(check(images(30, 1), role="evaluation").findings()) == {"evaluation-count": "warning"}


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_not_finite(bad: float) -> None:
    values = images(120, 1)
    values[7][0, 3, 3, 1] = bad
    (finding,) = check(values).findings()
    assert (finding.name, finding.severity) == ("calibration-not-finite", "error")
    assert "number 7" in finding.message


def test_constant_samples_and_repeats() -> None:
    values = images(120, 1)
    values[3][:] = 0
    values[9] = values[8]
    findings = check(values).findings()
    assert named(findings) == {"calibration-constant": "warning", "calibration-duplicates": "warning"}
    assert any("1 of 120 calibration samples repeat" in finding.message for finding in findings)


def test_all_constant_is_an_error() -> None:
    values = [np.full((1, 8, 8, 3), number, np.float32) for number in range(120)]
    assert named(check(values).findings())["calibration-constant"] == "error"


@pytest.mark.parametrize(
    ("high", "declared"),
    [(1.0, (0.0, 255.0)), (255.0, (0.0, 1.0)), (255.0, (-1.0, 1.0))],
    ids=["divided by 255 where the model wants 0..255", "not divided", "not normalized"],
)
def test_a_range_that_contradicts_the_declared_one(high: float, declared: tuple[float, float]) -> None:
    (finding,) = check(images(120, high), declared={"image": declared}).findings()
    assert (finding.name, finding.severity) == ("calibration-range", "error")
    assert "[input.image.preprocessing]" in finding.fix


def test_raw_pixels_into_a_float_model_are_questioned() -> None:
    (finding,) = check(images(120, 255), dtype="uint8").findings()
    assert (finding.name, finding.severity) == ("calibration-range", "warning")
    assert "0.00392156862745098" in finding.fix
    assert "range = [0, 255]" in finding.fix


def test_one_class_for_everything_is_questioned() -> None:
    checks = check(images(120, 1))
    for _ in range(120):
        checks.see_outputs({"scores": np.array([[0.1, 0.9]]), "box": np.zeros((1, 4, 4))})
    (finding,) = checks.findings()
    assert (finding.name, finding.severity) == ("calibration-prediction", "warning")
    checks.see_outputs({"scores": np.array([[0.9, 0.1]])})
    assert checks.findings() == ()


def test_overlap_and_contradiction() -> None:
    first, second = check(images(120, 1, seed=0)), check(images(120, 1, seed=1), role="evaluation")
    assert overlap(first.digests(), second.digests()) == ()
    assert contradiction(first.spans, second.spans) == ()
    mixed = check(images(120, 1, seed=0)[:30] + images(90, 1, seed=2))
    (finding,) = overlap(first.digests(), mixed.digests())
    assert finding.name == "evaluation-overlap"
    assert "30 of 120" in finding.message
    scaled = check(images(120, 255, seed=3))
    (finding,) = contradiction(first.spans, scaled.spans)
    assert (finding.name, finding.severity) == ("evaluation-range", "error")


def test_the_digest_depends_on_content_and_order_only() -> None:
    values = images(5, 1)
    assert check(values).sha256() == check(values).sha256()
    assert check(values).sha256() != check(values[::-1]).sha256()

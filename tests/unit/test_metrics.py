"""Each metric against a reference, and what it refuses."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.errors import DataError, ModelError, ProjectError
from edgekit.evaluate import Evaluation, allowed_drop, check_unit, compare, measure
from edgekit.metrics import METRICS, metric_of
from edgekit.metrics.heads import OutputLog, compare_heads
from edgekit.metrics.intervals import mcnemar, resample_weights
from edgekit.metrics.protocol import Metric

pytestmark = pytest.mark.unit
Array = np.ndarray[Any, Any]


@dataclass(frozen=True, kw_only=True)
class Sample:
    """The input carries the outputs of the models, so that a test says what each model answers."""

    inputs: dict[str, Array] = field(default_factory=lambda: {"x": np.zeros((1, 1), np.float32)})
    label: int | None = None
    target: Any = None
    digest: bytes = b"\x00"
    where: str = "Sample 0"


def evaluate(metric: Metric, samples: list[Sample], source: Any, model: Any) -> Evaluation:
    """``source`` and ``model``: arrays (samples, ...), or dicts of them: what each answers, sample by sample."""

    def answers(values: Any) -> Any:
        values = values if isinstance(values, dict) else {"out": values}
        rows = ({name: np.asarray(each[i : i + 1], np.float32) for name, each in values.items()} for i in range(10**9))
        return lambda _: next(rows)

    return compare(*(measure(answers(values), samples, metric) for values in (source, model)))


def labelled(labels: Any) -> list[Sample]:
    return [
        Sample(label=int(label), target=np.array(label), digest=bytes([number % 256]), where=f"Sample {number}")
        for number, label in enumerate(labels)
    ]


def test_every_metric_is_one() -> None:
    for name in METRICS:
        metric: Metric = metric_of(name)
        assert metric.name == name


@pytest.mark.parametrize(("name", "hint"), [("top-1", "'top1'"), ("AUC", "'auc'"), ("zzz", "Known: top1, top5, auc")])
def test_an_unknown_metric_names_the_closest(name: str, hint: str) -> None:
    with pytest.raises(ProjectError, match="There is no metric") as caught:
        metric_of(name)
    assert hint in caught.value.hint


def test_top5_and_the_changes_it_reports() -> None:
    rng = np.random.default_rng(1)
    scores = rng.normal(size=(400, 10))
    labels = rng.integers(0, 10, 400)
    model = scores + 0.3 * rng.normal(size=scores.shape)
    found = evaluate(metric_of("top5"), labelled(labels), scores, model)
    expected = [
        np.mean([label in np.argsort(-row)[:5] for row, label in zip(each, labels, strict=True)])
        for each in (scores, model)
    ]
    assert [found.source, found.model] == pytest.approx(expected)
    assert [change.drop for change in found.per_class] == sorted((c.drop for c in found.per_class), reverse=True)
    assert sum(change.samples for change in found.per_class) == 400
    assert len(found.changed) == 10
    first = found.changed[0]
    assert first.source_prediction != first.model_prediction
    assert first.source == pytest.approx(scores[first.index, labels[first.index]], rel=1e-5)
    assert first.where == f"Sample {first.index}"
    assert 0 < found.agreement["same_prediction"] < 1


def test_ties_are_broken_as_argmax_does() -> None:
    found = evaluate(metric_of("top1"), labelled([0, 1]), np.array([[1, 1], [1, 1]]), np.array([[1, 1], [0, 1]]))
    assert (found.source, found.model) == (0.5, 1.0)


@pytest.mark.parametrize(("lost", "gained", "p"), [(0, 0, 1), (5, 5, 1), (8, 1, 0.0390625), (0, 10, 2 / 1024)])
def test_mcnemar_is_the_exact_binomial_test(lost: int, gained: int, p: float) -> None:
    assert mcnemar(lost, gained) == pytest.approx(p)


@pytest.mark.slow
@given(st.integers(2, 5), st.integers(0, 10**6), st.booleans())
@settings(max_examples=40)
def test_auc_is_that_of_scikit_learn(classes: int, seed: int, coarse: bool) -> None:
    from sklearn.metrics import roc_auc_score

    rng = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(classes), rng.integers(0, classes, 40)])
    scores = rng.dirichlet(np.ones(classes), len(labels))
    if coarse:
        scores = np.round(scores * 8) / 8  # ties
    metric = metric_of("auc")
    records = [metric.record(s, {"out": scores[i].astype(np.float32)}) for i, s in enumerate(labelled(labels))]
    found = metric.statistic(records)
    if classes == 2:
        expected = roc_auc_score(labels, (scores[:, 1] - scores[:, 0]).astype(np.float32))
    else:
        each = [roc_auc_score(labels == k, scores[:, k].astype(np.float32)) for k in range(classes)]
        expected = np.mean(each)
        areas = {label: area.value for label, area in found.per_class.items()}
        assert areas == pytest.approx(dict(enumerate(each)))
    assert found.values(np.ones((1, len(labels)))) == pytest.approx([expected])


def test_a_resampled_auc_is_the_auc_of_the_resample() -> None:
    from sklearn.metrics import roc_auc_score

    rng = np.random.default_rng(0)
    labels, scores = rng.integers(0, 2, 60), np.round(rng.normal(size=60), 1).astype(np.float32)
    metric = metric_of("auc")
    records = [metric.record(s, {"out": scores[i : i + 1]}) for i, s in enumerate(labelled(labels))]
    weights = resample_weights(rng, 20, 60)
    expected = [roc_auc_score(labels, scores, sample_weight=row) for row in weights]
    np.testing.assert_allclose(metric.statistic(records).values(weights), expected)


def test_auc_of_an_autoencoder_ranks_the_reconstruction_error() -> None:
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(40, 8)).astype(np.float32)
    labels = np.arange(40) % 2
    samples = [Sample(inputs={"x": row[None]}, label=int(label)) for row, label in zip(inputs, labels, strict=True)]
    restored = inputs + labels[:, None]
    found = evaluate(metric_of("auc"), samples, restored, inputs - 0.1 * labels[::-1, None])
    assert (found.source, found.model) == (1.0, 0.0)
    assert found.note == "score: mean squared difference of output and input"


def test_auc_needs_two_classes() -> None:
    with pytest.raises(DataError, match="at least two classes"):
        evaluate(metric_of("auc"), labelled([1, 1]), np.ones((2, 1)), np.ones((2, 1)))


def test_mse_against_targets_and_against_the_input() -> None:
    rng = np.random.default_rng(3)
    targets = rng.normal(size=(50, 4))
    source, model = targets + 0.1, targets + rng.normal(size=(50, 4))
    samples = [Sample(target=row) for row in targets]
    found = evaluate(metric_of("mse"), samples, source, model)
    assert found.source == pytest.approx(0.01, rel=1e-4)
    assert found.drop == pytest.approx(((model - targets) ** 2).mean() - 0.01, rel=1e-4)
    assert found.drop_interval[0] < found.drop < found.drop_interval[1]
    assert not found.higher_is_better
    restored = [Sample(inputs={"x": row[None]}) for row in targets]
    assert evaluate(metric_of("mse"), restored, source, model).source == pytest.approx(0.01, rel=1e-4)


@pytest.mark.parametrize(
    ("sample", "message"),
    [(Sample(), "mse needs a target"), (Sample(target=np.zeros(3)), r"the target has shape \(3,\), the output \(2,\)")],
)
def test_mse_refuses(sample: Sample, message: str) -> None:
    with pytest.raises(DataError, match=message):
        evaluate(metric_of("mse"), [sample], np.zeros((1, 2)), np.zeros((1, 2)))


def test_points_mean_nothing_for_an_error() -> None:
    with pytest.raises(ProjectError, match="1pt means nothing for mse") as caught:
        check_unit("mse", "1pt", is_fraction=False)
    assert "--max-drop 1%" in caught.value.hint
    found = evaluate(metric_of("mse"), [Sample(target=np.ones(1))] * 3, np.zeros((3, 1)), np.zeros((3, 1)))
    assert allowed_drop(found, "5%") == pytest.approx(0.05)
    assert [finding.name for finding in found.findings] == ["evaluation-few-samples"]


def write_module(folder: Path, name: str, text: str) -> str:
    (folder / f"{name}.py").write_text(f"import numpy as np\n{text}")
    return name


def test_a_users_function(tmp_path: Path) -> None:
    module = write_module(
        tmp_path,
        "metrics_of_this_test",
        "def mae(outputs, targets):\n    return np.abs(outputs['out'] - targets).mean()\n"
        "mae.higher_is_better = False\n"
        "def big(outputs, targets):\n    return 3.0\n"
        "def fails(outputs, targets):\n    raise KeyError('lost')\n",
    )
    metric = metric_of(f"{module}:mae", directory=tmp_path)
    rng = np.random.default_rng(0)
    targets = rng.normal(size=(80, 2))
    samples = [Sample(target=row) for row in targets]
    found = evaluate(metric, samples, targets + 0.5, targets + rng.normal(size=(80, 2)))
    assert found.source == pytest.approx(0.5, rel=1e-5)
    assert found.drop == pytest.approx(found.model - 0.5)
    assert found.drop_interval[0] < found.drop < found.drop_interval[1]
    assert (found.higher_is_better, found.is_fraction) == (False, False)
    assert len(found.changed) == 10
    with pytest.raises(DataError, match="gave 3, which is no share of 1"):
        evaluate(metric_of(f"{module}:big", directory=tmp_path), samples, targets, targets)
    with pytest.raises(DataError, match="fails failed: KeyError: 'lost'"):
        evaluate(metric_of(f"{module}:fails", directory=tmp_path), samples, targets, targets)
    with pytest.raises(ProjectError, match="cannot be imported"):
        metric_of("no_such_module_here:f", directory=tmp_path)


def test_nan_is_no_answer() -> None:
    with pytest.raises(ModelError, match="Output 'out' holds NaN for Sample 0"):
        evaluate(metric_of("top1"), labelled([0]), np.array([[np.nan, 1]]), np.array([[0, 1]]))


def test_a_collapsed_output_is_found_though_the_metric_is_fine() -> None:
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(100, 4)) * 0.1
    labels = scores.argmax(axis=1)
    found = evaluate(metric_of("top1"), labelled(labels), scores, scores + 3)
    assert found.drop == 0
    assert found.heads[0].sqnr_db is not None
    assert found.heads[0].sqnr_db < -20
    assert found.heads[0].max_error == pytest.approx(3, rel=1e-5)
    assert [finding.name for finding in found.findings] == ["output-collapsed"]


def test_kept_outputs_are_bounded_and_evenly_spread() -> None:
    logs = OutputLog(max_bytes=4000), OutputLog(max_bytes=4000)
    for number in range(1000):
        for error, log in enumerate(logs):
            log.see({"a": np.full(10, number + error, np.float32)})
    kept = logs[0].kept()
    assert 50 <= len(kept) <= 100
    assert len({later - earlier for earlier, later in zip(sorted(kept), sorted(kept)[1:], strict=False)}) == 1
    (head,) = compare_heads(kept, logs[1].kept())
    assert (head.samples, head.max_error) == (len(kept), 1)


def coverage(metric: Metric, draw: Any, truth: float, runs: int) -> float:
    """Share of simulated evaluations whose interval holds the drop that many more samples would give."""
    rng = np.random.default_rng(11)
    held = 0
    for _ in range(runs):
        samples, source, model = draw(rng)
        low, high = evaluate(metric, samples, source, model).drop_interval
        held += low <= truth <= high
    return held / runs


@pytest.mark.slow
def test_the_interval_of_the_auc_holds_the_true_drop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgekit.metrics.intervals.MAX_RESAMPLES", 400)
    # normal scores whose classes differ by d have an area of Phi(d / sqrt 2)
    from statistics import NormalDist

    def draw(rng: np.random.Generator) -> Any:
        labels = np.arange(150) % 2
        common = rng.normal(size=150) + 1.5 * labels
        return labelled(labels), common[:, None], (common + 0.7 * rng.normal(size=150))[:, None]

    area = [NormalDist().cdf(1.5 / (2 * (1 + noise**2)) ** 0.5) for noise in (0, 0.7)]
    assert coverage(metric_of("auc"), draw, area[0] - area[1], 120) >= 0.9


@pytest.mark.slow
def test_the_interval_of_the_mse_holds_the_true_drop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgekit.metrics.intervals.MAX_RESAMPLES", 400)

    def draw(rng: np.random.Generator) -> Any:
        errors = rng.normal(size=(150, 1))
        return [Sample(target=np.zeros(1))] * 150, 0.1 * errors, 0.1 * errors + 0.2 * rng.normal(size=(150, 1))

    assert coverage(metric_of("mse"), draw, 0.04, 120) >= 0.88


def test_the_manifest_and_the_screen_say_it() -> None:
    from edgekit.cli.artifact_text import describe_accuracy, describe_losses
    from edgekit.documents import parse_json, write_json
    from edgekit.errors import ArtifactError
    from edgekit.manifest import evaluation_entry
    from edgekit.metrics.entries import EvaluationEntry

    scores = np.eye(3)[[0, 1, 2, 0]]
    found = evaluate(metric_of("top1"), labelled([0, 1, 2, 0]), scores, scores[:, [1, 0, 2]])
    entry = evaluation_entry(found, "0" * 64, "1pt")
    assert parse_json(write_json(entry), EvaluationEntry, ArtifactError, where="test") == entry
    assert describe_accuracy(entry).startswith("top1 on 4 samples: 1.0000 -> 0.2500, drop +75.00 pt (95 % interval")
    assert describe_accuracy(entry).endswith("budget 1pt")
    lines = list(describe_losses(entry, ("cat", "dog", "bird")))
    assert lines == [
        "class cat: 1.0000 -> 0.0000 on 2",
        "class dog: 1.0000 -> 0.0000 on 1",
        "output out: largest error 1, SQNR -1.8 dB",
    ]
    assert [change.index for change in entry.changed] == [0, 1, 3]
    targets = np.random.default_rng(0).normal(size=(40, 1))
    error = evaluate(metric_of("mse"), [Sample(target=row) for row in targets], targets + 0.1, targets + 0.2)
    text = describe_accuracy(evaluation_entry(error, "0" * 64, "5%"))
    assert "mse on 40 samples: 0.01 -> 0.04, drop +300.00 % (95 % interval +300.00 to +300.00 %)" in text


def test_an_interval_that_no_sample_gives_is_said() -> None:
    from edgekit.cli.artifact_text import describe_accuracy
    from edgekit.evaluate import unproven_budget
    from edgekit.manifest import evaluation_entry

    found = Evaluation(metric="auc", samples=2, source=1, model=1, drop=0, drop_interval=(-np.inf, np.inf))
    assert "no 95 % interval: too few samples" in describe_accuracy(evaluation_entry(found, "0" * 64, None))
    (finding,) = unproven_budget(found, "1pt")
    assert "interval is unknown" in finding.message


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ('metric = "mapp"', "There is no metric 'mapp'"),
        ('metric = "mse"\nmax_drop = "1pt"', "1pt means nothing for mse"),
        ('metric = "no_such_module_here:f"', "cannot be imported"),
    ],
)
def test_a_plan_refuses_a_metric_before_anything_is_converted(tmp_path: Path, table: str, message: str) -> None:
    from edgekit.plan import BuildOptions, plan
    from edgekit.project import load_project
    from edgekit.target import load_target

    text = f'[model]\npath = "m.h5"\n[calibration]\ndata = "a.npz"\n[evaluation]\ndata = "b.npz"\n{table}\n'
    (tmp_path / "edgekit.toml").write_text(text + "[detection]\nbackground = 0\n")
    with pytest.raises(ProjectError, match=message):
        plan(load_project(tmp_path), load_target("rpi4"), BuildOptions(), tmp_path)
    planned = plan(load_project(tmp_path), load_target("rpi4"), BuildOptions(metric="map", max_drop="1%"), tmp_path)
    assert planned.metric == "map"
    assert planned.detection is not None
    assert planned.detection.background == 0

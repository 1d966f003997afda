"""The benchmark of compare's verdicts: its bound, its order, its table, and that it goes on where it stopped."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from benchmarks.compare_truth import judge, read_results, schedule, upper_bound, write_models
from benchmarks.layers_model import equal_layers

pytestmark = pytest.mark.unit


def run(kind: str, verdict: str, effect: float = 0.0, wall_s: float = 8.0) -> dict[str, Any]:
    return {
        "kind": kind, "verdict": verdict, "effect": effect, "interval": [effect - 0.002, effect + 0.002],
        "needed_rounds": None, "rounds": 20, "medians_ms": [0.1, 0.1], "findings": [], "wall_s": wall_s,
    }  # fmt: skip


def test_upper_bound() -> None:
    assert upper_bound(0, 400) == pytest.approx(1 - 0.05 ** (1 / 400))
    assert upper_bound(12, 400) == pytest.approx(0.0481, abs=1e-4)
    assert upper_bound(13, 400) > 0.05, "which is why 12 are allowed"
    assert upper_bound(1, 1) == pytest.approx(1)


def test_schedule_mixes_what_is_left() -> None:
    wanted = {"long": 1, "aa": 4, "planted": 2}
    assert schedule(wanted, Counter()) == ["long", "aa", "planted", "aa", "aa", "planted", "aa"]
    assert schedule(wanted, Counter(long=1, aa=4, planted=1)) == ["planted"]
    assert schedule(wanted, Counter(long=2, aa=9, planted=3)) == []


def test_a_line_that_was_cut_short_is_run_again(tmp_path: Path) -> None:
    file = tmp_path / "results.jsonl"
    assert read_results(file) == []
    file.write_text(json.dumps(run("aa", "equal")) + "\n" + '{"kind": "aa", "verd')
    assert [item["verdict"] for item in read_results(file)] == ["equal"]


def test_rows() -> None:
    runs = [run("long", "slower", 0.031), *[run("aa", "equal")] * 388, *[run("aa", "slower", 0.02)] * 12]
    runs += [*[run("planted", "slower", 0.03)] * 95, *[run("planted", "inconclusive")] * 5]
    rows = judge(runs)
    assert all(row.ok for row in rows)
    assert [row.measured for row in rows][1:3] == ["12 of 400 (388 equal, 0 inconclusive)", "4.82 %"]
    assert [row.ok for row in judge([*runs, run("aa", "faster")])][1:3] == [False, False]
    assert not judge([*runs, run("planted", "equal")])[4].ok
    assert not judge([run("long", "equal", 0.02)])[0].ok
    assert judge([]) == []


def test_models_are_what_they_are_said_to_be(cases: Path, tmp_path: Path) -> None:
    pairs = write_models(tmp_path)
    first, second = (path.read_bytes() for path in pairs["aa"])
    assert sum(one != other for one, other in zip(first, second, strict=True)) == 1
    assert equal_layers(3) == equal_layers(3)
    from edgekit_converters.flatbuffer import read

    counts = [len(read(path.read_bytes()).subgraphs[0].operators) for path in pairs["planted"]]
    assert counts == [33, 34]

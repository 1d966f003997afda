"""The agent's adapter to LiteRT's profiler, on the installed runtime: its functions, its words, its failures."""

import ctypes
import json
import re
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.agent import child, profile, profiler, runtime
from edgekit.agent.events import AgentError
from edgekit.agent.profile import Row, parse_summary
from edgekit.agent.profiler import FUNCTIONS, Profiler, ProfilerMissing, find_library, load_library
from tests.unit.delegate_library import build_text

pytestmark = pytest.mark.unit
SUMMARY = (Path(__file__).parent / "data" / "profile" / "kws_int8_summary.txt").read_text()
"""Of two profiled inferences, by ai-edge-litert 2.3.0."""
CRASHING = "#include <signal.h>\nint LiteRtCreateEnvironment(void) { return raise(SIGSEGV); }\n"


def model_of(cases: Path, name: str) -> str:
    return str(cases / "models" / name)


def ask(cases: Path, name: str, **changes: Any) -> dict[str, Any]:
    request = {
        "model": model_of(cases, name), "inputs": {}, "delegate": "xnnpack", "num_threads": 1, "num_runs": 5,
        "warmup_runs": 1, "min_secs": 0.0, "cpus": None, **changes,
    }  # fmt: skip
    return child.run_child("profile-process", request)


def test_canary_of_the_functions() -> None:
    """Fails where a wheel lacks a function; then LiteRT's headers (litert/c) say what became of it."""
    pinned = re.search(
        r"^ai-edge-litert==(.+)$", (Path(__file__).parents[2] / "constraints.txt").read_text(), re.MULTILINE
    )
    assert pinned is not None
    assert metadata.version("ai-edge-litert") == pinned[1] == "2.3.0", (
        "another wheel: hold FUNCTIONS, _Layout and parse_summary against its headers, then change this line"
    )
    library = load_library(find_library())
    assert all(getattr(library, name).argtypes is not None for name in FUNCTIONS)


def test_canary_of_the_structures(cases: Path) -> None:
    """Fails where the layout of a tensor's type moved: shapes and element types are read from it."""
    inputs = Profiler(model_of(cases, "tflite_ref/kws_int8.tflite"), "xnnpack", 1).inputs
    assert [(item.shape, item.dtype) for item in inputs] == [((1, 49, 10, 1), "int8")]
    assert ctypes.sizeof(profiler._TensorType) == 72


def test_canary_of_the_summary(cases: Path) -> None:
    """Fails where the table of ops, its sums or its names of owners moved."""
    model = Profiler(model_of(cases, "tflite_ref/kws_int8.tflite"), "none", 1)
    for times in (1, 2):
        model.start()
        model.run()
        model.stop()
        rows = parse_summary(model.summary())
        assert [row.place for row in rows] == list(range(13))
        assert {(row.owner, row.calls) for row in rows} == {("Builtin", times)}, "the runtime adds up"
    assert [row.kind for row in rows][:2] == ["CONV_2D", "DEPTHWISE_CONV_2D"]


def test_summary_that_was_recorded() -> None:
    rows = parse_summary(SUMMARY)
    assert len(rows) == 13
    assert rows[0] == Row(
        "Delegate/Convolution (NHWC, QC8) IGEMM", "Delegate", 0, 2, rows[0].first_us, rows[0].total_us
    )
    assert [(row.place, row.calls) for row in rows if row.calls != 2] == [(2, 4)], "of two partitions, added up"
    assert rows[9][:4] == ("AVERAGE_POOL_2D", "Builtin", 9, 2)
    total = re.search(r"curr=(\d+)", SUMMARY)
    assert total is not None
    assert sum(row.total_us for row in rows) == pytest.approx(int(total[1]), abs=0.1)


@pytest.mark.parametrize(
    "text",
    ["", "Profiling information not available\n", SUMMARY.replace("Run Order", "Order"), SUMMARY.replace("curr", "c")],
)
def test_summary_of_another_form(text: str) -> None:
    with pytest.raises(ProfilerMissing, match="summary is not as it was"):
        parse_summary(text)


@given(st.text(max_size=400), st.integers(0, len(SUMMARY)), st.integers(0, len(SUMMARY)))
def test_summary_with_anything_in_it(text: str, start: int, end: int) -> None:
    try:
        rows = parse_summary(SUMMARY[:start] + text + SUMMARY[end:])
    except ProfilerMissing:
        return
    assert all(row.total_us >= 0 and row.calls >= 0 for row in rows)


def test_process_tells_each_inference(cases: Path) -> None:
    answer = ask(cases, "tflite_ref/kws_int8.tflite")
    assert len(answer["samples_ns"]) == len(answer["profiled_ns"]) == 5
    assert all(len(row["us"]) == 5 and min(row["us"]) >= 0 for row in answer["rows"])
    spent = [sum(row["us"][place] for row in answer["rows"]) for place in range(5)]
    assert all(ops < whole / 1e3 for ops, whole in zip(spent, answer["profiled_ns"], strict=True)), "ops are within it"
    assert len(json.dumps(answer)) < 100_000


def test_open_batch_is_one(cases: Path) -> None:
    answer = ask(cases, "tflm/hello_world_int8.tflite")
    assert sum("Fully Connected" in row["kind"] for row in answer["rows"]) == 3


@pytest.mark.parametrize(
    ("name", "delegate", "why"),
    [
        ("tflm/mnist_lstm_int8.tflite", "xnnpack", "Variable tensors not yet supported"),
        ("negative/model_invoking_error.tflite", "xnnpack", "unresolved custom op: fake-op-double"),
        ("tflm/hello_world_int8.tflite", "/lib/libedgetpu.so.1", r"inside of an external delegate \(/lib/libedgetpu"),
        ("tflm/none.tflite", "none", "LiteRtCreateModelFromFile failed with status"),
    ],
)
def test_what_has_no_profile_says_why(cases: Path, name: str, delegate: str, why: str) -> None:
    with pytest.raises(ProfilerMissing, match=why):
        Profiler(model_of(cases, name), delegate, 1).run_first()


def test_what_has_no_profile_is_an_error_of_the_process(cases: Path) -> None:
    why = r"There is no profile of single ops here: .*Variable tensors not yet supported\.$"
    with pytest.raises(AgentError, match=why) as caught:
        ask(cases, "tflm/mnist_lstm_int8.tflite")
    assert "edgekit bench --coverage" in caught.value.hint


def test_other_runtimes_have_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    module = type("Module", (), {"__file__": str(tmp_path / "interpreter.py")})
    monkeypatch.setattr(runtime, "find_runtime", lambda: ("tflite-runtime", "2.14.0", module))
    with pytest.raises(ProfilerMissing, match=r"tflite-runtime 2\.14\.0 has no profiler; ai-edge-litert has one"):
        find_library()
    monkeypatch.setattr(runtime, "find_runtime", lambda: ("ai-edge-litert", "1.0.1", module))
    with pytest.raises(ProfilerMissing, match=r"1\.0\.1 comes without libLiteRt\.so"):
        find_library()


def test_library_of_another_age(tmp_path: Path) -> None:
    with pytest.raises(ProfilerMissing, match="has no function LiteRtCreateEnvironment"):
        load_library("libm.so.6")
    (tmp_path / "text.so").write_text("no library")
    with pytest.raises(ProfilerMissing, match=r"cannot be loaded: .*text\.so"):
        load_library(str(tmp_path / "text.so"))


def test_crash_of_the_library_is_an_error(cases: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "ai_edge_litert"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "interpreter.py").touch()
    others = "".join(f"int {name}(void) {{ return 1; }}\n" for name in FUNCTIONS if name != "LiteRtCreateEnvironment")
    build_text(package / "libLiteRt.so", CRASHING + others)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(AgentError, match=r"\(profile-process\) was killed by SIGSEGV"):
        ask(cases, "tflm/hello_world_int8.tflite")


def test_status_of_every_call_is_checked(cases: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = Profiler(model_of(cases, "tflm/hello_world_int8.tflite"), "xnnpack", 1)
    monkeypatch.setattr(model, "_profiler", ctypes.c_void_p())
    with pytest.raises(ProfilerMissing, match="LiteRtResetProfiler failed with status"):
        model.start()
    with pytest.raises(ProfilerMissing, match="LiteRtGetProfileSummary failed with status"):
        model.summary()
    with pytest.raises(ProfilerMissing, match="takes 1 bytes, not 4"):
        model.set_inputs({model.inputs[0].name: np.zeros(4, np.int8)})


def test_other_ops_from_run_to_run_are_no_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([SUMMARY, SUMMARY.replace("AVERAGE_POOL_2D", "MAX_POOL_2D    ")])
    model = type("Model", (), {name: lambda _self: None for name in ("run", "start", "stop")})()
    monkeypatch.setattr(model, "summary", lambda: next(answers), raising=False)
    series = profile._Series(model)
    series.take()
    with pytest.raises(ProfilerMissing, match="runs other ops from one inference to the next"):
        series.take()


def test_events_that_were_dropped_are_no_profile() -> None:
    profile._require_all(["Warning: Doubling internal profiling buffer."])
    with pytest.raises(ProfilerMissing, match="more ops than the profiler keeps"):
        profile._require_all(["x", "Warning: Dropping ProfileBuffer event."])

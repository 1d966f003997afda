"""``edgekit compare``: the agent's rounds on this machine, what a device may say instead, the verdict in words."""

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from edgekit.agent import child
from edgekit.agent.blocks import run_block
from edgekit.agent.compare import cpu_groups
from edgekit.agent.events import AgentError
from edgekit.bench.latency import Result
from edgekit.bench.plan import BenchOptions, Configuration, Subject
from edgekit.bench.samples import MachineState, Policy
from edgekit.bench.versus import compare as comparing
from edgekit.bench.versus.compare import compare, summarize_rounds, unique_names
from edgekit.bench.versus.comparison import ComparisonReport, compare_runs, require_decided, require_valid
from edgekit.bench.versus.rounds import Round, RoundProcess, Rounds, collect_rounds
from edgekit.cli import cli
from edgekit.cli.failures import guarded
from edgekit.entries import FileEntry
from edgekit.errors import DeviceFaultError, InconclusiveError, MeasurementInvalidError, ModelError
from edgekit.transport import Connection
from tests.unit.kept_runs import bench_report, measurement

pytestmark = pytest.mark.unit
Captured = pytest.CaptureFixture[str]
RECORDED = measurement()
STATE = RECORDED.before


@pytest.fixture
def model(cases: Path) -> Path:
    return cases / "models" / "tflm" / "hello_world_int8.tflite"


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where runs are kept."""
    monkeypatch.chdir(tmp_path)


def bound(monkeypatch: pytest.MonkeyPatch, rounds: int) -> None:
    monkeypatch.setattr(comparing, "MIN_ROUNDS", rounds)
    monkeypatch.setattr(comparing, "MAX_ROUNDS", rounds)


@pytest.fixture
def two_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    bound(monkeypatch, 2)


@pytest.fixture
def one_round(monkeypatch: pytest.MonkeyPatch) -> None:
    bound(monkeypatch, 1)


def subject(name: str, digit: str = "5") -> Subject:
    entry = FileEntry(sha256=digit * 64, bytes=2704)
    return Subject(name=name, model=Path("m.tflite"), entry=entry, inputs={}, artifact_digest=None, delegate="xnnpack")


def process(*blocks: int) -> RoundProcess:
    return RoundProcess(
        runtime=RECORDED.processes[0].runtime,
        load_ms=1.0,
        first_ms=1.0,
        rss_before_load_bytes=None,
        blocks_ns=blocks,
        num_runs=10 * len(blocks),
    )


def rounds(latencies: Sequence[Sequence[int]], states: Sequence[Sequence[MachineState]] = ((STATE, STATE),)) -> Rounds:
    """``latencies``: for each round the ns of each model."""
    return Rounds(
        machine=replace(RECORDED.machine, emulated=None),
        rounds=tuple(
            Round(
                round=number,
                cpus=(0,),
                order=tuple(range(len(row))),
                processes=tuple(process(value, value) for value in row),
                during=tuple(states[number % len(states)]),
            )
            for number, row in enumerate(latencies)
        ),
        before=STATE,
        after=STATE,
    )


def report(measured: Rounds, *names: str, margin: float = 0.01) -> ComparisonReport:
    subjects = [subject(name, digit) for name, digit in zip(names or ("old", "new"), "12345", strict=False)]
    asked = [Configuration(subject=item, delegate="xnnpack", num_threads=1) for item in subjects]
    return summarize_rounds(measured, asked, options=BenchOptions(), device="garage", margin=margin)


def test_a_real_comparison(model: Path, two_rounds: None, connection: Connection) -> None:
    seen: list[tuple[float, float]] = []
    found = compare(
        [model, model],
        connection,
        BenchOptions(warmup_runs=1, num_threads=(1, 2)),
        max_secs=1,
        on_progress=lambda done, total: seen.append((done, total)),
    )
    assert [item.name for item in found.models] == ["hello_world_int8 #1", "hello_world_int8 #2"]
    only = found.comparisons[0]
    assert (only.baseline, only.candidate, only.level) == ("hello_world_int8 #1", "hello_world_int8 #2", 0.5)
    assert found.rounds == len(seen) == found.options.processes == 2
    assert found.options.num_threads == (1,)
    assert found.options.num_runs >= 2
    assert all(0 < item.median_ms < 10 and len(item.rounds_ms) == 2 for item in found.models)
    assert [item.name for item in found.findings].count("same-file") == 1
    assert seen[-1][1] >= seen[-1][0] > 0


def run(*arguments: str | Path) -> int:
    return guarded(cli, ["compare", *map(str, arguments)])


def test_the_command_line(model: Path, one_round: None, root: Path, capsys: Captured) -> None:
    code = run(model, model, "--max-secs", "1", "--margin", "50%", "--warmup-runs", "1", "--json")
    facts = json.loads(capsys.readouterr().out)
    assert facts["schema_version"] == 1
    first = facts["comparisons"][0]
    assert set(first) >= {"baseline", "candidate", "verdict", "effect", "interval"}
    assert code == {"equal": 0, "inconclusive": 7}.get(first["verdict"], 0)
    assert ("error" in facts) == (code == 7)


def answered(monkeypatch: pytest.MonkeyPatch, found: ComparisonReport) -> None:
    monkeypatch.setattr(comparing, "compare", lambda *_arguments, **_settings: found)


def test_inconclusive_is_exit_code_7_and_says_what_is_missing(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    latencies = [(1000, 1000 + change) for change in (0, 30, -10, 60, 20, -40, 10, 50)]
    answered(monkeypatch, report(rounds(latencies)))
    assert run("a.tflite", "b.tflite") == 7
    said = capsys.readouterr()
    assert "new against old: inconclusive" in said.out
    assert "new against old is inconclusive: the change of its latency lies between" in said.err
    last = said.err.strip().splitlines()[-1]
    assert "more rounds would probably decide: use a larger --max-secs" in last
    assert run("a.tflite", "b.tflite", "--json") == 7
    facts = json.loads(capsys.readouterr().out)
    assert facts["comparisons"][0]["verdict"] == "inconclusive"
    assert facts["comparisons"][0]["needed_rounds"] > 0
    assert (facts["error"]["kind"], facts["error"]["exit_code"]) == ("InconclusiveError", 7)


def test_a_verdict_is_read_as_a_sentence(root: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    latencies = [(1000, 1030 + number, 1001, 900) for number in range(8)]
    answered(monkeypatch, report(rounds(latencies), "[old]", "slow", "same", "fast"))
    assert run("a", "b", "c", "d") == 0
    out = capsys.readouterr().out
    assert "slow is slower than [old] by 3.05 to 3.65 %." in out
    assert "same is as fast as [old], within the margin of 1 %." in out
    assert "fast is faster than [old] by 10.00 to 10.00 %." in out
    assert "baseline" in out
    assert "98.4 %" in out, "three intervals that hold together with 95 %"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a", "b", "--margin", "1"], "'1' has no unit. Write a share of the latency, such as 3%."),
        (["a", "b", "--margin", "1pt"], "no percentage points"),
        (["a", "b", "--margin", "0%"], "is not above 0%"),
        (["a", "b", "--margin", "90%"], "at most 50%"),
        (["a", "b", "--cpu-mask", "xyz"], "no hexadecimal CPU mask"),
        (["a", "b", "--max-secs", "0"], "1<=x<=3600"),
        ([], "Missing argument 'MODELS...'"),
        (["a"], "Give 2 to 16 models, the baseline first; here is 1."),
        (["a"] * 17, "Give 2 to 16 models, the baseline first; here are 17."),
    ],
)
def test_usage(root: Path, capsys: Captured, arguments: list[str], message: str) -> None:
    assert run(*arguments) == 2
    assert message in " ".join(capsys.readouterr().err.split())


def test_models_that_are_none(model: Path, tmp_path: Path, root: Path, capsys: Captured) -> None:
    assert run(model, tmp_path / "missing.tflite") == 1
    assert "cannot be read: No such file" in capsys.readouterr().err


def test_a_model_that_does_not_run_names_itself(
    model: Path, cases: Path, one_round: None, connection: Connection
) -> None:
    with pytest.raises(DeviceFaultError, match=r"Model 2: .* unresolved custom op"):
        compare([model, cases / "models" / "negative" / "model_invoking_error.tflite"], connection, max_secs=1)
    with pytest.raises(ModelError, match="17 models were given"):
        compare([model] * 17, connection)


def test_names_are_unique() -> None:
    assert [item.name for item in unique_names([subject("a"), subject("b"), subject("a")])] == ["a #1", "b", "a #3"]


def clocked(khz: int) -> MachineState:
    policy = Policy(name="p", cpus=(0,), governor="ondemand", khz=khz, min_khz=1, max_khz=9_000_000)
    return replace(STATE, cpu=0, policies=(policy,))


STEADY, MOVED = (clocked(1_000_000),) * 2, (clocked(1_000_000), clocked(1_500_000))


def test_rounds_whose_clock_moved_are_left_out() -> None:
    latencies = [(1000, 1000)] * 7 + [(1000, 2000)]
    found = report(rounds(latencies, [*[STEADY] * 7, MOVED]))
    assert (found.rounds, found.comparisons[0].verdict, found.valid) == (7, "equal", True)
    assert "1 of 8 rounds were left out" in {item.name: item.message for item in found.findings}["rounds-left-out"]


def test_a_clock_that_moves_all_the_time_is_invalid() -> None:
    found = report(rounds([(1000, 1000)] * 8, [STEADY, MOVED]))
    assert not found.valid
    with pytest.raises(MeasurementInvalidError, match="moved by more than 5 % within 4 of 8 rounds"):
        require_valid(found)


def test_clocks_of_different_cpus_may_differ() -> None:
    slow = (clocked(600_000),) * 2
    found = report(rounds([(1000, 1000)] * 8, [STEADY, slow]))
    assert found.valid
    assert [item.name for item in found.findings] == ["governor"]


def test_a_device_that_slept_is_invalid() -> None:
    later = replace(STATE, suspended_ns=STATE.suspended_ns + 2 * 10**9)
    found = report(rounds([(1000, 1000)] * 8, [(STATE, later)]))
    with pytest.raises(MeasurementInvalidError, match=r"suspended for 2\.000 s") as error:
        require_valid(found, details={"rounds": 8})
    assert error.value.details == {"rounds": 8}


def test_an_emulated_device_is_said_to_be_one() -> None:
    measured = rounds([(1000, 1000)] * 8)
    emulated = replace(measured, machine=replace(measured.machine, emulated="qemu-aarch64"))
    found = {item.name: item.message for item in report(emulated).findings}
    assert found["emulated"] == "The CPU is emulated: the verdict is about the emulator. (qemu-aarch64)"


def test_different_delegates_are_said() -> None:
    asked = [
        Configuration(subject=subject(name), delegate=delegate, num_threads=1)
        for name, delegate in (("a", "xnnpack"), ("b", "none"))
    ]
    measured = rounds([(1000, 1000)] * 8)
    found = summarize_rounds(measured, asked, options=BenchOptions(), device="garage", margin=0.01)
    assert "a: xnnpack, b: none" in {item.name: item.message for item in found.findings}["delegates-differ"]
    assert "same-file" not in {item.name for item in found.findings}


def lines() -> list[dict[str, Any]]:
    measured: dict[str, Any] = json.loads(msgspec.json.encode(rounds([(1000, 1000)] * 2)))
    return [
        {"event": "need", "files": []},
        {"event": "machine", **measured["machine"]},
        *({"event": "round", **item} for item in measured["rounds"]),
        {"event": "done", "before": measured["before"], "after": measured["after"]},
    ]


def collect(events: list[dict[str, Any]]) -> Rounds:
    return collect_rounds(events, device="garage", models=2, min_rounds=2)


def test_recorded_rounds() -> None:
    assert collect(lines()).rounds[1].processes[1].blocks_ns == (1000, 1000)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda events: events.pop(), "2 rounds of at least 2 and an end"),
        (lambda events: events.pop(2), "1 rounds of at least 2 and an end"),
        (lambda events: events.insert(1, {"event": "surprise"}), "a 'surprise' event"),
        (lambda events: events[2].update(round=7), "round 7 does not hold 2 models"),
        (lambda events: events[2].update(order=[0, 0]), "does not hold 2 models"),
        (lambda events: events[2]["processes"].pop(), "does not hold 2 models"),
        (lambda events: events[2]["processes"][0].update(blocks_ns=[5, 5, 5]), "as many turns each"),
        (lambda events: events[2]["processes"][0].update(blocks_ns=[0, 5]), "blocks_ns"),
        (lambda events: events[2]["processes"][0].update(blocks_ns=["x", 5]), "blocks_ns"),
        (lambda events: events[2].update(processes=1000 * events[2]["processes"]), "processes"),
        (lambda events: events.extend([{"event": "alive"}] * 100_001), "more than 100000 events"),
        (lambda events: events.extend([events[2]] * 1001), "or 1000 rounds"),
    ],
)
def test_what_a_device_may_say_instead(change: Any, message: str) -> None:
    events = lines()
    change(events)
    with pytest.raises(DeviceFaultError, match=message) as error:
        collect(events)
    assert error.value.hint


def test_recorded_runs_are_compared_carefully() -> None:
    def result(ms: float) -> Result:
        return bench_report(ms).results[0]

    slower = compare_runs(result(1.0), result(1.1), margin=0.03, names=("june", "july"))
    assert (slower.baseline, slower.candidate, slower.verdict) == ("june", "july", "slower")
    assert slower.effect == pytest.approx(0.1)
    assert slower.interval[0] < slower.effect < slower.interval[1]
    assert slower.level == pytest.approx(0.875)
    assert compare_runs(result(1.1), result(1.0), margin=0.03).verdict == "faster"
    assert compare_runs(result(1.0), result(1.0), margin=0.03).verdict == "equal"
    unsure = compare_runs(result(1.0), result(1.03), margin=0.03)
    assert (unsure.verdict, unsure.needed_rounds) == ("inconclusive", None)
    with pytest.raises(InconclusiveError) as error:
        require_decided([unsure, slower], margin=0.03)
    assert error.value.hint.startswith("How many more rounds would decide cannot be foretold")


def test_rounds_take_turns_on_groups_of_cpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _process: {0, 1, 2, 3})
    root = str(tmp_path)
    assert cpu_groups(None, 1, root) == [[0], [1], [2], [3]]
    assert cpu_groups(None, 2, root) == [[0, 1], [2, 3]]
    assert cpu_groups(None, 3, root) == [[0, 1, 2]]
    assert cpu_groups(None, 8, root) == [None]
    for cpu, capacity in enumerate(("446", "446", "1024", "1024")):
        folder = tmp_path / f"sys/devices/system/cpu/cpu{cpu}"
        folder.mkdir(parents=True)
        (folder / "cpu_capacity").write_text(capacity + "\n")
    assert cpu_groups(None, 1, root) == [[2], [3]], "big.LITTLE: the big ones"
    assert cpu_groups(None, 4, root) == [[0, 1, 2, 3]]
    assert cpu_groups([0, 1], 1, root) == [[0], [1]], "the user's choice is the user's"
    assert cpu_groups([0, 1], 4, root) == [[0, 1]]


def test_a_block_lasts_as_long_as_asked() -> None:
    found = run_block(lambda: time.sleep(0.001), 0.02, 1)
    assert 5 <= found["runs"] <= 20
    assert found["median_ns"] >= 1_000_000
    assert run_block(lambda: None, 0.0, 7)["runs"] == 7
    assert run_block(lambda: time.sleep(0.01), 0.0, 100, 0.015)["runs"] == 2, "slow models are not repeated for nothing"


def asked(model: Path, **changes: Any) -> dict[str, Any]:
    return {"model": str(model), "inputs": {}, "delegate": "xnnpack", "num_threads": 1, "cpus": None, **changes}


def test_a_child_answers_until_its_stdin_ends(model: Path) -> None:
    process = child.Child("compare-process", asked(model))
    try:
        assert process.hear()["event"] == "ready"
        for runs in (3, 5):
            block = process.ask({"secs": 0.0, "runs": runs, "most_secs": None})
            assert (block["event"], block["runs"]) == ("block", runs)
        process.begin()
        assert process.hear() == {"event": "done"}
    finally:
        process.kill()


def test_a_child_that_fails_or_dies_says_why(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    process = child.Child("compare-process", asked(model, cpus=[4000]))
    with pytest.raises(AgentError, match=r"cannot run on the CPUs \[4000\]"):
        process.hear()
    process.kill()
    script = tmp_path / "python"
    script.write_text("#!/bin/sh\nkill -9 $$\n")
    script.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(script))
    process = child.Child("compare-process", asked(model))
    with pytest.raises(AgentError, match="was killed by SIGKILL"):
        process.ask({"large": "x" * 100_000})
    process.kill()


def test_host_gone_ends_the_rounds_and_their_processes(model: Path, tmp_path: Path) -> None:
    data = model.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    configuration = {"model": digest, "inputs": {}, "delegate": "xnnpack", "num_threads": 1}
    request = {
        "root": str(tmp_path), "files": [{"sha256": digest, "bytes": len(data)}], "configurations": [configuration] * 2,
        "cpus": None, "governor": None, "cooldown": None, "warmup_runs": 1, "warmup_s": 0.0, "block_s": 60.0,
        "block_runs": 1, "block_most_s": 60.0, "round_s": 60.0, "min_passes": 2, "max_passes": 2, "min_rounds": 8,
        "max_rounds": 8, "max_secs": 60.0,
    }  # fmt: skip
    agent = subprocess.Popen(
        [sys.executable, "-B", "-m", "edgekit.agent", "compare"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": child.ROOT},
    )  # fmt: skip
    assert agent.stdin is not None
    assert agent.stdout is not None
    try:
        heard = []
        for said in (json.dumps(request).encode() + b"\n", data, b""):
            agent.stdin.write(said)
            agent.stdin.flush()
            heard.append(json.loads(agent.stdout.readline())["event"])
        assert heard == ["need", "machine", "started"]
        children: list[str] = []
        while len(children) < 2:
            time.sleep(0.02)
            children = Path(f"/proc/{agent.pid}/task/{agent.pid}/children").read_text().split()
        agent.stdin.close()
        assert agent.wait(10) == 143
        assert all(not Path(f"/proc/{number}").exists() for number in children)
    finally:
        agent.kill()
        agent.wait()
        agent.stdout.close()

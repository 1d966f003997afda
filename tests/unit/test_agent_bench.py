"""The agent as a process: its wire, its files by content, its children, and how it ends."""

import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit.agent import cache, child, events, measure
from edgekit.agent.events import AgentError

pytestmark = pytest.mark.unit

CRASHING_DELEGATE = """
#include <signal.h>
#include <stdlib.h>
void *tflite_plugin_create_delegate(char **k, char **v, size_t n, void (*report)(const char *)) {
  raise(SIGSEGV);
  return 0;
}
void tflite_plugin_destroy_delegate(void *delegate) {}
"""


@contextmanager
def agent(command: str) -> Iterator[subprocess.Popen[bytes]]:
    environment = {**os.environ, "PYTHONPATH": child.ROOT}
    process = subprocess.Popen(
        [sys.executable, "-B", "-m", "edgekit.agent", command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def tell(process: subprocess.Popen[bytes], data: bytes) -> None:
    assert process.stdin is not None
    process.stdin.write(data)
    process.stdin.flush()


def hear(process: subprocess.Popen[bytes]) -> dict[str, Any]:
    assert process.stdout is not None
    event: dict[str, Any] = json.loads(process.stdout.readline())
    return event


@pytest.fixture
def model(cases: Path) -> Path:
    return cases / "models" / "tflm" / "hello_world_int8.tflite"


LIBRARY = str(next(Path(np.__file__).parent.glob("_core/_multiarray_umath*.so")))
"""Of another kind than a delegate."""
MEASURE = {"num_runs": 20, "warmup_runs": 1, "min_secs": 0.0, "cpus": None}


def request(model: Path, root: Path, *delegates: str, **changes: Any) -> dict[str, Any]:
    data = model.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    return {
        "root": str(root),
        "files": [{"sha256": digest, "bytes": len(data)}],
        "configurations": [
            {"model": digest, "inputs": {}, "delegate": delegate, "num_threads": 1}
            for delegate in delegates or ("xnnpack",)
        ],
        "keep_going": False,
        "processes": 1,
        "governor": None,
        "cooldown": None,
        **MEASURE,
        **changes,
    }


def process_request(model: Path, **changes: Any) -> dict[str, Any]:
    """What ``bench-process`` takes."""
    return {"model": str(model), "inputs": {}, "delegate": "xnnpack", "num_threads": 1, **MEASURE, **changes}


def start_long_run(process: subprocess.Popen[bytes], model: Path, root: Path) -> None:
    tell(process, json.dumps(request(model, root, min_secs=60)).encode() + b"\n")
    assert hear(process)["event"] == "need"
    tell(process, model.read_bytes())
    assert hear(process)["event"] == "machine"
    assert hear(process)["event"] == "started"


def test_bench_says_everything(model: Path, tmp_path: Path) -> None:
    with agent("bench") as process:
        tell(process, json.dumps(request(model, tmp_path)).encode() + b"\n")
        assert hear(process)["files"] == [hashlib.sha256(model.read_bytes()).hexdigest()]
        tell(process, model.read_bytes())
        assert hear(process)["event"] == "machine"
        assert hear(process) == {"event": "started", "process": 0, "configuration": 0, "num_threads": 1}
        measured = hear(process)
        assert len(measured["samples_ns"]) == 20
        assert len(measured["warmup_ns"]) == 1
        assert measured["peak_rss_bytes"] > measured["rss_before_load_bytes"] > 0
        assert hear(process)["event"] == "done"
        assert process.wait(5) == 0
    with agent("bench") as process:
        tell(process, json.dumps(request(model, tmp_path)).encode() + b"\n")
        assert hear(process) == {"event": "need", "files": []}


def run_bench(asked: dict[str, Any], model: Path) -> list[dict[str, Any]]:
    """Every event of a run to its end."""
    with agent("bench") as process:
        tell(process, json.dumps(asked).encode() + b"\n")
        heard = [hear(process)]
        tell(process, model.read_bytes())
        while heard[-1]["event"] not in {"done", "error"}:
            heard.append(hear(process))
    return heard


def test_a_configuration_that_fails_is_left_out_where_the_others_go_on(model: Path, tmp_path: Path) -> None:
    heard = run_bench(request(model, tmp_path, "/no/such.so", "none", processes=2, keep_going=True), model)
    failed = [event for event in heard if event["event"] == "failed"]
    assert [(event["configuration"], "/no/such.so" in event["message"]) for event in failed] == [(0, True)]
    measured = [event for event in heard if event["event"] == "process"]
    assert [(event["process"], event["configuration"]) for event in measured] == [(0, 1), (1, 1)]


def test_a_configuration_that_fails_ends_the_run_otherwise(model: Path, tmp_path: Path) -> None:
    last = run_bench(request(model, tmp_path, "none", "/no/such.so"), model)[-1]
    assert (last["event"], "/no/such.so" in last["message"]) == ("error", True)


def test_host_gone_ends_the_run(model: Path, tmp_path: Path) -> None:
    with agent("bench") as process:
        start_long_run(process, model, tmp_path)
        assert process.stdin is not None
        process.stdin.close()
        begin = time.monotonic()
        assert process.wait(10) == 143
        assert time.monotonic() - begin < 5
        assert process.stdout is not None
        assert process.stdout.read() == b""
        process.stdin = None


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGTERM, 143), (signal.SIGHUP, 143), (signal.SIGKILL, -signal.SIGKILL)]
)
def test_a_signal_ends_the_run_and_its_child(model: Path, tmp_path: Path, number: signal.Signals, status: int) -> None:
    with agent("bench") as process:
        start_long_run(process, model, tmp_path)
        children: list[str] = []
        while not any(b"bench-process" in Path(f"/proc/{child}/cmdline").read_bytes() for child in children):
            time.sleep(0.05)
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        time.sleep(0.3)  # until it measures
        process.send_signal(number)
        assert process.wait(10) == status
        assert _ended(children)


def _ended(processes: list[str]) -> bool:
    """Within two seconds; one that nobody has waited for yet is a zombie."""
    for _ in range(40):
        states = [Path(f"/proc/{number}/stat") for number in processes]
        if all(not path.exists() or path.read_text().rpartition(")")[2].split()[0] == "Z" for path in states):
            return True
        time.sleep(0.05)
    return False


def test_prints_of_a_runtime_do_not_reach_the_host() -> None:
    code = (
        "import os, sys\nfrom edgekit.agent.events import emitter, take_stdout\n"
        "emit = emitter(take_stdout())\nprint('noise')\nos.write(1, b'more')\nemit('done', answer=1)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, env={"PYTHONPATH": child.ROOT})
    assert json.loads(done.stdout) == {"event": "done", "answer": 1}
    assert done.stderr in {b"noise\nmore", b"morenoise\n"}


@pytest.mark.parametrize("line", [b"", b"{}", b"nonsense\n", b"[1]\n", b"\xff\n", b"[" * 100_000 + b"\n"])
def test_request_that_is_none(line: bytes) -> None:
    with pytest.raises(AgentError, match="request is not one line of JSON"):
        events.read_request(io.BytesIO(line))


def test_defect_of_a_command_is_an_error_event() -> None:
    with agent("bench") as process:
        tell(process, b"{}\n")
        answer = hear(process)
    assert (answer["event"], answer["kind"]) == ("error", "device")
    assert "failed in 'bench': KeyError" in answer["message"]
    assert "Traceback" in answer["details"]["traceback"]


def test_unknown_command_is_refused() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "edgekit.agent", "format"], capture_output=True, check=False, cwd=child.ROOT
    )
    assert done.returncode == 2
    assert b"usage: agent (" in done.stderr


def test_crash_in_a_delegate_names_the_signal(model: Path, tmp_path: Path) -> None:
    compiler = shutil.which("gcc")
    if compiler is None:
        pytest.skip("no gcc to make a delegate that crashes")
    (tmp_path / "crash.c").write_text(CRASHING_DELEGATE)
    library = tmp_path / "libcrash.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, tmp_path / "crash.c"], check=True)
    options = process_request(model, delegate=str(library))
    with pytest.raises(AgentError, match=r"\(bench-process\) was killed by SIGSEGV") as error:
        child.run_child("bench-process", options)
    assert "try xnnpack or none" in error.value.hint


def test_a_library_that_is_no_delegate_is_refused(model: Path, tmp_path: Path) -> None:
    last = run_bench(request(model, tmp_path, LIBRARY), model)[-1]
    assert (last["event"], last["kind"]) == ("error", "device")
    assert last["message"].startswith(f"The delegate cannot be used: {LIBRARY} is no TFLite external delegate")
    assert last["hint"].startswith("Name the delegate's own library")


def test_killed_child_is_perhaps_out_of_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "python"
    script.write_text("#!/bin/sh\nkill -9 $$\n")
    script.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(script))
    with pytest.raises(AgentError, match="was killed by SIGKILL") as error:
        child.run_child("bench-process", {"large": "x" * 100_000})
    assert "ran out of memory" in error.value.hint


def test_child_passes_on_why_it_failed(model: Path, tmp_path: Path) -> None:
    options = process_request(model, cpus=[4000])
    with pytest.raises(AgentError, match=r"cannot run on the CPUs \[4000\]") as error:
        child.run_child("bench-process", options)
    assert "give a --cpu-mask of these" in error.value.hint


def test_samples_last_long_enough_and_are_looked_at_between() -> None:
    looks: list[float] = []
    samples = measure.take_samples(lambda: time.sleep(0.001), 5, 0.06, lambda: looks.append(time.monotonic()), 0.02)
    assert sum(samples) > 0.03 * 1e9
    assert len(looks) >= 2
    assert min(samples) >= 1_000_000
    assert len(measure.take_samples(lambda: None, 7, 0.0)) == 7


def test_samples_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "MAX_SAMPLES", 100)
    assert len(measure.take_samples(lambda: None, 1, 60.0)) == 100


def fetch(root: Path, contents: list[bytes], sent: bytes) -> tuple[dict[str, str], list[dict[str, Any]]]:
    """Paths and what was said; ``sent`` comes from a file, whose end is the end of the host."""
    said: list[dict[str, Any]] = []
    stdin = root.with_suffix(".stdin")
    stdin.write_bytes(sent)
    files = [{"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)} for data in contents]
    with stdin.open("rb") as stream:
        paths = cache.fetch(str(root), files, stream, lambda event, **fields: said.append({event: fields}))
    return paths, said


def test_files_are_fetched_once_and_again_when_damaged(tmp_path: Path) -> None:
    paths, said = fetch(tmp_path, [b"one", b"two"], b"onetwo")
    assert [Path(path).read_bytes() for path in paths.values()] == [b"one", b"two"]
    _, said = fetch(tmp_path, [b"one", b"two"], b"")
    assert said == [{"need": {"files": []}}]
    damaged = next(iter(paths))
    Path(paths[damaged]).write_bytes(b"0ne")
    _, said = fetch(tmp_path, [b"one", b"two"], b"one")
    assert said == [{"need": {"files": [damaged]}}]


def test_other_bytes_are_an_integrity_error(tmp_path: Path) -> None:
    with pytest.raises(AgentError, match="received other bytes than were sent") as error:
        fetch(tmp_path, [b"one"], b"eno")
    assert error.value.kind == "integrity"
    assert list((tmp_path / "cache").iterdir()) == []


def test_lost_host_leaves_nothing_half_written(tmp_path: Path) -> None:
    with pytest.raises(BrokenPipeError):
        fetch(tmp_path, [b"one"], b"on")
    assert list((tmp_path / "cache").iterdir()) == []


def test_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "SPARE_BYTES", 1 << 60)
    with pytest.raises(AgentError, match="cannot be written on the device: No space left on device for 3 bytes"):
        fetch(tmp_path, [b"one"], b"one")


def test_root_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "root").write_text("")
    with pytest.raises(AgentError, match="Not a directory") as error:
        fetch(tmp_path / "root", [b"one"], b"one")
    assert "choose another `root`" in error.value.hint


@pytest.mark.parametrize("digest", ["../../etc/passwd", "", "A" * 64, "a" * 63])
def test_names_never_leave_the_cache(tmp_path: Path, digest: str) -> None:
    with pytest.raises(AgentError, match="no sha256"):
        cache.fetch(str(tmp_path), [{"sha256": digest, "bytes": 1}], io.BytesIO(b"x"), lambda *_a, **_k: None)


def test_least_recently_used_files_go_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "MAX_FILES", 2)
    for age, data in enumerate([b"newest", b"newer", b"older", b"oldest"]):
        paths, _ = fetch(tmp_path, [data], data)
        for path in paths.values():
            os.utime(path, (1e9 - age, 1e9 - age))
    part = tmp_path / "cache" / "left.part"
    part.write_bytes(b"")
    os.utime(part, (1e9, 1e9))
    fetch(tmp_path, [b"current"], b"current")
    left = {path.read_bytes() for path in (tmp_path / "cache").iterdir()}
    assert left == {b"current", b"newest", b"newer"}

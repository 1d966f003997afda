"""What the build benchmark measures with: the clock of a process tree, its memory, ratios of pairs."""

import os
import sys
import time
from pathlib import Path

import pytest

from benchmarks.build_speed import Runs, Source, rows
from benchmarks.process_tree import CommandFailedError, Life, Timed, read_lives, run_sampled, run_timed, working

pytestmark = pytest.mark.unit

PARENT = Life(start=0.0, end=10.0, imports=((0.0, 1.0), (3.5, 5.0)))
CHILD = Life(start=2.0, end=6.0, imports=((2.0, 4.0),))


def test_the_youngest_process_decides_what_is_importing() -> None:
    assert working([], 0, 10) == 10
    assert working([PARENT], 0, 10) == pytest.approx(7.5)
    # 0..1 and the child's 2..4; the parent's 4..5 is under the child's work, which everyone waits for.
    assert working([PARENT, CHILD], 0, 10) == pytest.approx(7)


def test_imports_of_a_parent_and_its_child_are_told_from_work(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text("import time; time.sleep(0.4)\n")
    (tmp_path / "child.py").write_text("import slow, time, os; time.sleep(0.2); os._exit(0)\n")
    script = "import slow, subprocess, sys; subprocess.run([sys.executable, 'child.py'], check=True)"
    (tmp_path / "parent.py").write_text(script)
    timed = run_timed([sys.executable, "parent.py"], tmp_path)
    assert timed.wall_s - timed.work_s >= 0.79, "two imports of 0.4 s"
    assert timed.work_s >= 0.2


def test_a_killed_process_lived_until_its_last_line(tmp_path: Path) -> None:
    (tmp_path / "1.txt").write_text("1 import 1.0 2.0\n1 import 3.0 4.0\n")
    (tmp_path / "2.txt").write_text("")
    assert read_lives(tmp_path, 9.0) == [Life(start=1.0, end=4.0, imports=((1.0, 2.0), (3.0, 4.0)))]


def test_peak_counts_the_child_and_not_shared_pages_twice(tmp_path: Path) -> None:
    """A parent with 64 MiB and a forked child, which shares them and makes 64 of its own."""
    fork = "import os, time; a = bytearray(os.urandom(1)) * 2**26; p = os.fork()\n"
    fork += "b = bytearray(b'x') * 2**26 if p == 0 else None; time.sleep(0.5); p and os.waitpid(p, 0)"
    peak = run_sampled([sys.executable, "-c", fork], tmp_path)
    assert 128 * 2**20 <= peak <= 170 * 2**20


def test_a_command_that_fails_is_an_error_with_what_it_said(tmp_path: Path) -> None:
    with pytest.raises(CommandFailedError, match=r"status 3\nno such luck"):
        run_timed([sys.executable, "-c", "import sys; print('no such luck'); sys.exit(3)"], tmp_path)


def test_an_interpreter_that_may_not_write_bytecode_may_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    run_timed([sys.executable, "-c", "import sys; sys.exit(sys.dont_write_bytecode)"], tmp_path)
    assert os.environ["PYTHONDONTWRITEBYTECODE"] == "1"


def test_each_limit_of_a_model_is_a_row() -> None:
    fast, slow = (Timed(wall_s=seconds, work_s=seconds) for seconds in (1.0, 2.0))
    edgekit = Runs(timed=(fast, fast, slow), peak_bytes=100, file_bytes=1)
    peer = Runs(timed=(slow, slow, slow), peak_bytes=99, file_bytes=1)
    wall, work, memory = rows("m .keras", Source(path=Path("m.keras"), wall_ratio=0.7), edgekit, peer)
    assert (wall.ok, work.ok, memory.ok) == (True, False, False)
    assert wall.measured == "0.50 (75 %: 0.50 to 1.00), 1.00 s against 2.00 s"
    assert work.to_reach == "<= 0.35"
    tflite = Source(path=Path("m.tflite"), wall_ratio=0.25, work_ratio=None, memory_ratio=1 / 3)
    assert [row.to_reach for row in rows("m .tflite", tflite, edgekit, peer)] == ["<= 0.25", "<= 0.33"]


def test_the_clock_of_the_processes_is_the_benchmark_s(tmp_path: Path) -> None:
    before = time.monotonic()
    timed = run_timed([sys.executable, "-c", "pass"], tmp_path)
    assert 0 < timed.work_s <= timed.wall_s <= time.monotonic() - before

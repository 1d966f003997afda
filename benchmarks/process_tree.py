"""Wall time, time without imports, and peak memory of a command with all its descendants."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

IMPORT_CLOCK = Path(__file__).parent / "import_clock"
SAMPLE_EVERY_S = 0.02


class CommandFailedError(Exception):
    """What the command was, how it ended, and the end of what it said."""


@dataclass(frozen=True, kw_only=True)
class Timed:
    """One run, seconds."""

    wall_s: float
    """Process start to exit."""
    work_s: float
    """Wall without the time that the tree was importing: see ``working``."""


@dataclass(frozen=True, kw_only=True)
class Life:
    """One Python process of a tree on the common clock, seconds."""

    start: float
    end: float
    imports: tuple[tuple[float, float], ...]


def run_timed(command: Sequence[str | Path], cwd: Path) -> Timed:
    """Run to the end; raises CommandFailedError. Not sampled: reading a process's memory maps stops it for a while."""
    with tempfile.TemporaryDirectory() as clocks:
        path = os.pathsep.join(filter(None, (str(IMPORT_CLOCK), os.environ.get("PYTHONPATH"))))
        begin = time.monotonic()
        with _running(command, cwd, {"PYTHONPATH": path, "IMPORT_CLOCK": clocks}) as process:
            process.wait()
            end = time.monotonic()
        lives = read_lives(Path(clocks), end)
    return Timed(wall_s=end - begin, work_s=working(lives, begin, end))


def run_sampled(command: Sequence[str | Path], cwd: Path) -> int:
    """Run to the end; the largest sum of PSS over the tree, in bytes, sampled every 20 ms.

    PSS counts a page shared by n processes as 1/n in each: the sum over a tree is the memory it really takes, where a
    sum of RSS would count the libraries of a parent and its child twice. Another process on the machine that uses
    the same libraries takes its share too, so nothing else should run. Raises CommandFailedError.
    """
    peak = 0
    with _running(command, cwd, {}) as process:
        while process.poll() is None:
            peak = max(peak, sum(_pss_bytes(pid) for pid in _tree(process.pid)))
            time.sleep(SAMPLE_EVERY_S)
    if not peak:
        raise CommandFailedError(f"{' '.join(map(str, command))}: its memory could not be read in /proc")
    return peak


@contextmanager
def _running(command: Sequence[str | Path], cwd: Path, more: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """The command, started, with .pyc files as on a user's machine; raises CommandFailedError at the end."""
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2", **more}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    with tempfile.TemporaryFile() as said:
        with subprocess.Popen(command, cwd=cwd, env=environment, stdout=said, stderr=said) as process:
            yield process
        if process.returncode != 0:
            said.seek(0)
            tail = said.read()[-2000:].decode(errors="replace")
            raise CommandFailedError(f"{' '.join(map(str, command))}: status {process.returncode}\n{tail}")


def working(lives: Sequence[Life], begin: float, end: float) -> float:
    """Seconds between ``begin`` and ``end`` in which the tree was not importing.

    At each moment the youngest living process decides, because the others wait for it: what a parent imports while
    its child converts is not taken off, and what the child imports while the parent waits is.
    """
    edges = sorted(
        {begin, end}
        | {edge for life in lives for edge in (life.start, life.end)}
        | {edge for life in lives for pair in life.imports for edge in pair}
    )
    importing = 0.0
    for left, right in pairwise(edges):
        middle = (left + right) / 2
        alive = [life for life in lives if life.start <= middle <= life.end]
        youngest = max(alive, key=lambda life: life.start, default=None)
        if youngest and any(start <= middle <= stop for start, stop in youngest.imports):
            importing += right - left
    return end - begin - importing


def read_lives(folder: Path, end: float) -> list[Life]:
    """What ``import_clock`` wrote; a process that was killed lived until its last line."""
    lives = []
    for file in folder.iterdir():
        lines = [line.split() for line in file.read_text(encoding="ascii").splitlines()]
        imports = tuple((float(start), float(stop)) for _, kind, start, stop in lines if kind == "import")
        whole = [(float(start), float(stop)) for _, kind, start, stop in lines if kind == "life"]
        if whole or imports:
            lives.append(Life(start=(whole or imports)[0][0], end=min((whole or imports)[-1][1], end), imports=imports))
    return lives


def _tree(root: int) -> set[int]:
    """``root`` and its descendants."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            # PID (NAME) STATE PARENT ...; the name may hold anything, a parenthesis too.
            parents[int(stat.parent.name)] = int(stat.read_bytes().rpartition(b")")[2].split()[1])
        except OSError:  # ended meanwhile
            continue
    tree, size = {root}, 0
    while len(tree) > size:
        size = len(tree)
        tree |= {pid for pid, parent in parents.items() if parent in tree}
    return tree


def _pss_bytes(pid: int) -> int:
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
    except OSError:  # ended meanwhile
        return 0
    found = re.search(r"^Pss:\s+(\d+) kB", rollup, re.MULTILINE)
    return int(found.group(1)) * 1024 if found else 0

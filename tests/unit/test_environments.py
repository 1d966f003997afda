"""Environments of tools: made once, by one process, whole or not at all."""

import fcntl
import json
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from edgekit_converters import environments
from edgekit_converters.environments import TOOLS, Tool, inspect_environment, prepare, root
from edgekit_converters.errors import SourceError
from edgekit_converters.interpreters import Maker, find_maker, version_of

pytestmark = pytest.mark.unit

Steps = list[tuple[str, int | None, int | None]]


class Said:
    """A progress that remembers."""

    def __init__(self) -> None:
        self.steps: Steps = []

    def __call__(self, step: str, done: int | None = None, total: int | None = None) -> None:
        self.steps.append((step, done, total))


MAKER = """#!/bin/sh
# A venv whose pip behaves as the environment variable says and whose tool answers --version.
mkdir -p "$1/bin"
cat > "$1/bin/python" <<'EOF'
#!/bin/sh
case "$*" in
  *pip*)
    [ -n "$PIP_TARGET$PYTHONPATH" ] && { echo "misplaced"; exit 9; }
    case "$FAKE_PIP" in
      fail) echo "Collecting one==1"; echo "ERROR: No matching distribution found for one==1"; exit 1;;
      slow) echo "Collecting one==1"; sleep 30;;
      *) echo "Collecting one==1"; echo "Collecting two==2"; echo "Installing collected packages: one, two";;
    esac;;
  *--version) [ "$FAKE_TOOL" = broken ] && { echo "ImportError: libGL.so.1: cannot open shared object file"; exit 1; };;
esac
exit 0
EOF
chmod +x "$1/bin/python"
"""


@pytest.fixture
def tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tool:
    """A tool of two packages whose environments a shell script makes."""
    monkeypatch.setenv("EDGEKIT_ENV_DIR", str(tmp_path / "envs"))
    requirements = tmp_path / "one.txt"
    requirements.write_text("# why\none==1\ntwo==2\n")
    maker = tmp_path / "maker"
    maker.write_text(MAKER)
    maker.chmod(0o755)
    monkeypatch.setattr(environments, "find_maker", lambda *_: Maker(version=(3, 12), command=(str(maker),)))
    return replace(TOOLS["onnx"], package="one", requirements=requirements)


def nothing_left(folder: Path) -> bool:
    return not folder.exists() or {path.suffix for path in folder.iterdir()} <= {".lock"}


def test_made_once_then_found(tool: Tool) -> None:
    said = Said()
    assert inspect_environment(tool).state == "missing"
    made = prepare(tool, said)
    assert (made.state, made.python) == ("ready", "3.12")
    assert said.steps == [
        ("making an environment for one with Python 3.12", None, None),
        ("installing one 1: one", 1, 2),
        ("installing one 1: two", 2, 2),
        ("installing one 1: unpacking", 2, 2),
    ]
    assert json.loads((made.folder / "ready.json").read_text()) == {"python": "3.12", "one": "1", "two": "2"}
    again = Said()
    assert prepare(tool, again) == made
    assert again.steps == []


def test_other_pins_are_another_environment(tool: Tool) -> None:
    before = inspect_environment(tool).folder
    tool.requirements.write_text("# another comment\none==1\ntwo==2\n")
    assert inspect_environment(tool).folder == before
    tool.requirements.write_text("one==1\ntwo==3\n")
    assert inspect_environment(tool).folder != before


def test_a_failing_pip_is_an_error_with_its_last_lines(tool: Tool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_PIP", "fail")
    with pytest.raises(SourceError, match="No matching distribution found for one==1") as caught:
        prepare(tool, Said())
    assert "could not be made: python ended with exit status 1" in caught.value.message
    assert "edgekit doctor --install onnx" in caught.value.hint
    assert nothing_left(root())
    monkeypatch.delenv("FAKE_PIP")
    assert prepare(tool, Said()).state == "ready"


def test_a_tool_that_does_not_start_here_is_not_ready(tool: Tool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_TOOL", "broken")
    with pytest.raises(SourceError, match=r"libGL\.so\.1"):
        prepare(tool, Said())
    assert nothing_left(root())


def test_ctrl_c_leaves_nothing(tool: Tool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_PIP", "slow")

    def interrupt(step: str, done: int | None = None, total: int | None = None) -> None:
        if "installing" in step:
            raise KeyboardInterrupt

    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        prepare(tool, interrupt)
    assert time.monotonic() - started < 10
    assert nothing_left(root())


def test_half_made_by_a_process_that_was_killed_is_made_again(tool: Tool) -> None:
    folder = inspect_environment(tool).folder
    (folder / "lib").mkdir(parents=True)
    (folder / "lib" / "leftover").touch()
    assert inspect_environment(tool).state == "half-made"
    assert prepare(tool, Said()).state == "ready"
    assert not (folder / "lib").exists()


def test_broken_when_its_python_is_gone_or_its_marker_damaged(tool: Tool) -> None:
    made = prepare(tool, Said())
    made.executable.unlink()
    assert inspect_environment(tool).state == "broken"
    assert prepare(tool, Said()).state == "ready"
    (made.folder / "ready.json").write_text("{")
    assert inspect_environment(tool).state == "broken"
    assert prepare(tool, Said()).state == "ready"


def test_a_second_process_waits_and_makes_nothing(tool: Tool) -> None:
    made = prepare(tool, Said())
    marker = made.folder / "ready.json"
    content = marker.read_bytes()
    marker.unlink()
    said = Said()
    with made.folder.with_name(f"{made.folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        waiting = threading.Thread(target=prepare, args=(tool, said))
        waiting.start()
        while not said.steps:
            time.sleep(0.01)
        marker.write_bytes(content)
    waiting.join(timeout=10)
    assert [step for step, _, _ in said.steps] == ["waiting for another process that installs one"]


def test_a_folder_that_cannot_be_written(tool: Tool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("EDGEKIT_ENV_DIR", str(tmp_path / "file" / "envs"))
    with pytest.raises(SourceError, match="Not a directory") as caught:
        prepare(tool, Said())
    assert "EDGEKIT_ENV_DIR" in caught.value.hint


def test_settings_that_would_misplace_packages_do_not_reach_pip(tool: Tool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_TARGET", "/elsewhere")
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    assert prepare(tool, Said()).state == "ready"


def test_where_environments_are_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("EDGEKIT_ENV_DIR", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert root() == tmp_path / "edgekit" / "envs"
    monkeypatch.setenv("EDGEKIT_ENV_DIR", "~/envs")
    assert root() == Path.home() / "envs"


def test_every_requirement_of_a_shipped_tool_is_pinned() -> None:
    for tool in TOOLS.values():
        lines = [line for line in tool.requirements.read_text().splitlines() if line and not line.startswith("#")]
        assert all("==" in line for line in lines)
        assert tool.pins()[tool.package] == tool.version


def fake_python(path: Path, answer: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{answer}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without any other Python; its PATH is the folder given."""
    monkeypatch.setattr(sys, "executable", "")
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "pyenv"))
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


WANTED = ((3, 12), (3, 13))


def test_no_python_says_how_to_get_one(bare: Path) -> None:
    fake_python(bare / "python3.12", "echo 'pyenv: python3.12: command not found' >&2; exit 127")
    with pytest.raises(SourceError, match=r"It needs Python 3\.12 or 3\.13, and none was found") as caught:
        find_maker(WANTED, "It")
    for way in ("uv", "pyenv install 3.12", "python3.12"):
        assert way in caught.value.hint


def test_found_on_path_in_pyenv_and_by_uv(bare: Path, tmp_path: Path) -> None:
    by_uv = fake_python(tmp_path / "uv-python", "echo 3 12")
    uv = fake_python(bare / "uv", f'[ "$4" = 3.12 ] && echo {by_uv}')
    assert find_maker(WANTED, "").command[0] == str(by_uv)
    pyenv = fake_python(tmp_path / "pyenv/versions/3.13.0/bin/python", "echo 3 13")
    assert find_maker(WANTED, "") == Maker(version=(3, 13), command=(str(pyenv), "-m", "venv"))
    on_path = fake_python(bare / "python3.13", "echo 3 13")
    assert find_maker(WANTED, "").command[0] == str(on_path)
    for python in (by_uv, pyenv, on_path):
        python.unlink()
    assert find_maker(WANTED, "").command == (str(uv), "venv", "--quiet", "--seed", "--python", "3.12")


@pytest.mark.parametrize("answer", ["exit 1", "echo nonsense", "echo 3", ""])
def test_an_interpreter_that_does_not_answer_is_none(tmp_path: Path, answer: str) -> None:
    assert version_of(fake_python(tmp_path / "python", answer)) is None
    assert version_of(tmp_path / "absent") is None


def test_this_python_is_found_by_running_it() -> None:
    assert version_of(Path(sys.executable)) == sys.version_info[:2]

"""install.sh as update clients call it: a POSIX shell, a Python that it has to find, and sentences in a log."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from edgekit.agent.layout import find_damage
from tests.unit.releases import Shelf, active_version

pytestmark = pytest.mark.unit
SHELLS = [
    ["sh"],
    *(
        pytest.param(
            words, marks=[pytest.mark.slow, pytest.mark.skipif(shutil.which(words[0]) is None, reason="not installed")]
        )
        for words in (["dash"], ["bash", "--posix"], ["busybox", "ash"])
    ),
]


def install(
    release: Path, *arguments: str | Path, shell: Sequence[str] = ("sh",), folder: Path | None = None, **variables: str
) -> tuple[int, str]:
    """(exit status, what it said), with no more in the environment than an update client gives."""
    done = subprocess.run(
        [*shell, str(release / "install.sh"), *map(str, arguments)],
        env={"PATH": os.environ["PATH"], **variables},
        cwd=folder or "/",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout == "", "people read stderr; stdout is nobody's"
    return done.returncode, done.stderr


def fake_python(path: Path, body: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A PATH with the tools of a small device, and no Python."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("sh", "dirname", "sed", "head", "tail", "cat"):
        (folder / name).symlink_to(shutil.which(name) or name)
    return folder


@pytest.mark.parametrize("shell", SHELLS)
def test_it_installs_from_any_folder_with_any_posix_shell(shelf: Shelf, tmp_path: Path, shell: list[str]) -> None:
    tree = shelf.copy(shelf.release("1.0.0"), tmp_path / "a folder; with 'blanks' $HOME")
    root = tmp_path / "the root"
    status, said = install(tree, "--root", root, shell=shell, EDGEKIT_PYTHON=sys.executable)
    assert (status, active_version(root)) == (0, "1.0.0"), said
    assert "demo 1.0.0 is active" in said
    library = root / "lib" / "edgekit.pyz"
    assert library.read_bytes() == (tree / "agent" / "edgekit.pyz").read_bytes(), "for applications"
    assert find_damage(str(tree / "artifact"), (root / "models/demo/current").resolve().name) == []
    assert not list(tree.rglob("__pycache__"))


@pytest.mark.slow
def test_a_relative_root_and_path_are_those_of_the_working_directory(shelf: Shelf, tmp_path: Path) -> None:
    shelf.copy(shelf.release("1.0.0"), tmp_path / "tree")
    status, said = install(Path("tree"), "--root=here", folder=tmp_path, EDGEKIT_PYTHON=sys.executable)
    assert (status, active_version(tmp_path / "here")) == (0, "1.0.0"), said


@pytest.mark.parametrize("umask", [0o000, pytest.param(0o077, marks=pytest.mark.slow)])
def test_others_read_what_is_installed_and_do_not_write_it(shelf: Shelf, tmp_path: Path, umask: int) -> None:
    """Whatever the update client's umask is."""
    command = ["sh", str(shelf.release("1.0.0") / "install.sh"), "--root", str(tmp_path / "root")]
    environment = {**os.environ, "EDGEKIT_PYTHON": sys.executable}
    subprocess.run(command, env=environment, umask=umask, check=True, capture_output=True)
    for path in (tmp_path / "root" / "models").rglob("*"):
        assert path.is_symlink() or path.stat().st_mode & 0o777 == (0o755 if path.is_dir() else 0o644), path


def test_nothing_of_the_working_directory_is_run(shelf: Shelf, tmp_path: Path) -> None:
    """Root in /tmp: what others left there under the name of a module is not imported, also not for the self-test."""
    here, ran = tmp_path / "here", tmp_path / "ran"
    for name in ("numpy.py", "json.py", "edgekit/__init__.py", "edgekit/agent/__main__.py"):
        path = here / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"open({str(ran)!r}, 'a').write({name!r})\n")
    root = tmp_path / "root"
    status, said = install(shelf.release("1.0.0"), "--root", root, folder=here, EDGEKIT_PYTHON=sys.executable)
    assert (status, active_version(root), ran.exists()) == (0, "1.0.0", False), said


@pytest.mark.slow
def test_the_runtime_of_the_root_is_taken_before_the_systems(shelf: Shelf, tmp_path: Path, bare: Path) -> None:
    root = tmp_path / "root"
    fake_python(bare / "python3", "echo 'no numpy' >&2; exit 1")
    fake_python(root / "runtime" / "current" / "bin" / "python", f'exec {sys.executable} "$@"')
    for given in (("--root", root), (f"--root={root}",)):
        assert install(shelf.release("1.0.0"), *given, PATH=str(bare))[0] == 0


@pytest.mark.slow
def test_a_runtime_that_is_broken_is_passed_over(shelf: Shelf, tmp_path: Path, bare: Path) -> None:
    root = tmp_path / "root"
    fake_python(root / "runtime" / "current" / "bin" / "python", "exit 1")
    fake_python(bare / "python3", f'exec {sys.executable} "$@"')
    assert install(shelf.release("1.0.0"), "--root", root, "--check", PATH=str(bare))[0] == 0


def test_without_any_python_it_says_why_not_and_how_to_get_one(shelf: Shelf, tmp_path: Path, bare: Path) -> None:
    root, tree = tmp_path / "root", shelf.release("1.0.0")
    fake_python(bare / "python3", "echo Traceback >&2; echo \"No module named 'numpy'\" >&2; exit 1")
    status, said = install(tree, "--root", root, PATH=str(bare))
    venv = root / "runtime" / "requirements"
    make = f"python3 -m venv '{venv}' && '{venv}/bin/pip' install -r '{tree}/requirements.txt'"
    assert (status, root.exists()) == (1, False)
    assert said.splitlines() == [
        "edgekit: FAILED (exit 1): no Python on this device has numpy and a TFLite runtime. Nothing was changed.",
        f"edgekit:   {root}/runtime/current/bin/python: is not there",
        "edgekit:   python3: No module named 'numpy'",
        "edgekit: next: install one where install.sh looks for it (or set EDGEKIT_PYTHON to a Python that has one):",
        f"edgekit:   {make} && ln -sfn requirements '{root}/runtime/current'",
    ]


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ('exec %s -S -E -s -c "import sys; sys.version_info = (3, 6, 9)\nexec(sys.argv[1])" "$3"', "Python 3.6; 3.7"),
        ('exec %s -I -S "$@"', "No module named 'numpy'"),
        ("kill -9 $$", "Killed"),
    ],
)
def test_the_python_that_was_named_is_the_only_one(shelf: Shelf, tmp_path: Path, body: str, why: str) -> None:
    python = fake_python(tmp_path / "my python", body.replace("%s", sys.executable))
    status, said = install(shelf.release("1.0.0"), "--root", tmp_path / "root", EDGEKIT_PYTHON=str(python))
    assert status == 1
    assert f"edgekit:   {python}: " in said
    assert why in said
    assert "python3:" not in said


@pytest.mark.slow
def test_what_the_agent_refuses_is_its_exit_status(shelf: Shelf, tmp_path: Path) -> None:
    release = shelf.release("1.0.0")
    assert install(release, "--check", "--target", "other", EDGEKIT_PYTHON=sys.executable)[0] == 8
    wrong = shelf.release("1.1.0", wrong_golden=True)
    assert install(wrong, "--root", tmp_path, "--check", EDGEKIT_PYTHON=sys.executable)[0] == 3
    status, said = install(release, "--bogus", EDGEKIT_PYTHON=sys.executable)
    assert status == 2
    assert "usage: install.sh " in said


@pytest.mark.slow
def test_a_log_that_is_full_decides_nothing(shelf: Shelf, tmp_path: Path) -> None:
    script = shelf.release("1.0.0") / "install.sh"
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            ["sh", str(script), "--root", str(tmp_path)],
            env={"PATH": os.environ["PATH"], "EDGEKIT_PYTHON": sys.executable},
            stderr=full,
            check=False,
        )
    assert (done.returncode, active_version(tmp_path)) == (0, "1.0.0")


@pytest.mark.slow
def test_a_damaged_tree_is_refused_even_when_it_cannot_be_read(shelf: Shelf, tmp_path: Path) -> None:
    tree = shelf.copy(shelf.release("1.0.0"), tmp_path / "tree")
    (tree / "release.json").unlink()
    status, said = install(tree, EDGEKIT_PYTHON=sys.executable)
    assert status == 8
    assert "release.json cannot be read" in said


@pytest.mark.slow
def test_a_killed_process_group_leaves_a_guardian_that_goes_back(shelf: Shelf, tmp_path: Path) -> None:
    """As a client that times out and kills what it started: nobody calls install.sh again, and the old version runs."""
    root, told = tmp_path / "root", tmp_path / "told"
    assert install(shelf.release("1.0.0"), "--root", root, EDGEKIT_PYTHON=sys.executable)[0] == 0
    tree = shelf.with_hooks("1.1.0", on_activate=f"echo $EDGEKIT_DIGEST >> {told}", health_check="sleep 30")
    command = ["sh", str(tree / "install.sh"), "--root", str(root)]
    with subprocess.Popen(
        command, env={**os.environ, "EDGEKIT_PYTHON": sys.executable}, stderr=subprocess.PIPE, start_new_session=True
    ) as process:
        assert process.stderr is not None
        assert any(b"running health_check" in line for line in process.stderr)
        assert active_version(root) == "1.1.0"
        os.killpg(process.pid, signal.SIGKILL)
    state = root / "models" / "demo" / "state.json"
    deadline = time.monotonic() + 10
    while json.loads(state.read_bytes())["pending"]:
        assert time.monotonic() < deadline, "nobody went back"
        time.sleep(0.02)
    assert active_version(root) == "1.0.0"
    assert json.loads(state.read_bytes())["floor"]["version"] == "1.0.0"
    assert len(told.read_text().split()) == 2

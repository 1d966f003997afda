"""A child that dies, hangs, runs out of memory or is interrupted: a clear error here, and nothing left behind."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from edgekit_converters.child import convert
from edgekit_converters.errors import ConversionError
from edgekit_converters.sources import open_source

pytestmark = pytest.mark.convert

NAME = b"edgekit_converters.worker"


def workers(parent: int | None = None) -> list[int]:
    """Process ids of conversion children (of ``parent``, or of this process)."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command, status = (folder / "cmdline").read_bytes(), (folder / "stat").read_text()
        except OSError:
            continue
        fields = status.rpartition(")")[2].split()
        if NAME in command and int(fields[1]) == (parent or os.getpid()) and fields[0] != "Z":
            found.append(int(folder.name))
    return found


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return folder


@pytest.fixture
def model(cases: Path) -> Path:
    return cases / "models/keras_h5/ic_resnet8.h5"


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (signal.SIGKILL, "was killed, most likely because the machine ran out of memory"),
        (signal.SIGSEGV, r"crashed \(segmentation fault\)"),
        (signal.SIGABRT, "aborted"),
    ],
)
def test_a_killed_child(temporary: Path, tmp_path: Path, model: Path, number: signal.Signals, message: str) -> None:
    def kill(_text: str) -> None:
        (worker,) = workers()
        os.kill(worker, number)

    with pytest.raises(ConversionError, match=message) as caught:
        convert(open_source(model), log_folder=tmp_path / "logs", on_event=kill)
    (log,) = (tmp_path / "logs").iterdir()
    assert str(log) in caught.value.hint
    assert workers() == []
    assert list(temporary.iterdir()) == []


def test_memory_limit(temporary: Path, tmp_path: Path, model: Path) -> None:
    with pytest.raises(ConversionError, match="ran out of the 100 MiB it was allowed"):
        convert(open_source(model), log_folder=tmp_path / "logs", max_memory_mib=100)
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize("raised", [KeyboardInterrupt, RuntimeError])
def test_an_interrupt_in_the_parent_ends_the_child(
    temporary: Path, tmp_path: Path, model: Path, raised: type[BaseException]
) -> None:
    def interrupt(_text: str) -> None:
        assert len(workers()) == 1
        raise raised

    with pytest.raises(raised):
        convert(open_source(model), log_folder=tmp_path / "logs", on_event=interrupt)
    assert workers() == []
    assert list(temporary.iterdir()) == []
    assert not (tmp_path / "logs").exists()


PARENT = """
import sys
from pathlib import Path
from edgekit_converters.child import convert
from edgekit_converters.sources import open_source
convert(open_source(sys.argv[1]), log_folder=Path(sys.argv[2]), on_event=lambda text: print(text, flush=True))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_the_child_dies_with_its_parent(temporary: Path, tmp_path: Path, model: Path, number: signal.Signals) -> None:
    command = [sys.executable, "-c", PARENT, str(model), str(tmp_path / "logs")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"loading the model\n"
        (worker,) = workers(parent.pid)
        parent.send_signal(number)
        parent.wait(timeout=10)
    deadline = time.monotonic() + 5
    while Path(f"/proc/{worker}").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    state = Path(f"/proc/{worker}/stat")
    assert not state.exists() or state.read_text().rpartition(")")[2].split()[0] == "Z"
    if number == signal.SIGINT:
        assert list(temporary.iterdir()) == []


@pytest.mark.slow
def test_a_module_of_the_users_does_not_shadow_the_framework(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "keras.py").write_text("raise SystemExit('shadowed')")
    (tmp_path / "tensorflow").mkdir()
    (tmp_path / "tensorflow" / "__init__.py").write_text("raise SystemExit('shadowed')")
    monkeypatch.chdir(tmp_path)
    assert convert(open_source(model), log_folder=tmp_path / "logs").inputs[0].name == "input_1"


def test_the_parent_stays_light() -> None:
    script = "import sys, edgekit_converters.child; print(*sys.modules)"
    loaded = set(
        subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    )
    assert not loaded & {"numpy", "tensorflow", "keras", "ai_edge_litert", "ai_edge_quantizer", "flatbuffers"}

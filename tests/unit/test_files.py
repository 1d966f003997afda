"""What appears whole or not at all, and what a killed process leaves."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from edgekit.files import scratch_beside

pytestmark = pytest.mark.unit
HOLDING = """\
import sys, time
from pathlib import Path
from edgekit.files import scratch_beside
with scratch_beside(Path(sys.argv[1])) as folder:
    (folder / "half").write_bytes(b"secret")
    print(folder, flush=True)
    time.sleep(60)
"""


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_scratch_folder_is_the_owners_and_goes_with_its_block(tmp_path: Path) -> None:
    with scratch_beside(tmp_path / "new" / "out") as folder:
        assert folder.parent == tmp_path / "new"
        assert folder.stat().st_mode & 0o777 == 0o700
        (folder / "file").write_bytes(b"x")
        (folder / "file").rename(tmp_path / "new" / "out")
    assert names(tmp_path / "new") == ["out"]


def test_what_was_renamed_into_place_stays(tmp_path: Path) -> None:
    with scratch_beside(tmp_path / "out") as folder:
        folder.rename(tmp_path / "out")
    assert names(tmp_path) == ["out"]


def test_what_a_killed_process_left_goes_and_what_a_living_one_holds_stays(tmp_path: Path) -> None:
    output = tmp_path / "out*"
    with subprocess.Popen([sys.executable, "-c", HOLDING, output], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        theirs = Path(process.stdout.readline().strip())
        with scratch_beside(output):
            assert (theirs / "half").exists()
        process.send_signal(signal.SIGKILL)
    assert (theirs / "half").exists()
    with scratch_beside(output) as ours:
        assert names(tmp_path) == [ours.name]
    assert names(tmp_path) == []


def test_other_names_and_links_are_not_touched(tmp_path: Path) -> None:
    for name in (".out.old", ".output.abc.part", "out.part"):
        (tmp_path / name).mkdir()
    (tmp_path / "kept").mkdir()
    (tmp_path / ".out.abc.part").symlink_to(tmp_path / "kept")
    (tmp_path / ".out.file.part").write_bytes(b"")
    before = names(tmp_path)
    with scratch_beside(tmp_path / "out"):
        pass
    assert names(tmp_path) == before

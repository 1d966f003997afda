"""The shell scripts that go to devices and users: POSIX, and nothing that shellcheck would mend."""

import shutil
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.unit
BUNDLE = Path(__file__).parents[2] / "edgekit/bundle"
SCRIPTS = sorted([*BUNDLE.rglob("*.sh"), *(BUNDLE / "deb/scripts").iterdir()])
SOURCED = "SC1091"
"""A file that is read on the device alone."""


def test_there_are_scripts() -> None:
    assert {"install.sh", "postinst", "edgekit-slot.sh", "hook.sh"} <= {path.name for path in SCRIPTS}


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed: apt install shellcheck")
def test_shellcheck_finds_nothing() -> None:
    command = ["shellcheck", "--shell=sh", f"--exclude={SOURCED}", *map(str, SCRIPTS)]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout


@pytest.mark.parametrize("shell", ["dash -n", "busybox ash -n"])
def test_the_shells_of_devices_can_read_them(shell: str) -> None:
    words = shell.split()
    if shutil.which(words[0]) is None:
        pytest.skip(f"{words[0]} is not installed")
    for path in SCRIPTS:
        subprocess.run([*words, str(path)], check=True)

"""The rules of the Ethos-U, held against Vela itself on single ops in many forms."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.convert, pytest.mark.slow]
ROOT = Path(__file__).parents[2]


def test_no_prediction_for_an_ethos_u_is_wrong() -> None:
    pytest.importorskip("ethosu.vela")
    command = [sys.executable, "-m", "benchmarks.vela_truth", "--count", "60", "--first", "60000"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "0 wrong predictions" in result.stdout
    assert result.stdout.count("on the NPU") == 3

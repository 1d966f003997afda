"""ssh against a real sshd: that it works, and what each fault says and how fast."""

import pytest

from edgekit.transport import connect
from tests.lab.tier1 import Sshd

pytestmark = pytest.mark.lab


def test_runs_a_command_with_its_arguments_quoted(sshd: Sshd) -> None:
    with connect(sshd.device()) as connection:
        done = connection.run(["printf", "%s|", "a b", "$HOME", "'", "é"], stdin=b"")
        assert (done.exit_code, done.stdout.decode()) == (0, "a b|$HOME|'|é|")
        assert connection.run(["sh", "-c", "cat; echo sad >&2; exit 3"], stdin=b"x" * 5_000_000).exit_code == 3

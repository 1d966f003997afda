"""The arm64 userland: the agent runs there."""

import pytest

from edgekit.transport import connect
from edgekit.transport.agent import call, prepare_agent, result
from tests.lab.arm64 import Arm64

pytestmark = pytest.mark.lab


def test_the_agent_runs_there_and_tells_what_it_sees(bare_arm64_device: Arm64) -> None:
    with connect(bare_arm64_device.device(root="~/bare")) as connection:
        agent = prepare_agent(connection)
        assert agent.root == "/home/pi/bare"
        info = result(call(agent, "info", {"root": agent.root}))
    assert info["architecture"] == "aarch64"
    assert info["python"].startswith("3.11")

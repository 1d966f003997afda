"""The arm64 userland: the agent runs there, and `device setup` gives it a runtime."""

import json

import pytest

from edgekit.cli import cli
from edgekit.cli.failures import guarded
from edgekit.errors import DeviceFaultError
from edgekit.provision import setup
from edgekit.transport import connect
from edgekit.transport.agent import call, prepare_agent, result
from tests.lab.arm64 import Arm64

pytestmark = pytest.mark.lab


def test_the_agent_runs_on_a_bare_device(bare_arm64_device: Arm64) -> None:
    with connect(bare_arm64_device.device(root="~/bare")) as connection:
        agent = prepare_agent(connection)
        assert (agent.root, agent.python) == ("/home/pi/bare", "python3")
        info = result(call(agent, "info", {"root": agent.root}))
    assert info["architecture"] == "aarch64"
    assert info["python"].startswith("3.11")
    assert info["runtime"] is None


def test_setup_installs_a_runtime_that_imports_and_changes_nothing_the_second_time(arm64_device: Arm64) -> None:
    with connect(arm64_device.device()) as connection:
        agent = prepare_agent(connection)
        assert agent.python == "/home/pi/.edgekit/runtime/current/bin/python"
        info = result(call(agent, "info", {"root": agent.root}))
        assert info["runtime"]["name"] == "ai-edge-litert"
        again = setup(connection)
    assert not again.changed
    assert (again.name, again.version) == (info["runtime"]["name"], info["runtime"]["version"])


def test_the_command_says_what_is_there(arm64_device: Arm64, capsys: pytest.CaptureFixture[str]) -> None:
    assert guarded(cli, ["device", "setup", "arm64", "--json"]) == 0
    runtime = json.loads(capsys.readouterr().out)["runtime"]
    assert (runtime["name"], runtime["changed"]) == ("ai-edge-litert", False)


def test_setup_says_when_there_is_no_space(arm64_device: Arm64) -> None:
    with connect(arm64_device.device(root="/dev/shm/edgekit", user="root")) as connection:
        connection.run(["mount", "-o", "remount,size=8m", "/dev/shm"])
        with pytest.raises(DeviceFaultError, match=r"The runtime needs .* MB are free") as caught:
            setup(connection)
        assert "larger disk" in caught.value.hint
        assert b"no" in connection.run(["sh", "-c", "test -e /dev/shm/edgekit/runtime/current || echo no"]).stdout

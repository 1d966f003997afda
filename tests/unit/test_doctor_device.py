"""edgekit doctor --device: what a board has of what a deployment needs, each finding with its fix."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from edgekit.agent import doctor as agent
from edgekit.cli import cli
from edgekit.cli.failures import guarded
from edgekit.doctor import Check
from edgekit.doctor.device import asked, judge_facts
from edgekit.target import load_target

pytestmark = pytest.mark.unit

BOARD: dict[str, Any] = {
    "python": "3.11.2",
    "python_executable": "/usr/bin/python3",
    "board": "Raspberry Pi 4 Model B Rev 1.4",
    "cpu": "Cortex-A72",
    "architecture": "aarch64",
    "bits": 64,
    "libc": "glibc 2.36",
    "cores": 4,
    "memory_bytes": 3_500_000_000,
    "runtimes": [{"name": "ai-edge-litert", "version": "2.3.0", "error": None}],
    "numpy": "2.4.6",
    "gauges": [],
    "blocked": [],
    "temperatures_c": {"cpu-thermal": 48.3},
    "user": "pi",
    "groups": ["pi", "video"],
    "root": {"path": "/home/pi/.edgekit", "writable": True, "executable": True},
    "disk": {"free_bytes": 8_000_000_000, "total_bytes": 32_000_000_000},
    "governor": None,
    "libraries": {},
    "nodes": {},
}


def checks(target: str | None = None, delegate: str | None = None, **changes: Any) -> dict[str, Check]:
    profile = load_target(target) if target else None
    found = judge_facts({**BOARD, **changes}, profile, where="garage", delegate=delegate)
    assert all(check.where == "garage" for check in found)
    assert all((check.fix is None) == (check.state == "ok") for check in found), "every finding has its fix"
    return {check.name: check for check in found}


def test_a_board_in_order_has_nothing_broken() -> None:
    found = checks()
    assert {check.state for check in found.values()} == {"ok", "missing"}
    assert [name for name, check in found.items() if check.state == "missing"] == ["power"]
    assert found["temperature"].found == "cpu-thermal 48 C"


@pytest.mark.parametrize(
    ("changes", "name", "said", "fix"),
    [
        ({"runtimes": []}, "TFLite runtime", "not found", "edgekit device setup garage"),
        (
            {
                "runtimes": [
                    {"name": "tflite-runtime", "version": "2.14.0", "error": "importing it was ended by signal 4"}
                ]
            },
            "tflite-runtime",
            "2.14.0: importing it was ended by signal 4",
            "edgekit device setup garage",
        ),
        ({"numpy": None}, "numpy", "not found", "edgekit device setup garage"),
        (
            {"root": {"path": "/mnt/card", "writable": True, "executable": False}},
            "edgekit's folder",
            "/mnt/card: mounted noexec for pi",
            "Set `root` in the device's table",
        ),
        (
            {"root": {"path": "/opt", "writable": False, "executable": True}},
            "edgekit's folder",
            "/opt: not writable for pi",
            "Set `root` in the device's table",
        ),
    ],
)
def test_what_stops_a_deployment_is_broken(changes: dict[str, Any], name: str, said: str, fix: str) -> None:
    check = checks(**changes)[name]
    assert (check.state, check.found) == ("broken", said)
    assert check.fix is not None
    assert fix in check.fix


def test_what_is_only_inconvenient_is_missing() -> None:
    note = {"name": "rapl-blocked", "message": "only root may read it.", "fix": "chmod it."}
    found = checks(
        blocked=[note], governor=False, libc=None, disk={"free_bytes": 5e6, "total_bytes": 8e9}, temperatures_c={}
    )
    for name in ("rapl-blocked", "CPU governor", "C library", "disk", "temperature"):
        assert found[name].state == "missing", name
    assert found["CPU governor"].fix == "Log in as root for it, or set it there before; pi may not."


def test_a_delegate_library_is_found_missing_or_for_another_machine() -> None:
    library = "libedgetpu.so.1"
    right = {"path": "/usr/lib/libedgetpu.so.1", "real_path": "/usr/lib/libedgetpu.so.1.0"}
    right |= {"machine": "aarch64", "package": "16.0tf2.17.1-1"}
    assert asked(load_target("coral-dev-board"), None)["libraries"] == [library]
    assert asked(load_target("coral-dev-board"), "/opt/own.so")["libraries"] == ["/opt/own.so"]
    absent = checks("coral-dev-board", libraries={library: None})[library]
    assert absent.state == "broken"
    assert "Install the vendor's library" in (absent.fix or "")
    assert checks("coral-dev-board", libraries={library: right})[library].state == "ok"
    other = checks("coral-dev-board", libraries={library: {**right, "machine": "x86_64"}})[library]
    assert other.state == "broken"
    assert "is for x86_64; the device is aarch64" in other.found
    text = checks("coral-dev-board", libraries={library: {**right, "machine": None}})[library]
    assert "is no ELF file" in text.found


def test_a_profile_that_lies_and_a_pair_that_crashes_are_named() -> None:
    assert checks("rpi4")["rpi4"].found == "the device confirms it"
    lies = checks("rpi4", memory_bytes=500_000_000, cores=2)
    assert lies["profile-ram-mib"].state == "broken"
    assert "the device reports 477 MiB" in lies["profile-ram-mib"].found
    assert "profile-cores" in lies
    library = {"path": "/usr/lib/libedgetpu.so.1", "real_path": "/usr/lib/libedgetpu.so.1.0", "machine": "aarch64"}
    crashes = checks(
        "coral-dev-board", libraries={"libedgetpu.so.1": {**library, "package": "16.0"}}, cpu="Cortex-A53"
    )["edgetpu-built-for-2.5"]
    assert "ai-edge-litert 2.3.0" in crashes.found
    assert "Pairs that work" in (crashes.fix or "")


def test_a_device_node_that_may_not_be_opened_names_the_group() -> None:
    from msgspec.structs import replace

    target = load_target("coral-dev-board")
    accelerator = replace(target.accelerators[0], device_nodes=("/dev/apex_0", "/dev/apex_1"))
    target = replace(target, accelerators=(accelerator, *target.accelerators[1:]))

    def node(nodes: dict[str, Any]) -> Check:
        found = judge_facts({**BOARD, "nodes": nodes}, target, where="garage")
        return next(check for check in found if check.name == accelerator.name)

    assert asked(target, None)["nodes"] == ["/dev/apex_0", "/dev/apex_1"]
    assert node({"/dev/apex_0": {"group": "apex", "usable": True}}).state == "ok"
    assert node({"/dev/apex_0": None}).found == "none of /dev/apex_0, /dev/apex_1"
    locked = node({"/dev/apex_1": {"group": "apex", "usable": False}})
    assert locked.fix == "sudo usermod -aG apex pi, then log in again."


def test_the_agent_looks_without_changing_anything(tmp_path: Path) -> None:
    facts = agent.examine(str(tmp_path / "not" / "yet"), ["libc.so.6", "libnowhere.so.9"], ["/dev/null", "/dev/none"])
    json.dumps(facts)
    assert facts["libraries"]["libnowhere.so.9"] is None
    libc = facts["libraries"]["libc.so.6"]
    assert libc is None or libc["machine"] == facts["architecture"]  # musl has no libc.so.6
    assert facts["nodes"]["/dev/null"]["usable"] is True
    assert facts["nodes"]["/dev/none"] is None
    assert facts["runtimes"][0]["error"] is None
    assert facts["root"] == {"path": str(tmp_path / "not" / "yet"), "writable": True, "executable": True}
    assert list(tmp_path.iterdir()) == []


def test_a_library_is_found_as_the_loader_finds_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "libmine.so").write_bytes(b"no library")
    monkeypatch.setenv("LD_LIBRARY_PATH", f"/nowhere{os.pathsep}{tmp_path}")
    found = agent.find_library("libmine.so")
    assert found == {
        "path": str(tmp_path / "libmine.so"),
        "real_path": str(tmp_path / "libmine.so"),
        "machine": None,
        "package": None,
    }
    assert agent.find_library(str(tmp_path / "other.so")) is None


def test_doctor_of_this_machine_as_a_device(capsys: pytest.CaptureFixture[str]) -> None:
    code = guarded(cli, ["doctor", "--device", "local", "--json"])
    document = json.loads(capsys.readouterr().out)
    assert code == 0
    assert {check["where"] for check in document["checks"]} == {"here", "local"}
    assert any(check["group"] == "runtime" and check["where"] == "local" for check in document["checks"])

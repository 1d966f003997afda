"""Whatever ends a deployment, and whenever: the old version stays, nothing half-active, the next attempt works."""

import errno
import json
import os
import random
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from edgekit.artifact import MODEL, Artifact
from edgekit.deploy import deploy, rollback
from edgekit.errors import DeviceFaultError, IntegrityError, SelfTestError, TransportError
from edgekit.project import Deploy
from edgekit.transport import Connection, connect
from edgekit.transport.agent import RemoteAgent, call, prepare_agent, result
from tests.artifacts import make_artifact

pytestmark = pytest.mark.unit
KILLS = 15


def active(root: Path) -> str | None:
    link = root / "models" / "demo" / "current"
    return link.resolve().name if link.is_symlink() else None


def pending(root: Path) -> Any:
    return json.loads((root / "models" / "demo" / "state.json").read_bytes())["pending"]


def request(agent: RemoteAgent, artifact: Artifact, **hooks: Any) -> dict[str, Any]:
    return {
        "root": agent.root,
        "name": "demo",
        "digest": artifact.digest,
        "files": {path: msgspec.to_builtins(entry) for path, entry in artifact.files.items()},
        "delegate": "xnnpack",
        "hooks": hooks,
        "keep_versions": 3,
        "dry_run": False,
    }


class ByHand:
    """The agent's deploy with a host that the test plays."""

    def __init__(self, agent: RemoteAgent, artifact: Artifact, **hooks: Any) -> None:
        self.artifact = artifact
        self.process = subprocess.Popen(
            [agent.python, "-B", agent.path, "deploy"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
        )
        self.send(json.dumps(request(agent, artifact, **hooks)).encode() + b"\n")

    def send(self, data: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(data)

    def hear(self, event: str) -> dict[str, Any]:
        """The next event of this name; those before it are dropped."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            found: dict[str, Any] = json.loads(line)
            if found["event"] == event:
                return found
        pytest.fail(f"the agent ended before {event}")

    def hear_need(self) -> bytes:
        """What the agent asked for, as the bytes to send."""
        by_sha = {entry.sha256: self.artifact.path / path for path, entry in self.artifact.files.items()}
        needed = self.hear("need")["files"]
        return b"".join(by_sha[item["sha256"]].read_bytes()[item["offset"] :] for item in needed)

    def hang_up(self) -> int:
        """Close stdin; the exit status."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        status = self.process.wait(timeout=15)
        self.process.stdout.close()
        return status

    def kill(self) -> None:
        self.process.kill()
        self.hang_up()


def wait_until(condition: Callable[[], bool], *, timeout_s: float = 10.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


def test_a_cut_upload_goes_on_where_it_stopped(root: Path, connection: Connection, versions: list[Artifact]) -> None:
    deploy(versions[0], connection)
    attempt = ByHand(prepare_agent(connection), versions[1])
    data = attempt.hear_need()
    attempt.send(data[:-100])
    assert attempt.hang_up() == 143
    assert active(root) == versions[0].digest
    assert [path.name for path in (root / "models" / "demo" / "versions").iterdir()] == [versions[0].digest]
    done = deploy(versions[1], connection)
    assert done.active
    assert done.bytes_sent == 100


def test_a_partial_file_with_wrong_bytes_is_found_out_and_thrown_away(
    root: Path, connection: Connection, versions: list[Artifact]
) -> None:
    stage = root / "staging" / "demo" / versions[0].digest
    stage.mkdir(parents=True)
    (stage / versions[0].files[MODEL].sha256).write_bytes(b"not the model's beginning")
    with pytest.raises(IntegrityError, match="received other bytes than were sent"):
        deploy(versions[0], connection)
    assert not stage.exists()
    assert deploy(versions[0], connection).active


def test_what_other_attempts_left_behind_is_removed(
    root: Path, connection: Connection, versions: list[Artifact]
) -> None:
    attempt = ByHand(prepare_agent(connection), versions[0])
    attempt.send(attempt.hear_need()[:500])
    attempt.hang_up()
    assert (root / "staging" / "demo" / versions[0].digest).is_dir()
    deploy(versions[1], connection)
    assert list((root / "staging" / "demo").iterdir()) == []


@pytest.mark.parametrize("phase", ["need", "self-test", "switched", "health"])
@pytest.mark.parametrize("end", ["hang up", "SIGTERM", "SIGKILL"])
@pytest.mark.slow
def test_whatever_ends_it_the_old_version_is_active(
    tmp_path: Path, root: Path, connection: Connection, versions: list[Artifact], phase: str, end: str
) -> None:
    told = tmp_path / "told"
    deploy(versions[0], connection)
    attempt = ByHand(
        prepare_agent(connection),
        versions[1],
        on_activate=f"echo $EDGEKIT_DIGEST >> {told}; sleep 0.5",
        health_check="sleep 30",
        health_timeout_s=30,
    )
    data = attempt.hear_need()
    attempt.send(data if phase != "need" else data[:1000])
    if phase != "need":
        attempt.hear("self-test" if phase == "self-test" else "switched")
    if phase == "health":
        while attempt.hear("hook")["name"] != "health_check":
            pass
    began = time.monotonic()
    if end == "hang up":
        assert attempt.hang_up() == 143
    else:
        attempt.process.send_signal(signal.Signals[end])
        assert attempt.process.wait(timeout=15) == (143 if end == "SIGTERM" else -9)
        attempt.hang_up()
    assert time.monotonic() - began < 15
    # a guardian that outlived its agent holds the lock until it is done
    wait_until(lambda: active(root) == versions[0].digest and pending(root) is None)
    if phase in {"switched", "health"}:
        assert told.read_text().split()[-1] == versions[0].digest, "the application is told of the way back"
    assert deploy(versions[1], connection).active


@pytest.mark.slow
def test_sigkill_at_any_moment_leaves_a_whole_version_and_a_retry_works(
    root: Path, connection: Connection, versions: list[Artifact]
) -> None:
    chance = random.Random(7)
    agent = prepare_agent(connection)
    digests = {artifact.digest for artifact in versions}
    deploy(versions[0], connection)
    began = time.monotonic()
    deploy(versions[1], connection)
    usual = time.monotonic() - began
    for number in range(KILLS):
        before, wanted = active(root), versions[number % 2]
        attempt = ByHand(agent, wanted)
        threading.Timer(chance.uniform(0, usual * 1.1), attempt.process.kill).start()
        try:
            attempt.send(attempt.hear_need())
            finished = any(json.loads(line)["event"] == "done" for line in attempt.process.stdout or ())
        except (OSError, pytest.fail.Exception):
            finished = False
        attempt.hang_up()
        wait_until(lambda: pending(root) is None)
        assert active(root) in ({wanted.digest} if finished else {before, wanted.digest})
        status = result(call(agent, "status", {"root": agent.root}))["models"][0]
        assert status["active"] in digests
        assert status["damaged"] == []
    assert deploy(versions[0], connection).active
    assert deploy(versions[1], connection).active
    assert rollback(connection, name="demo").digest == versions[0].digest


def test_when_the_guardian_dies_too_the_next_command_goes_back_first(
    tmp_path: Path, root: Path, connection: Connection, versions: list[Artifact]
) -> None:
    deploy(versions[0], connection)
    deploy(versions[1], connection)
    state = root / "models" / "demo" / "state.json"
    document = json.loads(state.read_bytes())
    told = tmp_path / "told"
    document["history"].pop()
    document["pending"] = {
        "digest": versions[1].digest,
        "previous": versions[0].digest,
        "on_activate": f"echo $EDGEKIT_DIGEST >> {told}",
    }
    state.write_text(json.dumps(document))
    agent = prepare_agent(connection)
    assert result(call(agent, "status", {"root": agent.root}))["models"][0]["unconfirmed"]
    done = deploy(versions[1], connection)
    assert done.previous == versions[0].digest
    assert [finding.name for finding in done.findings] == ["other-target", "unconfirmed-switch"]
    assert told.read_text().split() == [versions[0].digest]


def test_ctrl_c_on_the_host_goes_back(
    tmp_path: Path, root: Path, connection: Connection, versions: list[Artifact]
) -> None:
    deploy(versions[0], connection)
    settings = Deploy(on_activate=f"touch {tmp_path}/switched", health_check="sleep 60", health_timeout_s=60)

    def interrupt() -> None:
        wait_until((tmp_path / "switched").exists)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        deploy(versions[1], connection, settings=settings)
    assert time.monotonic() - began < 15
    wait_until(lambda: pending(root) is None)
    assert active(root) == versions[0].digest


@pytest.mark.slow
def test_a_second_deployment_waits_and_then_says_who_holds_the_lock(
    root: Path, connection: Connection, versions: list[Artifact], monkeypatch: pytest.MonkeyPatch
) -> None:
    deploy(versions[0], connection)
    first = ByHand(prepare_agent(connection), versions[1], health_check="sleep 60", health_timeout_s=60)
    first.send(first.hear_need())
    first.hear("switched")
    with pytest.raises(DeviceFaultError, match=rf"Another deployment of demo .* \(pid {first.process.pid}, since 20"):
        deploy(versions[0], connection)
    first.hang_up()
    assert active(root) == versions[0].digest


@pytest.mark.slow
def test_a_host_that_falls_silent_is_given_up(root: Path, connection: Connection, versions: list[Artifact]) -> None:
    attempt = ByHand(prepare_agent(connection), versions[0])
    attempt.send(attempt.hear_need()[:1000])
    said = attempt.hear("error")
    assert said["message"] == "The host sent nothing for 15 s in the middle of a file."
    attempt.hang_up()
    assert deploy(versions[0], connection).bytes_sent < sum(entry.bytes for entry in versions[0].files.values())


def test_a_lost_agent_is_a_transport_error(root: Path, connection: Connection, versions: list[Artifact]) -> None:
    settings = Deploy(on_activate='[ -z "$EDGEKIT_DIGEST" ] || kill -9 $PPID; sleep 1')
    with pytest.raises(TransportError, match="deploy ended without a result"):
        deploy(versions[0], connection, settings=settings)
    wait_until(lambda: pending(root) is None)
    assert active(root) is None


def small_files(size: int) -> Callable[[], None]:
    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    return limit


def test_a_disk_error_in_the_middle_of_a_file_leaves_nothing(
    root: Path, connection: Connection, versions: list[Artifact]
) -> None:
    agent = prepare_agent(connection)
    line = json.dumps(request(agent, versions[0])).encode() + b"\n"
    payload = b"".join(
        (versions[0].path / path).read_bytes()
        for _, path in sorted((entry.sha256, path) for path, entry in versions[0].files.items())
    )
    done = subprocess.run(
        [agent.python, "-B", agent.path, "deploy"],
        input=line + payload,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        preexec_fn=small_files(1024),
        check=False,
    )
    last = json.loads(done.stdout.splitlines()[-1])
    assert last["event"] == "error"
    assert os.strerror(errno.EFBIG) in last["message"]
    assert list((root / "staging" / "demo").iterdir()) == []
    assert list((root / "models" / "demo").glob("versions/*")) == []


def test_a_device_without_a_runtime_says_how_to_install_one(
    tmp_path: Path, root: Path, connection: Connection, versions: list[Artifact]
) -> None:
    bare = Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info.minor}"
    table = msgspec.structs.replace(connection.device.table, python=str(bare))
    device = msgspec.structs.replace(connection.device, table=table)
    probe = subprocess.run([bare, "-c", "import ai_edge_litert"], capture_output=True, check=False)
    if probe.returncode == 0:
        pytest.skip("the base interpreter has a TFLite runtime")
    with connect(device) as opened, pytest.raises(DeviceFaultError, match="has no TFLite runtime") as caught:
        deploy(versions[0], opened)
    assert "edgekit device setup" in caught.value.hint
    assert active(root) is None


DELEGATE = """
#include <stdlib.h>
void* tflite_plugin_create_delegate(char** k, char** v, size_t n, void (*e)(const char*)) { abort(); }
void tflite_plugin_destroy_delegate(void* d) {}
"""


def test_a_delegate_that_crashes_is_a_failed_self_test_that_names_the_signal(
    tmp_path: Path, root: Path, connection: Connection, versions: list[Artifact]
) -> None:
    source, library = tmp_path / "delegate.c", tmp_path / "libcrash.so"
    source.write_text(DELEGATE)
    try:
        subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no C compiler")
    deploy(versions[0], connection)
    crashing = make_artifact(tmp_path / "crash", versions[0].model.read_bytes(), delegate=str(library))
    with pytest.raises(SelfTestError, match=r"crashed on delegate .*libcrash.so.* killed by SIGABRT") as caught:
        deploy(crashing, connection)
    assert caught.value.exit_code == 3
    assert active(root) == versions[0].digest


def test_an_agent_that_asks_for_something_else_gets_nothing(versions: list[Artifact]) -> None:
    from edgekit.deploy import _Upload

    upload = _Upload(versions[0], lambda _sent, _total: None)
    chunks: Iterable[bytes] = upload.answer({"event": "need", "files": [{"sha256": "f" * 64, "offset": 0}]})
    with pytest.raises(DeviceFaultError, match="asks for ffffffffffff"):
        list(chunks)

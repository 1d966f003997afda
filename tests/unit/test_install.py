"""install.sh's agent: what it accepts, what it refuses, what is active afterwards, and what its log says."""

import errno
import fcntl
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from edgekit.agent import install, staging, state, store
from edgekit.agent.layout import Place
from edgekit.deploy import deploy, rollback
from edgekit.transport import Connection
from edgekit.transport.agent import call, prepare_agent, result
from tests.bundles import tiny_artifact
from tests.unit.releases import Board, Shelf

pytestmark = pytest.mark.unit


def test_a_release_becomes_active_and_its_version_the_floor(shelf: Shelf, board: Board) -> None:
    status, said = board.install(shelf.release("1.0.0"))
    assert status == 0
    assert board.active() == board.floor == "1.0.0"
    lines = said.splitlines()
    assert all(line.startswith("edgekit: ") for line in lines)
    assert lines[0] == f"edgekit: demo 1.0.0 for rpi4, in {board.root}"
    assert "active: none; floor: none" in said
    assert lines[-1].startswith("edgekit: demo 1.0.0 is active (4 golden vectors on xnnpack, ai-edge-litert ")
    assert board.state["history"][-1]["release"]["version"] == "1.0.0"
    assert not list((board.root / "staging").glob("*/*"))


def test_a_higher_version_follows_and_a_lower_one_is_refused(shelf: Shelf, board: Board) -> None:
    for version in ("1.9.0-rc.1", "1.9.0", "1.10.0"):
        assert board.install(shelf.release(version))[0] == 0
        assert board.active() == board.floor == version
    status, said = board.install(shelf.release("1.9.0"))
    assert status == 8
    assert board.active() == board.floor == "1.10.0"
    cause, step = said.splitlines()[-2:]
    why = "1.10.0 was active here, and a lower version is not installed over it."
    assert cause == f"edgekit: FAILED (exit 8): demo 1.9.0 is refused: {why}"
    assert step == "edgekit: next: Install a release from 1.10.0 on. --allow-downgrade lowers the floor knowingly."


@pytest.mark.slow
def test_a_downgrade_that_is_wanted_lowers_the_floor_and_says_so(shelf: Shelf, board: Board) -> None:
    board.install(shelf.release("1.10.0"))
    status, said = board.install(shelf.release("1.9.0"), "--allow-downgrade")
    assert status == 0
    assert "--allow-downgrade: the floor goes from 1.10.0 down to 1.9.0" in said
    assert board.active() == board.floor == "1.9.0"


def test_the_same_release_again_is_active_already(shelf: Shelf, board: Board) -> None:
    board.install(shelf.release("1.0.0"))
    before = board.state
    status, said = board.install(shelf.release("1.0.0"))
    assert status == 0
    assert "demo 1.0.0 is active already" in said
    assert "switched" not in said
    assert board.state == before


@pytest.mark.slow
def test_a_version_names_one_release(shelf: Shelf, board: Board) -> None:
    board.install(shelf.release("1.0.0"))
    status, said = board.install(shelf.release("1.0.0", note="+other"))
    assert status == 8
    assert "another release with the version 1.0.0 was active here" in said
    assert "give the new one a higher version" in said


@pytest.mark.slow
def test_an_edgekit_of_another_version_around_the_same_model_is_a_release_without_a_switch(
    shelf: Shelf, board: Board, tmp_path: Path
) -> None:
    board.install(shelf.release("1.0.0"))
    tree = shelf.copy(shelf.release("1.0.0"), tmp_path / "tree")
    text = (tree / "release.json").read_text().replace('"version": "1.0.0"', '"version": "1.0.1"')
    (tree / "release.json").write_text(text)
    status, said = board.install(tree)
    assert (status, board.floor) == (0, "1.0.1")
    assert "demo 1.0.1 is active already" in said
    assert [item["release"]["version"] for item in board.state["history"]] == ["1.0.1"]


@pytest.mark.slow
def test_other_hooks_around_the_same_model_prove_themselves(shelf: Shelf, board: Board, tmp_path: Path) -> None:
    log = tmp_path / "log"
    first = shelf.with_hooks("1.0.0", on_activate=f"echo old >> {log}")

    def with_other_hooks(version: str, **hooks: Any) -> Path:
        tree = shelf.copy(first, tmp_path / version)
        release = json.loads((tree / "release.json").read_bytes())
        release["version"] = version
        release["installation"].update(hooks)
        (tree / "release.json").write_text(json.dumps(release))
        return tree

    board.install(first)
    before = board.state
    ill = with_other_hooks("1.1.0", on_activate=f"echo ill >> {log}", health_check="exit 4", health_timeout_s=0.1)
    status, said = board.install(ill)
    assert (status, board.state) == (3, before)
    assert "health_check (exit 4) ended with status 4" in said
    status, said = board.install(with_other_hooks("1.2.0", on_activate=f"echo new >> {log}"))
    assert (status, board.floor) == (0, "1.2.0")
    assert log.read_text().split() == ["old", "ill", "ill", "new"], "it hears of the way back, too"


def test_golden_vectors_that_are_not_reproduced_leave_the_old_version_and_the_old_floor(
    shelf: Shelf, board: Board
) -> None:
    board.install(shelf.release("1.0.0"))
    status, said = board.install(shelf.release("1.1.0", wrong_golden=True))
    assert status == 3
    assert "FAILED (exit 3): The device computes something else than the machine that built the artifact" in said
    assert board.active() == board.floor == "1.0.0"
    assert board.install(shelf.release("1.1.0"))[0] == 0, "another release: this one was never confirmed"


def test_an_application_that_is_not_healthy_gets_its_old_version_back(
    shelf: Shelf, board: Board, tmp_path: Path
) -> None:
    board.install(shelf.release("1.0.0"))
    told = tmp_path / "told"
    hooks = {"on_activate": f"basename $EDGEKIT_DIGEST >> {told}", "health_check": "echo dark; false"}
    status, said = board.install(shelf.with_hooks("1.1.0", **hooks, health_timeout_s=0.3))
    assert status == 3
    assert "health_check (echo dark; false) ended with status 1 within 0.3 s. It said: dark Version" in said
    assert board.active() == board.floor == "1.0.0"
    assert board.state["pending"] is None
    assert len(told.read_text().split()) == 2, "told of the new version, and of the way back"


@pytest.mark.slow
def test_a_switch_that_was_never_confirmed_is_undone_first(shelf: Shelf, board: Board) -> None:
    board.install(shelf.release("1.0.0"))
    board.install(shelf.release("1.1.0"))
    place = Place(root=str(board.root), name="demo")
    now = state.read_state(place)
    newest, before = now.history[-1], now.history[-2]
    # as the power cut leaves it in the health check of 1.1.0
    crashed = now._replace(
        history=now.history[:-1], floor=before.release, pending=state.Pending(newest.digest, before.digest, None)
    )
    state.write_state(place, crashed)
    status, said = board.install(shelf.release("1.1.0"))
    assert status == 0
    assert f"an earlier switch to {newest.digest[:12]} was never confirmed, and was undone first" in said
    assert board.active() == board.floor == "1.1.0"


@pytest.mark.parametrize(
    ("own", "status"), [pytest.param("rpi4", 0, marks=pytest.mark.slow), ("board:rev2", 0), ("rpi5", 8)]
)
@pytest.mark.parametrize("by_file", [True, False])
def test_a_release_is_for_its_target_and_hardware(
    shelf: Shelf, board: Board, own: str, status: int, by_file: bool
) -> None:
    release = shelf.release("1.0.0", hardware=("board:rev1", "board:rev2"))
    arguments = () if by_file else ("--target", own)
    if by_file:
        board.root.mkdir()
        (board.root / "target").write_text(own + "\n")
    found, said = board.install(release, "--check", *arguments)
    assert found == status
    if status:
        assert "demo 1.0.0 is for board:rev1, board:rev2, rpi4; this device is 'rpi5'." in said
    assert "neither --target" not in said


@pytest.mark.slow
def test_a_device_that_does_not_say_what_it_is_is_told_so(shelf: Shelf, board: Board) -> None:
    assert "neither --target nor ROOT/target says what this device is" in board.install(shelf.release("1.0.0"))[1]


def test_check_and_self_test_write_nothing_and_confirm_writes_the_floor_alone(shelf: Shelf, board: Board) -> None:
    status, said = board.install(shelf.release("1.1.0"), "--check")
    assert (status, board.root.exists()) == (0, False)
    assert "demo 1.1.0 works here (4 golden vectors on xnnpack" in said
    status, said = board.install(shelf.release("1.1.0"), "--confirm")
    assert (status, board.floor, board.active()) == (0, "1.1.0", None)
    assert said.splitlines()[-1] == (
        "edgekit: demo 1.1.0 is confirmed; the floor is 1.1.0: nothing below it is installed from now on."
    )
    assert board.install(shelf.release("1.0.0"), "--check")[0] == 8, "below the floor"
    assert board.install(shelf.release("1.0.0"), "--self-test")[0] == 0, "the slot that was fallen back to"
    status, said = board.install(shelf.release("1.0.0"), "--confirm")
    assert (status, board.floor) == (0, "1.1.0"), "it leaves the floor"
    assert board.install(shelf.release("1.2.0", wrong_golden=True), "--check")[0] == 3
    assert board.install(shelf.release("1.0.0"), "--confirm", "--allow-downgrade")[0] == 0
    assert board.floor == "1.0.0"


@pytest.mark.slow
def test_edgekit_deploy_and_rollback_work_with_releases(
    shelf: Shelf, board: Board, connection: Connection, tmp_path: Path
) -> None:
    def status() -> Any:
        agent = prepare_agent(connection)
        return result(call(agent, "status", {"root": agent.root}))["models"][0]

    board.install(shelf.release("1.0.0"))
    board.install(shelf.release("1.1.0"))
    assert (status()["release"], status()["floor"]) == ("1.1.0", "1.1.0")
    rollback(connection, name="demo")
    assert (status()["release"], status()["floor"], board.active()) == ("1.0.0", "1.1.0", "1.0.0")
    deploy(tiny_artifact(tmp_path / "mine", tools={"edgekit": "by hand"}), connection)
    assert (status()["release"], status()["floor"], board.active()) == (None, "1.1.0", "by hand")
    assert board.install(shelf.release("1.0.0"))[0] == 8
    assert board.install(shelf.release("1.1.0"))[0] == 0, "the release of the floor comes back after a rollback"


@pytest.mark.slow
def test_a_state_of_before_releases_is_read(shelf: Shelf, board: Board) -> None:
    board.install(shelf.release("1.0.0"))
    path = board.root / "models" / "demo" / "state.json"
    old = json.loads(path.read_bytes())
    del old["floor"], old["history"][0]["release"]
    path.write_text(json.dumps(old))
    status, said = board.install(shelf.release("1.1.0"))
    assert (status, board.floor) == (0, "1.1.0")
    assert "active: none; floor: none" in said
    assert len(board.state["history"]) == 2


@pytest.mark.slow
@pytest.mark.parametrize(
    "damage", [b"", b"[]", b'{"schema_version": 1}', b"[" * 100_000, b'{"schema_version": 1, "floor": {"version": 1}}']
)
def test_a_damaged_state_takes_the_floor_with_it_and_that_is_said(shelf: Shelf, board: Board, damage: bytes) -> None:
    folder = board.root / "models" / "demo"
    folder.mkdir(parents=True)
    (folder / "state.json").write_bytes(damage)
    status, said = board.install(shelf.release("1.0.0"), "--check")
    assert status == 0
    assert "state.json is damaged, and the floor with it: it begins anew with 1.0.0" in said


def test_a_state_that_cannot_be_read_now_keeps_its_floor(shelf: Shelf, board: Board) -> None:
    """A bad sector or a permission is no reason to forget the floor, as a damaged file is."""
    (board.root / "models" / "demo" / "state.json").mkdir(parents=True)
    status, said = board.install(shelf.release("1.0.0"))
    assert status == 1
    assert "state.json cannot be read: Is a directory." in said
    assert "history and floor are in it" in said


def test_confirm_says_that_the_floor_was_lost(shelf: Shelf, board: Board) -> None:
    folder = board.root / "models" / "demo"
    folder.mkdir(parents=True)
    (folder / "state.json").write_bytes(b"{")
    assert "the floor with it: it begins anew with 1.0.0" in board.install(shelf.release("1.0.0"), "--confirm")[1]


def test_an_empty_target_is_none_of_the_releases(shelf: Shelf, board: Board) -> None:
    """As a client gives it that reads a file which is not there."""
    assert board.install(shelf.release("1.0.0"), "--check", "--target", "")[0] == 8


def test_a_link_that_others_left_is_not_written_through(shelf: Shelf, board: Board, tmp_path: Path) -> None:
    remembered, victim = tmp_path / "remembered", tmp_path / "victim"
    (tmp_path / "remembered.new").symlink_to(victim)
    assert board.install(shelf.release("1.0.0"), "--remember", str(remembered))[0] == 0
    assert (remembered.read_text(), victim.exists()) == ("none\n", False)


def test_a_damaged_version_to_go_back_to_does_not_bar_the_way(shelf: Shelf, board: Board, tmp_path: Path) -> None:
    board.install(shelf.release("1.0.0"))
    place = Place(root=str(board.root), name="demo")
    now = state.read_state(place)
    told = f"echo $EDGEKIT_MODEL >> {tmp_path / 'told'}"
    state.write_state(place, now._replace(pending=state.Pending("0" * 64, now.history[-1].digest, told)))
    (board.root / "models" / "demo" / "current" / "manifest.json").write_bytes(b"")
    assert board.install(shelf.release("1.1.0"))[0] == 0
    assert board.active() == "1.1.0"
    assert (tmp_path / "told").read_text() == f"{place.current}/model.tflite\n"


def test_stopped_behind_the_switch_it_says_what_is_active(
    shelf: Shelf, board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(store, "_prune", stopped)
    with pytest.raises(KeyboardInterrupt):
        board.install(shelf.release("1.0.0"))
    last = board.heard().splitlines()[-1]
    assert last == "edgekit: FAILED: it was told to stop. demo 1.0.0 is active. Run it again."


@pytest.mark.slow
def test_two_at_once_are_one_after_the_other(shelf: Shelf, board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    board.install(shelf.release("1.0.0"))
    monkeypatch.setattr(state, "LOCK_WAIT_S", 0.3)
    with (board.root / "models" / "demo" / "lock").open("r+") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        status, said = board.install(shelf.release("1.1.0"))
    assert status == 1
    assert "Another deployment of demo is running on the device (pid " in said
    assert board.active() == "1.0.0"
    assert board.install(shelf.release("1.1.0"))[0] == 0


@pytest.mark.parametrize(
    ("number", "cause"), [(errno.ENOSPC, "its disk is full"), (errno.EROFS, "its file system is read-only")]
)
def test_a_disk_that_cannot_be_written_is_said_and_changes_nothing(
    shelf: Shelf, board: Board, monkeypatch: pytest.MonkeyPatch, number: int, cause: str
) -> None:
    board.install(shelf.release("1.0.0"))

    def broken(*_: Any) -> None:
        raise OSError(number, os.strerror(number), str(board.root / "staging"))

    with monkeypatch.context() as patched:
        patched.setattr(staging, "_write", broken)
        status, said = board.install(shelf.release("1.1.0"))
    assert status == 1
    assert f"FAILED (exit 1): {board.root}/staging cannot be written on the device: {cause}." in said
    assert board.active() == board.floor == "1.0.0"
    assert not list((board.root / "staging").glob("*/*")), "what was copied is gone"
    assert board.install(shelf.release("1.1.0"))[0] == 0


@pytest.mark.slow
def test_what_an_earlier_attempt_left_is_not_trusted(shelf: Shelf, board: Board) -> None:
    release = shelf.release("1.0.0")
    listed = json.loads((release / "release.json").read_bytes())
    stage = board.root / "staging" / "demo" / listed["artifact"]
    stage.mkdir(parents=True)
    (stage / listed["files"]["artifact/model.tflite"]["sha256"]).write_bytes(b"what a power cut leaves")
    assert board.install(release)[0] == 0
    assert board.active() == "1.0.0"


@pytest.mark.slow
def test_a_file_that_shrinks_while_it_is_copied_is_refused(
    shelf: Shelf, board: Board, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = shelf.copy(shelf.release("1.0.0"), tmp_path / "tree")
    original = store.bring

    def shrinking(*arguments: Any) -> Any:
        os.truncate(tree / "artifact" / "model.tflite", 10)
        return original(*arguments)

    monkeypatch.setattr(install, "bring", shrinking)
    status, said = board.install(tree)
    assert status == 8
    assert "This is no whole release: artifact/model.tflite became shorter." in said
    assert board.active() is None


@pytest.mark.slow
def test_damaged_files_of_the_active_version_are_repaired(shelf: Shelf, board: Board) -> None:
    board.install(shelf.release("1.0.0"))
    (board.root / "models" / "demo" / "current" / "model.tflite").write_bytes(b"rust")
    status, said = board.install(shelf.release("1.0.0"))
    assert (status, board.active()) == (0, "1.0.0")
    assert "is active already" in said


def test_a_target_file_that_is_none_is_said(shelf: Shelf, board: Board) -> None:
    (board.root / "target").mkdir(parents=True)
    status, said = board.install(shelf.release("1.0.0"))
    assert status == 1
    assert "target cannot be read" in said
    assert "Write one line: the target's name." in said


def test_a_defect_ends_with_a_sentence_too(shelf: Shelf, board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(install, "bring", lambda *_: 1 / 0)
    status, said = board.install(shelf.release("1.0.0"))
    assert status == 1
    assert "Traceback" in said
    assert said.splitlines()[-2] == "edgekit: FAILED (exit 1): ZeroDivisionError: division by zero"


@pytest.mark.slow
def test_no_more_versions_stay_than_were_asked_for(shelf: Shelf, board: Board) -> None:
    for version in ("1.0.0", "1.1.0", "1.2.0", "1.3.0"):
        board.install(shelf.release(version))
    assert len(list((board.root / "models" / "demo" / "versions").iterdir())) == 3
    shutil.rmtree(board.root)

"""Between install and commit: the health of what is active, the way back, and the floor."""

from pathlib import Path

import pytest

from edgekit.agent.commit import healthy, restore
from edgekit.agent.events import AgentError
from edgekit.agent.host import Host
from edgekit.agent.install import Device, install
from edgekit.agent.install_command import main
from edgekit.agent.layout import Place, point, read_current
from edgekit.agent.release import Release, read_release
from edgekit.agent.state import Pending, read_state, write_state
from edgekit.bundle.types import Tree
from edgekit.project import Deploy
from tests.bundles import make_keys, make_tree, tiny_artifact
from tests.unit.releases import Board, Shelf

pytestmark = pytest.mark.unit
QUIET = Host(None, lambda _event, **_fields: None)


@pytest.fixture(scope="module")
def releases(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two releases of one model, unpacked: 1.0.0, and 2.0.0 whose health check looks for a file."""
    folder = tmp_path_factory.mktemp("releases")
    keys = make_keys(folder / "keys")
    first = make_tree(tiny_artifact(folder / "a"), keys, version="1.0.0")
    second = make_tree(
        tiny_artifact(folder / "b", labels=("other",)),
        keys,
        version="2.0.0",
        deploy=Deploy(
            health_check='test ! -e "$EDGEKIT_PATH/ill"', on_activate='echo "$EDGEKIT_DIGEST" >> "$EDGEKIT_PATH/told"',
            health_timeout_s=0.1,
        ),
    )  # fmt: skip
    return _unpacked(first, folder / "1.0.0"), _unpacked(second, folder / "2.0.0")


def _unpacked(tree: Tree, folder: Path) -> Path:
    for name, data in tree.files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(root=str(tmp_path), name="demo")


def _installed(place: Place, folder: Path) -> Release:
    release = read_release(str(folder))
    install(release, Device(root=place.root), QUIET)
    return release


def test_back_to_the_version_before(place: Place, releases: tuple[Path, Path]) -> None:
    first = _installed(place, releases[0])
    second = _installed(place, releases[1])
    assert healthy(second, Device(root=place.root), QUIET)["passed"]
    for _ in range(2):
        assert restore(second, Device(root=place.root), QUIET, first.digest) == first.digest
    state = read_state(place)
    assert [item.digest for item in state.history] == [first.digest]
    assert state.pending is None
    assert state.floor == second.named
    told = Path(place.folder, "told").read_text().split()
    assert told == [second.digest, first.digest]


@pytest.mark.slow
def test_back_to_nothing(place: Place, releases: tuple[Path, Path]) -> None:
    second = _installed(place, releases[1])
    assert restore(second, Device(root=place.root), QUIET, None) is None
    assert read_current(place) is None
    assert read_state(place).history == ()


def test_a_switch_that_never_ended_is_undone_and_not_gone_back_from_twice(
    place: Place, releases: tuple[Path, Path]
) -> None:
    first = _installed(place, releases[0])
    second = _installed(place, releases[1])
    restore(second, Device(root=place.root), QUIET, first.digest)
    write_state(place, read_state(place)._replace(pending=Pending(second.digest, first.digest, None)))
    point(place, second.digest)  # the power went here
    assert restore(second, Device(root=place.root), QUIET, first.digest) == first.digest
    assert [item.digest for item in read_state(place).history] == [first.digest]


@pytest.mark.slow
def test_what_somebody_else_activated_stays(place: Place, releases: tuple[Path, Path]) -> None:
    second = _installed(place, releases[1])
    first = _installed_below_the_floor(place, releases[0])
    assert restore(second, Device(root=place.root), QUIET, None) == first.digest


def _installed_below_the_floor(place: Place, folder: Path) -> Release:
    release = read_release(str(folder))
    install(release, Device(root=place.root, allow_downgrade=True), QUIET)
    return release


@pytest.mark.slow
def test_a_version_that_is_gone_does_not_come_back(place: Place, releases: tuple[Path, Path]) -> None:
    second = _installed(place, releases[1])
    with pytest.raises(AgentError, match="Version 000000000000 cannot come back: it is not on the device any more"):
        restore(second, Device(root=place.root), QUIET, "0" * 64)
    assert read_current(place) == second.digest


def test_an_application_that_falls_ill(place: Place, releases: tuple[Path, Path]) -> None:
    second = _installed(place, releases[1])
    Path(place.folder, "ill").touch()
    with pytest.raises(AgentError, match="The application is not healthy") as caught:
        healthy(second, Device(root=place.root), QUIET)
    assert caught.value.kind == "gate"
    assert read_current(place) == second.digest  # the update client decides


def test_a_changed_file_is_not_healthy(place: Place, releases: tuple[Path, Path]) -> None:
    first = _installed(place, releases[0])
    Path(place.version(first.digest), "model.tflite").write_bytes(b"changed")
    with pytest.raises(
        AgentError, match=r"demo 1\.0\.0 is active, and model\.tflite was changed on the device"
    ) as caught:
        healthy(first, Device(root=place.root), QUIET)
    assert caught.value.kind == "integrity"


@pytest.mark.slow
def test_another_version_is_not_healthy(
    place: Place, releases: tuple[Path, Path], capfd: pytest.CaptureFixture[str]
) -> None:
    assert main([str(releases[1]), "--root", place.root, "--healthy"]) == 3
    assert "demo 2.0.0 is not active on this device: no version is." in capfd.readouterr().err
    first = _installed(place, releases[0])
    assert main([str(releases[1]), "--root", place.root, "--healthy"]) == 3
    assert f"version {first.digest[:12]} is" in capfd.readouterr().err


@pytest.mark.slow
def test_sentences(place: Place, releases: tuple[Path, Path], capfd: pytest.CaptureFixture[str]) -> None:
    first = _installed(place, releases[0])
    second = _installed(place, releases[1])
    assert main([str(releases[1]), "--root", place.root, "--healthy"]) == 0
    assert "demo 2.0.0 is active and healthy (" in capfd.readouterr().err
    assert main([str(releases[1]), "--root", place.root, "--restore", first.digest]) == 0
    assert f"Version {first.digest[:12]} of demo is active. The floor stays." in capfd.readouterr().err
    assert main([str(releases[1]), "--root", place.root, "--restore", "none"]) == 0
    assert read_current(place) == first.digest != second.digest
    with pytest.raises(SystemExit):
        main([str(releases[1]), "--restore", "yesterday"])
    assert "'yesterday' is neither the digest of a version nor 'none'" in capfd.readouterr().err
    assert restore(second, Device(root=f"{place.root}/empty"), QUIET, None) is None


def test_what_was_active_is_remembered_before_the_switch(
    place: Place, releases: tuple[Path, Path], tmp_path: Path
) -> None:
    remembered = tmp_path / "previous"
    first = read_release(str(releases[0]))
    install(first, Device(root=place.root, remember=str(remembered)), QUIET)
    assert remembered.read_text() == "none\n"
    second = read_release(str(releases[1]))
    install(second, Device(root=place.root, remember=str(remembered)), QUIET)
    assert remembered.read_text() == f"{first.digest}\n"
    write_state(place, read_state(place)._replace(pending=Pending(second.digest, first.digest, None)))
    install(second, Device(root=place.root, remember=str(remembered)), QUIET)  # the power went before it was confirmed
    assert remembered.read_text() == f"{first.digest}\n"


def test_a_floor_that_is_confirmed_later_stays_until_then(shelf: Shelf, board: Board) -> None:
    board.install(shelf.release("1.0.0"))
    status, _ = board.install(shelf.release("1.2.0"), "--confirm-later")
    assert (status, board.active(), board.floor) == (0, "1.2.0", "1.0.0")
    before = board.state
    assert board.install(shelf.release("1.2.0"), "--confirm")[0] == 0
    assert board.state == {**before, "floor": before["history"][-1]["release"]}, "nothing but the floor"
    assert board.install(shelf.release("1.1.0"), "--confirm-later")[0] == 8, "the floor is asked as ever"
    assert board.active() == "1.2.0"


def test_a_floor_that_was_left_to_a_commit_rises_where_the_release_is_installed_again(
    shelf: Shelf, board: Board
) -> None:
    board.install(shelf.release("1.0.0"), "--confirm-later")
    assert board.floor is None
    assert board.install(shelf.release("1.0.0"))[0] == 0
    assert board.floor == "1.0.0"


@pytest.mark.slow
def test_a_floor_that_is_lowered_later_stays_until_then(shelf: Shelf, board: Board) -> None:
    board.install(shelf.release("1.2.0"))
    status, said = board.install(shelf.release("1.1.0"), "--confirm-later", "--allow-downgrade")
    assert (status, board.active(), board.floor) == (0, "1.1.0", "1.2.0")
    assert "goes from" not in said
    assert board.install(shelf.release("1.1.0"), "--confirm")[0] == 0
    assert board.floor == "1.2.0", "only --allow-downgrade lowers it"
    said = board.install(shelf.release("1.1.0"), "--confirm", "--allow-downgrade")[1]
    assert "--allow-downgrade: the floor goes from 1.2.0 down to 1.1.0" in said
    assert board.floor == "1.1.0"


@pytest.mark.slow
def test_what_was_never_confirmed_does_not_count(shelf: Shelf, board: Board) -> None:
    """As after a client's rollback: another release of that version, and a lower one, can be installed."""
    board.install(shelf.release("1.0.0"))
    for note in ("", "+mended"):
        assert board.install(shelf.release("1.2.0", note=note), "--confirm-later")[0] == 0
    assert board.install(shelf.release("1.1.0"), "--confirm-later")[0] == 0
    assert (board.active(), board.floor) == ("1.1.0", "1.0.0")

"""A release in a slot: the application is told and asked, and told again after the way back."""

from pathlib import Path

import pytest

from edgekit.agent.release import read_release
from tests.unit.releases import Board, Shelf

pytestmark = pytest.mark.unit
HOOKS = {
    "on_activate": 'echo "$EDGEKIT_NAME|$EDGEKIT_DIGEST|$EDGEKIT_MODEL|$EDGEKIT_PATH" >> "$PLACE/told"',
    "health_check": 'echo dark; test ! -e "$PLACE/ill"',
    "health_timeout_s": 0.1,
}


@pytest.fixture
def slot(shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The slot of a release whose application writes into PLACE what it is told; ``current`` leads to it."""
    monkeypatch.setenv("PLACE", str(tmp_path))
    release = shelf.with_hooks("1.0.0", **HOOKS)
    (tmp_path / "current").symlink_to(release)
    return release


def told(folder: Path) -> list[str]:
    return (folder / "told").read_text().splitlines()


def test_the_application_sees_the_release_by_the_path_that_moves(board: Board, slot: Path, tmp_path: Path) -> None:
    status, said = board.install(slot, "--activated", str(tmp_path / "current"))
    assert (status, "The application is healthy with demo 1.0.0." in said) == (0, True), said
    folder = tmp_path / "current/artifact"
    assert told(tmp_path) == [f"demo|{read_release(str(slot)).digest}|{folder}/model.tflite|{folder}"]
    assert not board.root.exists(), "nothing is written"


def test_an_application_that_is_ill_in_a_slot(board: Board, slot: Path, tmp_path: Path) -> None:
    (tmp_path / "ill").touch()
    status, said = board.install(slot, "--activated", str(tmp_path / "current"))
    assert status == 3
    assert "health_check" in said
    assert "ended with status 1 within 0.1 s. It said: dark" in said


@pytest.mark.parametrize("there", [True, False])
def test_what_applications_do_not_see_is_not_asked(board: Board, slot: Path, tmp_path: Path, *, there: bool) -> None:
    if there:
        (tmp_path / "other").mkdir()
    status, said = board.install(slot, "--activated", str(tmp_path / "other"))
    assert status == 1
    assert f"{tmp_path}/other does not lead to this release, which is in {slot}." in said
    assert "next: Switch first: --activated is for the release that applications see" in said
    assert not (tmp_path / "told").exists()


def test_the_way_back_is_told(board: Board, slot: Path, tmp_path: Path) -> None:
    (tmp_path / "ill").touch()  # nobody asks
    status, said = board.install(slot, "--fallen-back", str(tmp_path / "current"))
    assert (status, "A release of demo is active" in said) == (0, True), said
    (tmp_path / "current").unlink()
    status, said = board.install(slot, "--fallen-back", str(tmp_path / "current"))
    assert (status, "No release of demo is active" in said) == (0, True), said
    folder = tmp_path / "current/artifact"
    digest = read_release(str(slot)).digest
    assert told(tmp_path) == [f"demo|{digest}|{folder}/model.tflite|{folder}", f"demo|||{folder}"]


def test_an_application_that_cannot_be_told_of_the_way_back(
    board: Board, slot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLACE", f"{tmp_path}/nowhere")
    status, said = board.install(slot, "--fallen-back", str(tmp_path / "current"))
    assert status == 0
    assert "the application was not told: echo" in said

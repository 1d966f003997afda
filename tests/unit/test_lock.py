"""edgekit.lock: every difference has its name."""

import hashlib
from pathlib import Path

import msgspec
import pytest

from edgekit.digests import sha256_file
from edgekit.errors import LockError, ProjectError
from edgekit.lock import (
    LOCK,
    LockedBuild,
    check_after,
    check_before,
    differences,
    read_lock,
    settings_of,
    source_digests,
    write_lock,
)
from edgekit.plan import BuildOptions, BuildPlan, plan
from edgekit.project import load_project
from edgekit.target import load_target

pytestmark = pytest.mark.unit

DIGEST = "a" * 64
OTHER = "b" * 64


def planned(folder: Path, **options: object) -> BuildPlan:
    (folder / "model.tflite").write_bytes(b"model")
    (folder / "calibration.npz").write_bytes(b"samples")
    chosen = BuildOptions(model="model.tflite", calibration="calibration.npz", **options)  # type: ignore[arg-type]
    return plan(load_project(folder), load_target("rpi4"), chosen, folder)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def entry_of(build: BuildPlan) -> LockedBuild:
    profile = msgspec.json.encode(build.target, order="sorted")
    return LockedBuild(
        source=source_digests(build, ()),
        calibration=sha256_file(build.directory / "calibration.npz"),
        target=hashlib.sha256(profile).hexdigest(),
        settings=settings_of(build),
        tools={"numpy": "0.0.1"},
    )


def test_every_difference_is_named() -> None:
    locked = LockedBuild(
        source={"m.keras": DIGEST}, calibration=DIGEST, target=DIGEST, settings={"io": "int8"}, tools={"numpy": "2.4"}
    )
    made = LockedBuild(
        source={"n.keras": DIGEST},
        calibration=OTHER,
        evaluation=OTHER,
        target=OTHER,
        settings={"io": "uint8", "batch": "1"},
        tools={"numpy": "2.5", "torch": "2.13"},
    )
    assert differences(locked, locked) == ()
    assert differences(locked, made) == (
        "model file m.keras: locked sha256 aaaaaaaaaaaa, now nothing",
        "model file n.keras: locked nothing, now sha256 aaaaaaaaaaaa",
        "calibration data: locked sha256 aaaaaaaaaaaa, now sha256 bbbbbbbbbbbb",
        "evaluation data: locked nothing, now sha256 bbbbbbbbbbbb",
        "target profile: locked sha256 aaaaaaaaaaaa, now sha256 bbbbbbbbbbbb",
        "setting batch: locked nothing, now 1",
        "setting io: locked int8, now uint8",
        "tool numpy: locked 2.4, now 2.5",
        "tool torch: locked nothing, now 2.13",
    )
    with pytest.raises(LockError, match="setting io: locked int8, now uint8") as caught:
        check_after(locked, made)
    assert len(caught.value.details["differences"]) == 9


def test_written_read_and_kept_beside_others(project: Path) -> None:
    build = planned(project)
    entry = entry_of(build)
    write_lock(build, entry)
    first = (project / LOCK).read_text()
    write_lock(planned(project, output=Path("other")), entry)
    write_lock(build, entry)
    lock = read_lock(project)
    assert lock is not None
    assert set(lock.builds) == {"model-rpi4-int8", "other"}
    assert lock.builds["model-rpi4-int8"] == entry
    assert first.startswith("# Written by `edgekit build`")
    assert [path.name for path in project.glob(f".{LOCK}*")] == []


def test_before_a_build(project: Path) -> None:
    build = planned(project)
    with pytest.raises(LockError, match=r"is not locked: there is no edgekit\.lock"):
        check_before(build)
    write_lock(build, entry_of(build))
    with pytest.raises(LockError, match=r"tool numpy: locked 0\.0\.1, now"):
        check_before(build)
    write_lock(build, msgspec.structs.replace(entry_of(build), tools={"in-another-environment": "1.0"}))
    assert check_before(build).source
    (project / "calibration.npz").write_bytes(b"other samples")
    with pytest.raises(LockError, match=r"locked one: calibration data: locked sha256 \w{12}, now"):
        check_before(build)
    planned(project)
    (project / "model.tflite").unlink()
    with pytest.raises(LockError, match=r"model file model\.tflite: locked sha256 \w{12}, now nothing"):
        check_before(build)
    with pytest.raises(LockError, match="it knows model-rpi4-int8"):
        check_before(planned(project, output=Path("elsewhere")))
    with pytest.raises(LockError, match="setting io: locked int8, now uint8"):
        check_before(planned(project, io="uint8", output=Path("model-rpi4-int8")))


def test_a_damaged_lock_is_refused(project: Path) -> None:
    (project / LOCK).write_text("schema_version = 1\n[builds.x]\nsource = 3\n")
    with pytest.raises(ProjectError, match="source"):
        read_lock(project)


def test_the_name_and_the_labels_inside_the_file_are_settings(project: Path) -> None:
    before = settings_of(planned(project))
    (project / "labels.txt").write_text("cat")
    (project / "edgekit.toml").write_text('name = "other"\n[model]\npath = "model.tflite"\nlabels = "labels.txt"\n')
    named = settings_of(planned(project))
    assert {name for name in named if named[name] != before.get(name)} == {"name", "labels"}
    (project / "labels.txt").write_text("dog")
    assert settings_of(planned(project))["labels"] != named["labels"]


def test_an_input_dtype_that_was_asked_for_is_a_setting_of_a_search(project: Path) -> None:
    wishes = {"precision": "auto", "max_drop": "1pt", "evaluate": "calibration.npz"}
    found = [settings_of(planned(project, **wishes, io=io)) for io in (None, "int8")]
    assert [settings["fixed-io"] for settings in found] == ["False", "True"]

"""Deployments on this machine as the device: what becomes active, what comes back, what is sent."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest

from edgekit.artifact import GOLDEN, MODEL, Artifact
from edgekit.deploy import check_target, deploy, rollback
from edgekit.errors import (
    ArtifactError,
    DeviceConfigError,
    DeviceFaultError,
    GateError,
    IntegrityError,
    SelfTestError,
    TargetError,
)
from edgekit.project import Deploy
from edgekit.target import load_target
from edgekit.transport import Connection
from edgekit.transport.agent import call, prepare_agent, result
from tests.artifacts import make_artifact, with_wrong_golden

pytestmark = pytest.mark.unit


def status(connection: Connection) -> dict[str, Any]:
    agent = prepare_agent(connection)
    return result(call(agent, "status", {"root": agent.root}))


def active(root: Path, name: str = "demo") -> str | None:
    link = root / "models" / name / "current"
    return link.resolve().name if link.is_symlink() else None


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_real_model_becomes_active_whole_after_its_self_test(
    tmp_path: Path, root: Path, connection: Connection, cases: Path
) -> None:
    kws = make_artifact(tmp_path / "kws", (cases / "models/tflite_ref/kws_int8.tflite").read_bytes(), name="kws")
    seen: list[tuple[int, int]] = []
    done = deploy(kws, connection, on_progress=lambda sent, total: seen.append((sent, total)))
    assert done.active
    assert done.previous is None
    assert done.digest == kws.digest == active(root, "kws")
    assert done.bytes_sent >= kws.model.stat().st_size
    assert seen[-1] == (done.bytes_sent, done.bytes_sent)
    assert done.self_test is not None
    assert done.self_test.passed
    assert done.self_test.vectors == 4
    assert done.self_test.outputs[0].difference == 0
    assert files(root / "models" / "kws" / "current") == files(kws.path)
    assert list((root / "staging").glob("*/*")) == []


def test_the_same_digest_again_sends_nothing_and_tells_nobody(
    tmp_path: Path, root: Path, connection: Connection, versions: list[Artifact]
) -> None:
    told = tmp_path / "told"
    settings = Deploy(on_activate=f"echo $EDGEKIT_DIGEST >> {told}")
    deploy(versions[0], connection, settings=settings)
    again = deploy(versions[0], connection, settings=settings)
    assert again.bytes_sent == 0
    assert again.active
    assert again.previous == versions[0].digest
    assert told.read_text().split() == [versions[0].digest]


def test_outside_the_tolerance_stays_inactive_and_shows_expected_and_found(
    tmp_path: Path, root: Path, connection: Connection, versions: list[Artifact]
) -> None:
    deploy(versions[0], connection)
    with pytest.raises(SelfTestError, match=r"output '.*' of vector 0 differs by \d+ steps \(2 allowed\)") as caught:
        deploy(with_wrong_golden(versions[1], tmp_path / "wrong"), connection)
    assert active(root) == versions[0].digest
    (check,) = caught.value.details["self_test"]["outputs"]
    assert check["expected"] != check["found"]
    assert "ai-edge-litert" in caught.value.message


def test_a_failing_health_check_brings_the_old_version_back_and_tells_the_application(
    tmp_path: Path, root: Path, connection: Connection, versions: list[Artifact]
) -> None:
    told = tmp_path / "told"
    deploy(versions[0], connection)
    settings = Deploy(
        on_activate=f"echo $EDGEKIT_NAME $EDGEKIT_DIGEST $EDGEKIT_MODEL >> {told}",
        health_check="echo camera is dark >&2; exit 7",
        health_timeout_s=1.2,
    )
    with pytest.raises(GateError, match=r"status 7 within 1.2 s. It said: camera is dark Version") as caught:
        deploy(versions[1], connection, settings=settings)
    assert caught.value.exit_code == 3
    assert caught.value.details["output"] == "camera is dark\n"
    assert active(root) == versions[0].digest
    model = str(root / "models" / "demo" / "current" / MODEL)
    assert told.read_text().splitlines() == [
        f"demo {versions[1].digest} {model}",
        f"demo {versions[0].digest} {model}",
    ]
    assert not status(connection)["models"][0]["unconfirmed"]


def test_a_first_version_that_is_not_healthy_leaves_no_version(
    root: Path, connection: Connection, versions: list[Artifact]
) -> None:
    with pytest.raises(GateError, match=r"on_activate .* ended with status 3 .* No version is active, as before"):
        deploy(versions[0], connection, settings=Deploy(on_activate="exit 3"))
    assert active(root) is None
    assert deploy(versions[0], connection).bytes_sent == 0, "it is there, whole and inactive"


def test_the_health_check_may_take_a_while(
    tmp_path: Path, root: Path, connection: Connection, versions: list[Artifact]
) -> None:
    slow = Deploy(on_activate=f"(sleep 0.8; touch {tmp_path}/up) &", health_check=f"test -e {tmp_path}/up")
    assert deploy(versions[0], connection, settings=slow).active


@pytest.mark.slow
def test_rollback_goes_back_once_per_deployment_with_the_hooks_of_the_last(
    tmp_path: Path, root: Path, connection: Connection, versions: list[Artifact]
) -> None:
    told = tmp_path / "told"
    for artifact in versions[:3]:
        deploy(artifact, connection, settings=Deploy(on_activate=f"echo $EDGEKIT_DIGEST >> {told}"))
    back = rollback(connection, name="demo")
    assert (back.previous, back.digest, back.active) == (versions[2].digest, versions[1].digest, True)
    assert back.self_test is not None
    assert rollback(connection, name="demo").digest == versions[0].digest == active(root)
    assert told.read_text().split()[-2:] == [versions[1].digest, versions[0].digest]
    with pytest.raises(DeviceFaultError, match="no version of demo before"):
        rollback(connection, name="demo")
    with pytest.raises(DeviceFaultError, match="no model 'other'"):
        rollback(connection, name="other")
    assert active(root) == versions[0].digest


def test_a_rollback_to_an_unhealthy_version_stays(root: Path, connection: Connection, versions: list[Artifact]) -> None:
    for artifact in versions[:2]:
        deploy(artifact, connection)
    with pytest.raises(GateError, match="is active"):
        rollback(connection, name="demo", settings=Deploy(health_check="false", health_timeout_s=0.1))
    assert active(root) == versions[1].digest
    assert rollback(connection, name="demo").digest == versions[0].digest, "the history is as it was"


def test_a_rollback_to_a_damaged_version_is_refused(
    root: Path, connection: Connection, versions: list[Artifact]
) -> None:
    for artifact in versions[:2]:
        deploy(artifact, connection)
    damaged = root / "models" / "demo" / "versions" / versions[0].digest / MODEL
    damaged.write_bytes(b"x" * damaged.stat().st_size)
    with pytest.raises(IntegrityError, match=f"cannot come back: {MODEL} was changed") as caught:
        rollback(connection, name="demo")
    assert caught.value.exit_code == 8
    assert active(root) == versions[1].digest


@pytest.mark.slow
def test_old_versions_are_removed_but_never_the_active_one_or_the_one_before(
    root: Path, connection: Connection, versions: list[Artifact]
) -> None:
    for artifact in versions[:3]:
        deploy(artifact, connection, settings=Deploy(keep_versions=3))
    done = deploy(versions[3], connection, settings=Deploy(keep_versions=2))
    kept = {path.name for path in (root / "models" / "demo" / "versions").iterdir()}
    assert kept == {versions[2].digest, versions[3].digest}
    assert set(done.removed) == {versions[0].digest, versions[1].digest}
    assert rollback(connection, name="demo").digest == versions[2].digest


@pytest.mark.parametrize("path", [MODEL, GOLDEN, "manifest.json"])
def test_a_damaged_file_is_found_and_repaired_by_deploying_again(
    root: Path, connection: Connection, versions: list[Artifact], path: str
) -> None:
    deploy(versions[0], connection)
    damaged = root / "models" / "demo" / "current" / path
    damaged.write_bytes(b"x" * damaged.stat().st_size)
    assert status(connection)["models"][0]["damaged"] == [path]
    done = deploy(versions[0], connection)
    assert done.bytes_sent == versions[0].files[path].bytes
    assert status(connection)["models"][0]["damaged"] == []


def test_links_planted_on_the_device_are_never_followed(
    tmp_path: Path, root: Path, connection: Connection, versions: list[Artifact]
) -> None:
    victim, outside = tmp_path / "victim", tmp_path / "outside"
    victim.write_bytes(b"precious")
    outside.mkdir()
    model = versions[0].files[MODEL]
    stage = root / "staging" / "demo" / versions[0].digest
    stage.mkdir(parents=True)
    (stage / model.sha256).symlink_to(victim)
    (stage / "version").symlink_to(outside)
    deploy(versions[0], connection)
    version = root / "models" / "demo" / "versions" / versions[0].digest
    shutil.rmtree(version / "golden")
    (version / "golden").symlink_to(outside)
    (version / MODEL).unlink()
    (version / MODEL).symlink_to(victim)
    deploy(versions[0], connection)
    shutil.rmtree(version)
    version.symlink_to(outside)
    assert deploy(versions[0], connection).active
    assert victim.read_bytes() == b"precious"
    assert list(outside.iterdir()) == []
    assert not version.is_symlink()


def test_several_models_live_side_by_side(root: Path, connection: Connection, versions: list[Artifact]) -> None:
    deploy(versions[0], connection, name="left")
    deploy(versions[1], connection, name="right", settings=Deploy(name="ignored"))
    report = status(connection)
    assert {model["name"]: model["active"] for model in report["models"]} == {
        "left": versions[0].digest,
        "right": versions[1].digest,
    }
    assert report["free_bytes"] > 0
    size = sum(entry.bytes for entry in versions[0].files.values())
    assert report["models"][0]["versions"] == [{"digest": versions[0].digest, "bytes": size}]
    with pytest.raises(DeviceConfigError, match="cannot be the name"):
        deploy(versions[0], connection, name="../up")


def test_a_dry_run_changes_nothing(root: Path, connection: Connection, versions: list[Artifact]) -> None:
    prepare_agent(connection)
    before = sorted(root.rglob("*"))
    plan = deploy(versions[0], connection, dry_run=True)
    assert sorted(root.rglob("*")) == before, "the agent itself is there already"
    assert plan.dry_run
    assert not plan.active
    assert plan.bytes_sent == deploy(versions[0], connection).bytes_sent > 0
    again = deploy(versions[0], connection, dry_run=True)
    assert (again.bytes_sent, again.active) == (0, True)


def test_an_artifact_for_another_board_is_refused_unless_it_is_plain(
    tmp_path: Path, root: Path, connection: Connection, versions: list[Artifact]
) -> None:
    done = deploy(versions[0], connection, target=load_target("rpi5"))
    assert [finding.name for finding in done.findings] == ["other-target"]
    assert "Built for rpi4; the target of local is rpi5" in done.findings[0].message
    assert deploy(versions[0], connection, target=load_target("rpi4")).findings == ()
    coral = make_artifact(tmp_path / "coral", versions[0].model.read_bytes(), delegate="libedgetpu.so.1")
    with pytest.raises(
        ArtifactError, match=r"built for rpi4 \(delegate libedgetpu.so.1\); the target of local is rpi5"
    ) as caught:
        deploy(coral, connection, target=load_target("rpi5"))
    assert "--target rpi5" in caught.value.hint
    with pytest.raises(DeviceFaultError, match="delegate cannot be used"):
        deploy(coral, connection)
    assert active(root) == versions[0].digest


@pytest.mark.parametrize("target", ["android-arm64", "nucleo-f446re", "rk3588", "rpi5-hailo-8l", "jetson-orin-nano"])
def test_a_device_that_something_else_brings_files_to_is_refused(versions: list[Artifact], target: str) -> None:
    profile = load_target(target)
    with pytest.raises(TargetError, match=f"cannot deploy to {target}, the target of desk") as caught:
        check_target(versions[0], "desk", profile)
    assert caught.value.message.endswith(profile.support.missing)
    assert str(versions[0].model) in caught.value.hint


def test_a_file_that_no_tflite_runtime_reads_is_refused(versions: list[Artifact]) -> None:
    manifest = msgspec.structs.replace(versions[0].manifest, model="model.rknn", target="rk3588")
    artifact = msgspec.structs.replace(versions[0], manifest=manifest)
    with pytest.raises(ArtifactError, match=r"built for rk3588: no TFLite runtime runs its model\.rknn") as caught:
        check_target(artifact, "garage", None)
    assert "Build one that garage can run: edgekit build --target NAME" in caught.value.hint


def test_the_state_is_found_again_without_its_file(
    root: Path, connection: Connection, versions: list[Artifact]
) -> None:
    for artifact in versions[:2]:
        deploy(artifact, connection)
    os.utime(root / "models" / "demo" / "versions" / versions[0].digest, (1e9, 1e9))
    (root / "models" / "demo" / "state.json").write_text("{")
    assert rollback(connection, name="demo").digest == versions[0].digest


@pytest.mark.parametrize(
    "change",
    [
        {"name": "../x"},
        {"digest": "0" * 64},
        {"files": {"../../etc/passwd": {"sha256": "0" * 64, "bytes": 1}}},
        {"files": {"/etc/passwd": {"sha256": "0" * 64, "bytes": 1}}},
        {"files": {"a\n": {"sha256": "0" * 64, "bytes": 1}}},
        {"files": {".hidden": {"sha256": "0" * 64, "bytes": 1}}},
        {"files": {"a": {"sha256": "0" * 64, "bytes": -1}}},
        {"files": {"a": 3}},
        {"files": []},
        {"root": "relative"},
    ],
)
def test_hostile_requests_are_refused_before_anything_is_written(
    root: Path, connection: Connection, versions: list[Artifact], change: dict[str, Any]
) -> None:
    agent = prepare_agent(connection)
    before = sorted(root.rglob("*"))
    request = {
        "root": agent.root,
        "name": "demo",
        "digest": versions[0].digest,
        "files": {path: msgspec.to_builtins(entry) for path, entry in versions[0].files.items()},
        "delegate": "xnnpack",
        "hooks": {},
        "keep_versions": 3,
        "dry_run": False,
        **change,
    }
    with pytest.raises((DeviceFaultError, IntegrityError)) as caught:
        result(call(agent, "deploy", request, keep_open=True))
    assert "defect" not in caught.value.hint
    assert sorted(root.rglob("*")) == before


def test_files_the_manifest_does_not_list_never_reach_a_version(
    root: Path, connection: Connection, versions: list[Artifact]
) -> None:
    agent = prepare_agent(connection)
    manifest = (versions[0].path / "manifest.json").read_bytes()
    request = {
        "root": agent.root,
        "name": "demo",
        "digest": versions[0].digest,
        "files": {"manifest.json": msgspec.to_builtins(versions[0].files["manifest.json"])},
        "delegate": "xnnpack",
        "hooks": {},
        "keep_versions": 3,
        "dry_run": False,
    }
    answer = lambda event: (manifest,) if event["event"] == "need" else ()  # noqa: E731
    with pytest.raises(IntegrityError, match="not the ones the manifest lists"):
        result(call(agent, "deploy", request, answer=answer))
    assert list((root / "models" / "demo" / "versions").iterdir()) == []
    assert json.loads(manifest)["name"] == "demo"

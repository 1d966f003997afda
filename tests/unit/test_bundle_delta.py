"""Deltas: small, verified at both ends, bounded, and nothing half-written stays."""

import json
import shutil
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from edgekit.bundle import types
from edgekit.bundle.delta import apply_delta, create_delta, make_delta, patch_bundle, verified_old
from edgekit.cli import cli
from edgekit.cli.failures import guarded
from edgekit.errors import BundleError, EdgekitError, IntegrityError
from edgekit.keys.trust import read_trust
from edgekit.keys.types import Trust
from tests.artifacts import make_artifact
from tests.bundles import NOW, make_bundle, make_keys, tiny_model, wanted

pytestmark = [
    pytest.mark.unit,
    pytest.mark.skipif(shutil.which("zstd") is None, reason="zstd is not on this machine: apt install zstd"),
]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """keys/, bundle-1.0.0.tar, bundle-1.1.0.tar, and the ``delta`` between them."""
    folder = tmp_path_factory.mktemp("delta")
    for version in ("1.0.0", "1.1.0"):
        artifact = make_artifact(folder / version, tiny_model(), labels=(version, "other"))
        make_bundle(folder, "tar", version=version, artifact=artifact)
    make_delta(folder / "bundle-1.0.0.tar", folder / "bundle-1.1.0.tar", folder / "delta")
    return folder


@pytest.fixture(scope="module")
def trust(made: Path) -> Trust:
    return read_trust(made / "keys")


def patched(made: Path, trust: Trust, delta: Path, output: Path, old: str = "bundle-1.0.0.tar") -> None:
    patch_bundle(made / old, delta, output, trust, now=NOW)


def test_a_delta_is_small_deterministic_and_makes_the_new_bundle(made: Path, trust: Trust, tmp_path: Path) -> None:
    new = (made / "bundle-1.1.0.tar").read_bytes()
    assert (made / "delta").stat().st_size < len(new) / 20
    (tmp_path / "old").symlink_to(made / "bundle-1.0.0.tar")
    (tmp_path / "new").symlink_to(made / "bundle-1.1.0.tar")
    make_delta(tmp_path / "old", tmp_path / "new", tmp_path / "delta")
    assert (tmp_path / "delta").read_bytes() == (made / "delta").read_bytes()
    verified = patch_bundle(tmp_path / "old", tmp_path / "delta", tmp_path / "deep/out", trust, now=NOW)
    assert verified.release.version == "1.1.0"
    assert (tmp_path / "deep/out").read_bytes() == new
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["out"]


def test_the_commands_write_a_delta_and_apply_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    now = datetime.now(UTC)  # the commands' own clock
    keys = make_keys(tmp_path / "keys", now=now)
    old = make_bundle(tmp_path, "tar", keys=keys, now=now).path
    create = ["bundle", "create", "artifact", "--format", "tar", "--keys", "keys", "--version", "1.0.1"]
    assert guarded(cli, [*create, "--output", "new.tar", "--delta-from", str(old)]) == 0
    said = capsys.readouterr().err
    delta = tmp_path / "new.tar.from-1.0.0.zst"
    size, whole = delta.stat().st_size, (tmp_path / "new.tar").stat().st_size
    assert f"Wrote new.tar.from-1.0.0.zst: {size:,} bytes instead of {whole:,} from 1.0.0 (9" in said
    assert guarded(cli, [*create, "--output", "same.tar", "--delta-from", str(old), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["delta"] == {
        "path": "same.tar.from-1.0.0.zst", "bytes": size, "whole_bytes": whole, "from_version": "1.0.0",
    }  # fmt: skip
    patch = ["bundle", "patch", str(old), str(delta), "--keys", "keys/public", "--output"]
    assert guarded(cli, [*patch, "made.tar"]) == 0
    assert "Wrote made.tar, and verified it." in capsys.readouterr().err
    assert (tmp_path / "made.tar").read_bytes() == (tmp_path / "new.tar").read_bytes()
    assert guarded(cli, [*patch, "again.tar", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["verified"]["release"]["version"] == "1.0.1"
    delta.write_bytes(b"no delta")
    assert guarded(cli, [*patch, "bad.tar"]) == 8
    assert "is no delta from" in capsys.readouterr().err
    assert not list(tmp_path.glob("*bad.tar*"))


def flipped(data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 1 << place % 8]) + data[place + 1 :]


@pytest.mark.parametrize(
    "damage",
    [
        *(lambda data, share=share: flipped(data, int(len(data) * share)) for share in (0, 0.01, 0.2, 0.5, 0.8, 0.999)),
        lambda data: data[:-1],
        lambda data: data[: len(data) // 2],
        lambda data: data + b"\0",
        lambda data: data + data,
        lambda _data: b"",
        lambda _data: b"whatever this is, zstd does not know it",
    ],
)
def test_a_damaged_delta_is_refused_and_leaves_nothing(
    made: Path, trust: Trust, tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/delta").write_bytes(damage((made / "delta").read_bytes()))
    (tmp_path / "out").write_bytes(b"what was there")
    with pytest.raises(IntegrityError):
        patched(made, trust, tmp_path / "in/delta", tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == b"what was there"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "out"]


def test_an_old_bundle_that_is_tampered_or_another_is_refused(made: Path, trust: Trust, tmp_path: Path) -> None:
    old = (made / "bundle-1.0.0.tar").read_bytes()
    (tmp_path / "tampered.tar").write_bytes(flipped(old, len(old) // 2))
    with pytest.raises(IntegrityError) as before:
        patch_bundle(tmp_path / "tampered.tar", made / "delta", tmp_path / "out", trust, now=NOW)
    assert "What the delta makes" not in before.value.message
    with pytest.raises(IntegrityError, match=r"is no delta from .*|What the delta makes is refused"):
        patched(made, trust, made / "delta", tmp_path / "out", old="bundle-1.1.0.tar")
    make_keys(tmp_path / "keys")
    with pytest.raises(IntegrityError):
        patched(made, read_trust(tmp_path / "keys"), made / "delta", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_delta_to_an_older_bundle_or_of_another_model_is_refused(made: Path, trust: Trust, tmp_path: Path) -> None:
    """Both were signed once: a replay."""
    make_delta(made / "bundle-1.1.0.tar", made / "bundle-1.0.0.tar", tmp_path / "back")
    with pytest.raises(IntegrityError, match=r"What the delta makes is refused\. It is version 1\.0\.0, older than"):
        patched(made, trust, tmp_path / "back", tmp_path / "out", old="bundle-1.1.0.tar")
    other = make_artifact(tmp_path / "artifact", tiny_model(), name="other")
    created = make_bundle(tmp_path, "tar", keys=made / "keys", artifact=other, version="2.0.0")
    make_delta(made / "bundle-1.0.0.tar", created.path, tmp_path / "there")
    with pytest.raises(IntegrityError, match=r"The delta makes other of demo, another model\."):
        patched(made, trust, tmp_path / "there", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    wish = wanted(other, "tar", made / "keys", tmp_path / "new.tar", version="2.0.0")
    before = verified_old(made / "bundle-1.0.0.tar", wish, now=NOW)
    with pytest.raises(BundleError, match=r"bundle-1\.0\.0\.tar is demo, and .* is other\."):
        create_delta(made / "bundle-1.0.0.tar", before, created)


def test_a_delta_starts_from_an_older_verified_bundle_only(made: Path, tmp_path: Path) -> None:
    artifact = make_artifact(tmp_path / "artifact", tiny_model())

    def refusal(old: Path, output: Path, version: str = "1.2.0") -> EdgekitError:
        with pytest.raises(EdgekitError) as failure:
            verified_old(old, wanted(artifact, "tar", made / "keys", output, version=version), now=NOW)
        return failure.value

    old = made / "bundle-1.1.0.tar"
    assert refusal(old, tmp_path / "new", "1.1.0").message.endswith("is version 1.1.0, and 1.1.0 is not newer.")
    assert "'one'" in refusal(old, tmp_path / "new", "one").message
    assert "Give --output another name" in refusal(old, made / "../" / made.name / old.name).hint
    (tmp_path / "damaged").write_bytes(flipped(old.read_bytes(), 700))
    assert isinstance(refusal(tmp_path / "damaged", tmp_path / "new"), IntegrityError)


def test_a_bomb_ends_at_the_limit(made: Path, trust: Trust, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limit = 2**23
    (tmp_path / "zeros").write_bytes(bytes(2 * limit))
    subprocess.run(["zstd", "-q", str(tmp_path / "zeros"), "-o", str(tmp_path / "bomb")], check=True)
    assert (tmp_path / "bomb").stat().st_size < 5000
    monkeypatch.setattr(types, "MAX_BUNDLE_BYTES", limit)
    with pytest.raises(IntegrityError, match=r"The delta makes more than 8,388,608 bytes of the old bundle\."):
        patched(made, trust, tmp_path / "bomb", tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bomb", "zeros"]


def test_a_full_disk_is_an_error(made: Path) -> None:
    with pytest.raises(BundleError, match=r"/dev/full cannot be written: No space left on device\."):
        apply_delta(made / "bundle-1.0.0.tar", made / "delta", Path("/dev/full"))


def test_what_is_no_file_and_a_missing_zstd_are_errors(
    made: Path, trust: Trust, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(BundleError, match=r"missing is no file\."):
        patched(made, trust, tmp_path / "missing", tmp_path / "out")
    with pytest.raises(BundleError, match=r"is a folder\."):
        patched(made, trust, made / "delta", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BundleError, match="zstd is not on this machine") as failure:
        patched(made, trust, made / "delta", tmp_path / "out")
    assert "apt install zstd" in failure.value.hint
    assert not list(tmp_path.iterdir())

"""Input that is wrong, damaged or hostile: a clear error with its exit code, never a crash, a hang or a traceback."""

import os
import random
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import IO

import numpy as np
import pytest
from numpy.lib import format as npy

from edgekit.agent.runtime import Model, ModelRefused
from edgekit.artifact import Artifact
from edgekit.cli import cli
from edgekit.cli.failures import guarded
from edgekit.documents import read_toml
from edgekit.errors import DataError, EdgekitError, IntegrityError, ModelError, ProjectError
from edgekit.inspection import inspect
from edgekit.predict import read_sample
from edgekit.project import Project, load_project
from edgekit_converters import errors as converter_errors
from edgekit_converters.calibration import open_dataset
from edgekit_converters.flatbuffer import read, write
from edgekit_converters.types import TensorSpec
from tests.artifacts import make_artifact

pytestmark = pytest.mark.unit
HUGE = (25 * 10**9,)
"""100 GB of float32."""


def write_header(stream: IO[bytes], shape: tuple[int, ...]) -> None:
    npy.write_array_header_1_0(stream, {"descr": "<f4", "fortran_order": False, "shape": shape})


def bomb(path: Path, shape: tuple[int, ...]) -> Path:
    """A file of some hundred bytes that declares ``shape``."""
    if path.suffix == ".npy":
        with path.open("wb") as stream:
            write_header(stream, shape)
    else:
        with zipfile.ZipFile(path, "w") as archive, archive.open("x.npy", "w") as stream:
            write_header(stream, shape)
    return path


@pytest.mark.parametrize("name", ["a.npz", "a.npy"])
@pytest.mark.parametrize("shape", [HUGE, (1, *HUGE), (10**18, 0), (-1, 4)])
def test_a_declared_size_is_not_believed(tmp_path: Path, name: str, shape: tuple[int, ...]) -> None:
    path = bomb(tmp_path / name, shape)
    with pytest.raises(DataError, match=r"more than the \d+ bytes that are there"):
        read_sample(path, ["input"])
    with pytest.raises(converter_errors.DataError, match=r"more than the \d+ bytes that are there"):
        open_dataset(name, (TensorSpec(name="input", shape=(1, 4), dtype="float32"),), base=tmp_path)


def test_a_sample_never_asks_for_pickle(tmp_path: Path) -> None:
    np.savez(tmp_path / "pickled.npz", x=np.array([{}], dtype=object))
    (tmp_path / "long.npy").write_bytes(b"\x93NUMPY\x01\x00" + (60000).to_bytes(2, "little") + b"(" * 60000)
    for name in ("pickled.npz", "long.npy"):
        with pytest.raises(DataError) as caught:
            read_sample(tmp_path / name, ["input"])
        assert "allow_pickle" not in str(caught.value)


def test_a_single_array_called_x_is_the_only_input(tmp_path: Path) -> None:
    np.savez(tmp_path / "one.npz", x=np.arange(3.0))
    assert read_sample(tmp_path / "one.npz", ["input"])["input"].tolist() == [0, 1, 2]
    with pytest.raises(DataError, match="has x; the model also takes a, b"):
        read_sample(tmp_path / "one.npz", ["a", "b"])


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import sys\ndef data():\n    sys.exit()", "failed: SystemExit"),
        ("import sys\nsys.exit()", "cannot be imported: SystemExit"),
        ("1 / 0", "cannot be imported: ZeroDivisionError"),
    ],
)
def test_a_users_function_cannot_end_edgekit(tmp_path: Path, code: str, message: str) -> None:
    module = f"hostile_{abs(hash(code))}"
    (tmp_path / f"{module}.py").write_text(code)
    inputs = (TensorSpec(name="input", shape=(1, 4), dtype="float32"),)
    with pytest.raises(converter_errors.DataError, match=message):
        list(open_dataset(f"{module}:data", inputs, base=tmp_path).samples())


def test_values_that_float32_cannot_hold_become_infinite_without_a_warning(tmp_path: Path) -> None:
    np.save(tmp_path / "large.npy", np.full((2, 4), 1e300))
    inputs = (TensorSpec(name="input", shape=(1, 4), dtype="float32"),)
    samples = list(open_dataset("large.npy", inputs, base=tmp_path).samples())
    assert np.isinf(samples[0].inputs["input"]).all()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x=" + "[" * 100_000, "nested too deeply"),
        ('[model]\npath = "a\\u0000b"', "model.path: Expected `str` matching"),
        ('[model]\npath = ""', "model.path: Expected `str` matching"),
        ('[model]\npath = "m.h5"\nbatch = 99999999999999999999', "model.batch: .*65535"),
        ("[input.a]\nrange = [nan, inf]", "input.*: Expected range"),
        ("[input.a]\nrange = [1.0, 0.0]", r"Expected range \[smallest, largest\], got \[1.0, 0.0\]"),
        ("[input.a.preprocessing]\nresize = [1000000, 1000000]", "resize.*<= 8192"),
    ],
)
def test_a_project_that_cannot_be(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "edgekit.toml").write_text(text)
    with pytest.raises(ProjectError, match=message):
        load_project(tmp_path)


def test_a_table_that_is_a_number(tmp_path: Path) -> None:
    path = tmp_path / "pyproject.toml"
    for text in ("tool = 3", "[tool]\nedgekit = 3"):
        path.write_text(text)
        with pytest.raises(ProjectError, match="Expected `object`, got `int`"):
            read_toml(path, Project, ProjectError, table=("tool", "edgekit"))


@pytest.fixture
def artifact(cases: Path, tmp_path: Path) -> Artifact:
    model = (cases / "models" / "tflm" / "hello_world_int8.tflite").read_bytes()
    return make_artifact(tmp_path / "artifact", model)


def _link(path: Path) -> None:
    path.rename(path.parent.parent / path.name)
    path.symlink_to(path.parent.parent / path.name)


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: _link(folder / "manifest.json"),
        lambda folder: _link(folder / "model.tflite"),
        lambda folder: _link(folder / "golden"),
        lambda folder: os.mkfifo(folder / "pipe"),
        lambda folder: (folder / "link").symlink_to("/etc"),
    ],
    ids=["manifest", "model", "golden", "pipe", "link"],
)
@pytest.mark.parametrize("command", ["inspect", "run", "bench", "deploy"])
def test_links_and_pipes_in_an_artifact_are_refused_everywhere(
    artifact: Artifact, change: Callable[[Path], None], command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEKIT_LOCAL_ROOT", str(tmp_path / "root"))
    change(artifact.path)
    np.save(tmp_path / "sample.npy", np.zeros(1))
    arguments = {"run": [str(tmp_path / "sample.npy")], "deploy": ["--device", "local"]}.get(command, [])
    assert guarded(cli, [command, str(artifact.path), *arguments]) == IntegrityError.exit_code


def mutated(data: bytes, seed: int) -> bytes:
    """The file with one to five numbers changed, mostly in its tables: half of each such word is zero."""
    generator, changed = random.Random(seed), bytearray(data)
    tables = [at for at in range(8, len(data) - 4) if data[at : at + 4].count(0) >= 2]
    for _ in range(generator.choice([1, 2, 5])):
        at = generator.choice(tables)
        number = generator.choice([0, 1, 0xFFFFFFFF, 0x7FFFFFFF, generator.randrange(1000)])
        changed[at : at + 4] = number.to_bytes(4, "little")
    return bytes(changed)


@pytest.mark.parametrize("name", ["tflm/hello_world_float.tflite", "tflite_ref/kws_hybrid_named_float32.tflite"])
def test_inspect_survives_any_change_of_a_file(cases: Path, tmp_path: Path, name: str) -> None:
    data, path = (cases / "models" / name).read_bytes(), tmp_path / "m.tflite"
    refusals = []
    for seed in range(150):
        path.write_bytes(mutated(data, seed))
        try:
            precise = inspect(path).structure.macs
        except ModelError as err:
            refusals.append(err.message)
        else:
            assert precise is None or precise >= 0
    assert len(refusals) > 10
    assert all("damaged" in message for message in refusals)


def test_a_path_is_shown_as_it_is(cases: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "[red]$(x) [" / "m.tflite"
    path.parent.mkdir()
    path.write_bytes((cases / "models" / "tflm" / "hello_world_int8.tflite").read_bytes())
    assert guarded(cli, ["inspect", str(path)]) == 0
    assert "[red]$(x) [/m.tflite" in capsys.readouterr().out.replace("\n", "")


@pytest.mark.parametrize("delegate", ["xnnpack", "none"])
def test_a_signature_that_points_at_no_tensor_is_refused(cases: Path, delegate: str) -> None:
    model = read((cases / "models" / "tflm" / "hello_world_int8.tflite").read_bytes())
    model.signatureDefs[0].inputs[0].tensorIndex = 1000
    with pytest.raises(ModelRefused, match="tensor"):
        Model(write(model), delegate)


def test_a_refused_model_is_explained_briefly(cases: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "sample.npy", np.zeros((96, 96, 1)))
    model = cases / "models" / "negative" / "person_detect_old_bias_dim.tflite"
    assert guarded(cli, ["run", str(model), str(tmp_path / "sample.npy")]) == EdgekitError.exit_code
    error = capsys.readouterr().err
    assert "quantized_dimension must be in range" in error
    assert len(error) < 1000


@pytest.mark.parametrize(
    ("failure", "message"),
    [
        (MemoryError(), "This machine ran out of memory."),
        (OSError(28, "No space left on device", "/tmp/x"), "No space left on device: /tmp/x."),
        (OSError(28, "No space left on device"), "No space left on device."),
    ],
)
def test_the_machine_is_blamed_for_its_own_limits(
    failure: Exception, message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_path: Path) -> None:
        raise failure

    monkeypatch.setattr("edgekit.inspection.inspect", fail)
    assert guarded(cli, ["inspect", "m.tflite"]) == 1
    error = capsys.readouterr().err
    assert f" {message}\n" in error
    assert "defect" not in error

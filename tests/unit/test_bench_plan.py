"""Options and a model -> the agent's request."""

import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.bench.plan import (
    BenchOptions,
    configurations,
    parse_cpu_mask,
    parse_threads,
    payload,
    read_subject,
    request,
)
from edgekit.device import Device, DeviceTable
from edgekit.errors import ArtifactError, ModelError

pytestmark = pytest.mark.unit


def test_threads() -> None:
    assert parse_threads("1,2,4") == (1, 2, 4)


@pytest.mark.parametrize("text", ["", "0", "1,", "1,1", "one", "-1", "1 2", "99999"])
def test_threads_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no list of different thread counts such as 1,2,4"):
        parse_threads(text)


@given(st.sets(st.integers(0, 1023), min_size=1))
def test_cpu_mask(cpus: set[int]) -> None:
    mask = sum(1 << cpu for cpu in cpus)
    assert parse_cpu_mask(f"{mask:x}") == parse_cpu_mask(f"0x{mask:X}") == tuple(sorted(cpus))


@pytest.mark.parametrize("text", ["", "0", "0x", "g", "-1", "1,2", "1" + "0" * 300])
def test_cpu_mask_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no hexadecimal CPU mask such as f0"):
        parse_cpu_mask(text)


def test_bare_model(tmp_path: Path) -> None:
    data = b"\0\0\0\0TFL3" + bytes(100)
    (tmp_path / "small.tflite").write_bytes(data)
    subject = read_subject(tmp_path / "small.tflite")
    assert subject.name == "small"
    assert subject.artifact_digest is None
    options = BenchOptions(num_threads=(1, 2), delegate="none")
    both = configurations(subject, options, Device(name="d", transport="ssh"))
    asked = request(both, options, root="/r")
    digest = hashlib.sha256(data).hexdigest()
    assert asked["files"] == [{"sha256": digest, "bytes": len(data)}]
    one = {"model": digest, "inputs": {}, "delegate": "none", "delegate_options": {}, "num_threads": 1}
    assert asked["configurations"] == [one, {**one, "num_threads": 2}]
    assert payload(both) == {digest: tmp_path / "small.tflite"}


def test_what_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "model.keras").write_bytes(b"PK\3\4 and more")
    with pytest.raises(ModelError, match=r"model\.keras is no TFLite model: it does not carry the identifier TFL3"):
        read_subject(tmp_path / "model.keras")
    with pytest.raises(ModelError, match=r"missing\.tflite cannot be read: No such file"):
        read_subject(tmp_path / "missing.tflite")
    with pytest.raises(ModelError, match="/dev/zero is no file"):
        read_subject(Path("/dev/zero"))
    with pytest.raises(ArtifactError, match=r"holds no manifest\.json"):
        read_subject(tmp_path)


def test_delegate_of_option_then_device_then_model(tmp_path: Path) -> None:
    (tmp_path / "m.tflite").write_bytes(b"\0\0\0\0TFL3")
    subject = read_subject(tmp_path / "m.tflite")
    plain = Device(name="d", transport="ssh")
    coral = Device(name="d", transport="ssh", table=DeviceTable(delegate="/lib/libedgetpu.so.1"))
    asked = ((BenchOptions(), plain), (BenchOptions(), coral), (BenchOptions(delegate="none"), coral))
    found = [configurations(subject, options, device)[0].delegate for options, device in asked]
    assert found == ["xnnpack", "/lib/libedgetpu.so.1", "none"]

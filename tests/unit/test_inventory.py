"""Adding and removing devices keeps what else is in the file."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.device import DeviceTable, list_devices, resolve_device
from edgekit.errors import DeviceConfigError
from edgekit.inventory import add_device, remove_device

pytestmark = pytest.mark.unit

HAND_WRITTEN = """\
# the boards of the garage
[device.camera]
host = "10.0.0.4"  # static lease
groups = ["door"]

# [device.old] was given away
"""


def inventory(folder: Path) -> Path:
    path = folder / "device_configs" / "devices.toml"
    path.parent.mkdir(exist_ok=True)
    return path


def test_add_then_remove_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    path = inventory(tmp_path)
    path.write_text(HAND_WRITTEN)
    table = DeviceTable(host="10.0.0.5", user="pi", port=2222, target="rpi4", groups=("door", "new"))
    add_device("gate", table, path, tmp_path)
    for line in HAND_WRITTEN.splitlines():
        assert line in path.read_text().splitlines()
    assert resolve_device("gate", tmp_path).table == table
    remove_device("gate", tmp_path)
    assert path.read_text().split() == HAND_WRITTEN.split()


def test_only_what_differs_from_the_defaults_is_written(tmp_path: Path) -> None:
    add_device("gate", DeviceTable(host="10.0.0.5"), inventory(tmp_path), tmp_path)
    assert inventory(tmp_path).read_text() == '[device.gate]\nhost = "10.0.0.5"\n'


def test_the_last_device_takes_its_file_along(tmp_path: Path) -> None:
    add_device("gate", DeviceTable(), inventory(tmp_path), tmp_path)
    assert [device.name for device in list_devices(tmp_path)] == ["gate"]
    remove_device("gate", tmp_path)
    assert not inventory(tmp_path).exists()


def test_comments_outlive_the_last_device(tmp_path: Path) -> None:
    inventory(tmp_path).write_text('# the boards of the garage\n\n[device.camera]\nhost = "10.0.0.4"\n')
    remove_device("camera", tmp_path)
    assert "# the boards of the garage" in inventory(tmp_path).read_text()
    assert list_devices(tmp_path) == ()
    add_device("gate", DeviceTable(), inventory(tmp_path), tmp_path)
    assert [device.name for device in list_devices(tmp_path)] == ["gate"]


def test_names_that_are_taken_or_impossible_are_refused(tmp_path: Path) -> None:
    path = inventory(tmp_path)
    path.write_text(HAND_WRITTEN)
    with pytest.raises(DeviceConfigError, match=r"already, in .*devices\.toml") as caught:
        add_device("camera", DeviceTable(), path, tmp_path)
    assert "edgekit device remove camera" in caught.value.hint
    for name in ("local", "-x", "a/b", ""):
        with pytest.raises(DeviceConfigError, match="cannot be the name"):
            add_device(name, DeviceTable(), path, tmp_path)
    with pytest.raises(DeviceConfigError, match="no device 'camara'") as caught:
        remove_device("camara", tmp_path)
    assert "camera" in caught.value.hint
    with pytest.raises(DeviceConfigError, match="nothing to remove"):
        remove_device("local", tmp_path)
    assert path.read_text() == HAND_WRITTEN


def test_a_damaged_file_is_not_touched(tmp_path: Path) -> None:
    path = inventory(tmp_path)
    path.write_text("[device.camera\n")
    with pytest.raises(DeviceConfigError, match="not valid TOML"):
        add_device("gate", DeviceTable(), path, tmp_path)
    assert path.read_text() == "[device.camera\n"


@settings(max_examples=25)
@given(st.dictionaries(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,9}", fullmatch=True).filter(lambda n: n != "local"),
                       st.text(max_size=20), min_size=1, max_size=4))  # fmt: skip
def test_whatever_is_added_can_be_read_and_removed(
    tmp_path_factory: pytest.TempPathFactory, devices: dict[str, str]
) -> None:
    folder = tmp_path_factory.mktemp("inventory")
    for name, host in devices.items():
        add_device(name, DeviceTable(host=host), inventory(folder), folder)
    assert {device.name: device.table.host for device in list_devices(folder)} == devices
    for name in devices:
        remove_device(name, folder)
    assert list_devices(folder) == ()

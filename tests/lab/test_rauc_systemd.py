"""The slots' units under a real systemd: the application starts in time to be asked, and RAUC after the answer."""

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from edgekit.project import Deploy
from tests.bundles import make_bundle, make_keys, tiny_artifact
from tests.lab.clients import rauc
from tests.lab.clients.power import BOOT, power_on
from tests.lab.clients.rauc import RaucDevice
from tests.lab.machine import LabUnavailable, require

pytestmark = pytest.mark.lab
MACHINE = Path(__file__).parent / "inside/systemd-machine.sh"
SYSTEMD, SERVICE = Path("/lib/systemd/systemd"), Path("/lib/systemd/system/rauc.service")
CGROUPS = Path("/sys/fs/cgroup")
UNITS = {
    "test.target": "[Unit]\nWants=edgekit-slot.service camera.service rauc.service scenario.service\n",
    "dbus.socket": "[Socket]\nListenStream=/run/dbus/system_bus_socket\n",
    "dbus.service": "[Service]\nExecStart=dbus-daemon --config-file={folder}/bus.conf --address=systemd: --nofork\n",
    **{f"{unit}.service.d/lab.conf": "[Service]\n{logged}" for unit in ("edgekit-slot", "edgekit-mark-good", "rauc")},
    "camera.service": """\
[Unit]
After=edgekit-slot.service
Requires=edgekit-slot.service
PartOf=edgekit-slot.service
StartLimitIntervalSec=0
[Service]
ExecStart=sh -c 'echo $$(readlink {folder}/run/current) >{folder}/camera; exec sleep infinity'
""",
    "scenario.service": """\
[Unit]
SuccessAction=exit-force
FailureAction=exit-force
[Service]
Type=oneshot
ExecStart=sh -x {folder}/scenario
{logged}""",
}
LOGGED = "Environment=EDGEKIT_PYTHON={python}\nStandardOutput=append:{folder}/log\nStandardError=append:{folder}/log\n"
SCENARIO = """\
set -eu
for bundle in {good} {ill}; do
    systemctl start rauc.service
    rauc --conf {folder}/etc/system.conf install $bundle
    systemctl restart edgekit-slot.service rauc.service
    echo "camera: $(cat {folder}/camera); failed: $(systemctl --failed --plain --no-legend | cut -d' ' -f1)"
    rauc --conf {folder}/etc/system.conf status | grep 'Booted from'
done
"""


def test_the_application_is_asked_when_it_can_answer_and_rauc_knows_what_came_of_it(tmp_path: Path) -> None:
    keys, artifact = make_keys(tmp_path / "keys", now=datetime.now(UTC)), tiny_artifact(tmp_path / "artifact")
    device_folder = tmp_path / "device"
    device_folder.mkdir()
    sees = f'test "$(cat {device_folder}/camera)" -ef "$EDGEKIT_PATH/.."'
    bundles = {
        name: make_bundle(
            tmp_path / name, "rauc", keys=keys, artifact=artifact, version=version, now=datetime.now(UTC),
            settings=rauc.SETTINGS,
            deploy=Deploy(on_activate="systemctl restart camera", health_check=check, health_timeout_s=timeout_s),
        ).path
        for name, version, check, timeout_s in (("good", "1.0.0", sees, 30.0), ("ill", "1.1.0", "false", 0.1))
    }  # fmt: skip
    try:
        with rauc.client(device_folder, keys) as device, _control_groups() as hierarchies:
            _write_units(device)
            (device_folder / "scenario").write_text(SCENARIO.format(folder=device_folder, **bundles))
            log = _boot(device, hierarchies)
            assert device.states() == {"primary": "B", "A": "bad", "B": "good"}
    except LabUnavailable as err:
        pytest.skip(f"systemd: {err}")
    run = device_folder / "run"
    first, second = (line for line in log.splitlines() if line.startswith("camera: "))
    assert first == f"camera: {run}/B; failed: "
    assert second == f"camera: {run}/B; failed: edgekit-mark-good.service"
    assert log.count("Booted from: model.1 (B)") == 2
    assert log.index("slot B is active") < log.index("running on_activate") < log.index("slot B is good")
    assert log.index("slot A is active") < log.index("slot B is active again")


def _write_units(device: RaucDevice) -> None:
    folder = device.folder / "units"
    logged = LOGGED.format(folder=device.folder, python=sys.executable)
    shutil.copy(SERVICE, folder)
    for name, text in UNITS.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text.format(folder=device.folder, logged=logged))


@contextmanager
def _control_groups() -> Iterator[list[Path]]:
    """The hierarchies that systemd needs, with a group in each for one device."""
    require(["unshare", "dbus-daemon"])
    if not (SYSTEMD.exists() and SERVICE.exists()):
        raise LabUnavailable("no systemd, or no rauc.service: install tests/lab/packages.txt")
    unified = (CGROUPS / "cgroup.controllers").exists()
    hierarchies = [CGROUPS] if unified else [CGROUPS / "unified", CGROUPS / "systemd"]
    groups = [hierarchy / f"edgekit-lab-{os.getpid()}" for hierarchy in hierarchies]
    try:
        for group in groups:
            group.mkdir()
    except OSError as err:
        raise LabUnavailable(f"no control groups: {err}") from err
    try:
        yield hierarchies
    finally:
        for group in groups:
            for folder in [*sorted((path for path in group.rglob("*") if path.is_dir()), reverse=True), group]:
                folder.rmdir()


def _boot(device: RaucDevice, hierarchies: list[Path]) -> str:
    """What the units of the device said until one of them ended it."""
    joined = "".join(f"echo $$ >{path}/edgekit-lab-{os.getpid()}/cgroup.procs; " for path in hierarchies)
    done = power_on(
        ["sh", MACHINE],
        environment={
            "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin",
            "UNITS": str(device.folder / "units"),
            "HIERARCHIES": " ".join(map(str, hierarchies)),
        },
        boot=["sh", "-c", f'{joined}exec "$@"', "sh", *BOOT, "--cgroup", "--uts", "--ipc"],
    )
    log = device.folder / "log"
    said = log.read_text() if log.exists() else ""
    assert done.accepted, f"{done.output[-2000:]}\n---\n{said[-4000:]}"
    return said

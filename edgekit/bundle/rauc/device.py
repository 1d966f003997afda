"""The device's side of RAUC: two model slots, the program that switches between them, and their configuration."""

from collections.abc import Mapping
from importlib.resources import files

from edgekit.bundle.entries import Release
from edgekit.bundle.rauc.manifest import SLOT_CLASS
from edgekit.bundle.rauc.settings import Settings, compatible, read_settings
from edgekit.bundle.types import DeviceFiles
from edgekit.errors import BundleError
from edgekit.keys.trust import ca_pem
from edgekit.keys.types import Trust

SYSTEM_CONF = """\
# Written by `edgekit bundle device-files` for RAUC.
[system]
compatible={compatible}
bootloader=custom
mountprefix={run}/rauc
statusfile={root}/slots/rauc.status
bundle-formats={formats}
{floor}
[keyring]
path={configuration}/edgekit-ca.pem
check-purpose=codesign

[handlers]
bootloader-custom-backend={program}
post-install={program}

[slot.{slot_class}.0]
device={slot_a}
type=ext4
bootname=A

[slot.{slot_class}.1]
device={slot_b}
type=ext4
bootname=B
"""
SLOT_SERVICE = """\
[Unit]
Description=Model slot: an unproven release is checked, a failing one is left for the one before
Documentation=man:rauc(1)
RequiresMountsFor={root}
Wants={units} edgekit-mark-good.service
After={units}
Before=rauc.service

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart={program} start

[Install]
WantedBy=multi-user.target
"""
MARK_GOOD_SERVICE = """\
# Not before the application: on_activate may start it, and the health check asks it.
[Unit]
Description=Model slot: a release is marked good once the application is healthy with it, or left for the one before
Documentation=man:rauc(1)
RequiresMountsFor={root}
Requires=edgekit-slot.service
After=edgekit-slot.service
Before=rauc.service

[Service]
Type=oneshot
ExecStart={program} mark-good
"""
RAUC_SERVICE = """\
# RAUC is told at its start which slot is in use: that must be decided.
[Unit]
Wants=edgekit-slot.service
After=edgekit-slot.service edgekit-mark-good.service

[Service]
ExecStart=
ExecStart={program} service
"""
UNITS = "etc/systemd/system"


def device_files(release: Release, trust: Trust, settings: Mapping[str, str]) -> DeviceFiles:
    """system.conf, the keyring, the slots' program, its unit and RAUC's; raises BundleError for a wrong setting."""
    read = read_settings(settings)
    values = _values(release, read)
    values["floor"] = f"min-bundle-version={release.version}\n" if read.keeps_floor else ""
    program = files(__package__).joinpath("edgekit-slot.sh").read_text()
    for name in ("slot_a", "slot_b", "root", "compatible", "run", "configuration"):
        program = program.replace(f"@{name}@", values[name])
    others = {
        f"{read.configuration[1:]}/system.conf": SYSTEM_CONF.format_map(values).encode(),
        f"{read.configuration[1:]}/edgekit-ca.pem": ca_pem(trust),
        f"{UNITS}/edgekit-slot.service": SLOT_SERVICE.format_map(values).encode(),
        f"{UNITS}/edgekit-mark-good.service": MARK_GOOD_SERVICE.format_map(values).encode(),
        f"{UNITS}/rauc.service.d/edgekit.conf": RAUC_SERVICE.format_map(values).encode(),
    }
    if any(f"{path}/".startswith(f"{read.program[1:]}/") for path in others):
        raise BundleError(
            f"program={read.program} is where another of the device's files goes.",
            hint="Choose another path for it, such as /usr/lib/edgekit/edgekit-slot.",
        )
    return DeviceFiles(
        files={**others, read.program[1:]: program.encode()},
        executable=(read.program[1:],),
        notes=_notes(release, read),
    )


def _values(release: Release, settings: Settings) -> dict[str, str]:
    return {
        "compatible": compatible(release),
        "formats": settings.format,
        "slot_a": settings.slot_a,
        "slot_b": settings.slot_b,
        "configuration": settings.configuration,
        "program": settings.program,
        "root": release.installation.root,
        "slot_class": SLOT_CLASS,
        "units": " ".join(_device_unit(path) for path in (settings.slot_a, settings.slot_b)),
        "run": settings.run,
    }


def _device_unit(path: str) -> str:
    """What systemd calls a block device: ``systemd-escape --path``."""
    return path[1:].replace("-", r"\x2d").replace("/", "-") + ".device"


def _notes(release: Release, settings: Settings) -> tuple[str, ...]:
    floor = (
        f"RAUC itself refuses releases before {release.version} (min-bundle-version); raise it with your next image."
        if settings.keeps_floor
        else f"RAUC {settings.rauc} is taken not to know min-bundle-version: it installs an older release into the "
        "other slot, which then is refused there, below the floor in the model's state, and marked bad."
    )
    return (
        f"Make two partitions of equal size, {settings.slot_a} and {settings.slot_b}; RAUC formats them (ext4).",
        f"Keep {release.installation.root} on a partition that no update touches: the floor and the slots' state.",
        "Run: systemctl daemon-reload && systemctl enable --now edgekit-slot.service",
        f"Applications read {settings.run}/current/artifact and have After= and PartOf=edgekit-slot.service.",
        "Of a release that is taken back they are told by on_activate alone, such as: systemctl restart camera.service",
        "After `rauc install BUNDLE` restart the device, or run: systemctl restart edgekit-slot.service rauc.service",
        floor,
    )

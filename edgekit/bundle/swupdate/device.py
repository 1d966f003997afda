"""The device's side of SWUpdate: whom it trusts, what it is, and the floor below which it installs nothing."""

from collections.abc import Mapping
from importlib.resources import files

from edgekit.bundle.entries import Release
from edgekit.bundle.swupdate.description import Description, split_board
from edgekit.bundle.swupdate.settings import read_settings
from edgekit.bundle.types import DeviceFiles
from edgekit.keys.trust import ca_pem
from edgekit.keys.types import Trust

CONFIGURATION = """\
# Written by `edgekit bundle device-files` for SWUpdate.
globals :
{{
	public-key-file = "/etc/edgekit/ca.crt";
	cert-purpose = "codeSigning";
	forced-signer-name = "{signer}";
	no-downgrading = "{version}";
	loglevel = 3;
}};
"""
DAEMON = """\
# Sourced by /usr/lib/swupdate/swupdate.sh, with which SWUpdate's service starts: the floor and the slot to fill.
# hawkBit's server comes before this file, such as in 40-hawkbit; suricatta waits until it is told that it may begin.
trap '' PIPE # or SWUpdate dies where suricatta has hung up, after 0.1 s without an answer; systemd does the same
SWUPDATE_ARGS="$SWUPDATE_ARGS $(/usr/sbin/edgekit-swupdate arguments)"
if [ -n "$SWUPDATE_SURICATTA_ARGS" ]; then
  SWUPDATE_SURICATTA_ARGS="$SWUPDATE_SURICATTA_ARGS -d"
  /usr/sbin/edgekit-swupdate follow $$ &
fi
"""
SERVICE = """\
# After an update edgekit-swupdate ends SWUpdate, which starts again with the new floor and the other slot.
[Service]
Restart=always
RestartSec=1
"""
PROGRAM = "usr/sbin/edgekit-swupdate"


def device_files(release: Release, trust: Trust, settings: Mapping[str, str]) -> DeviceFiles:
    """swupdate.cfg, the CA, /etc/hwrevision, and a program that gives SWUpdate floor and slot; raises BundleError."""
    said = read_settings(release, settings)
    board = split_board(release.hardware[0])
    program = files(__package__).joinpath("edgekit-swupdate.sh").read_text()
    values = {"root": said.root, "model": said.name, "mode": "directory" if said.slots is None else "ab"}
    for name, value in values.items():
        program = program.replace(f"@{name}@", value)
    configuration = CONFIGURATION.format(signer=_signer(trust), version=release.version)
    return DeviceFiles(
        files={
            "etc/swupdate.cfg": configuration.encode(),
            "etc/edgekit/ca.crt": ca_pem(trust),
            "etc/hwrevision": f"{board.name} {board.revision or '1'}\n".encode(),
            "etc/swupdate/conf.d/50-edgekit": DAEMON.encode(),
            "etc/systemd/system/swupdate.service.d/50-edgekit.conf": SERVICE.encode(),
            f"{said.root[1:]}/target": f"{release.target}\n".encode(),
            PROGRAM: program.encode(),
        },
        executable=(PROGRAM,),
        notes=_notes(release, said),
    )


def _signer(trust: Trust) -> str:
    """Common name of the certificate that signs a .swu: other keys below the same CA are for other formats."""
    from cryptography.x509.oid import NameOID

    from edgekit.keys.trust import read_certificate

    return str(read_certificate(trust, "cms").subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)


def _notes(release: Release, said: Description) -> tuple[str, ...]:
    common = (
        "A device needs these files, once, and Python with what the release's requirements.txt names.",
        f"Set the board's revision in /etc/hwrevision; releases for {', '.join(release.hardware)} are installed.",
        f"Keep {said.root} on a partition that updates do not touch: the floor is there.",
        "Install by hand with: edgekit-swupdate install FILE.swu",
    )
    if said.slots is None:
        return (*common, f"Applications read {said.root}/models/{said.name}/current.")
    folder, a, b = f"{said.root}/slots/{said.name}", said.slots.a, said.slots.b
    mounted = "ext4 ro,nosuid,nodev,nofail 0 0"
    return (
        *common,
        f"Make two partitions for {a} and {b}; SWUpdate formats them (ext4).",
        f"Add two lines to /etc/fstab: {a} {folder}/a {mounted}",
        f"and: {b} {folder}/b {mounted}",
        f"Applications read {folder}/current/release/artifact; postupdatecmd in /etc/swupdate.cfg may restart them.",
        "Restart SWUpdate's service after an update, so that it fills the other slot next time; hawkBit's do that.",
    )

"""What a device needs once: update module, inventory, the key that artifacts must be signed with, what it is itself."""

from collections.abc import Mapping
from importlib.resources import files

from edgekit.bundle.entries import Hardware, Release
from edgekit.bundle.mender.header import MODULE, version_key
from edgekit.bundle.types import DeviceFiles
from edgekit.documents import convert, write_json
from edgekit.errors import BundleError
from edgekit.keys.types import Trust

SETTINGS: Mapping[str, str] = {
    "device-type": "device files: what the device calls itself; default the release's first --hardware",
    "server": "device files: URL of Mender's server; default https://hosted.mender.io",
}
SERVER = "https://hosted.mender.io"
PROGRAM = f"usr/share/mender/modules/v3/{MODULE}"
INVENTORY = "usr/share/mender/inventory/mender-inventory-provides"
KEY = "etc/mender/artifact-verify-key.pem"


def public_key(trust: Trust) -> bytes:
    """SubjectPublicKeyInfo in PEM of the ``mender`` certificate; raises IntegrityError where there is none."""
    from edgekit.keys.certificates import public_pem
    from edgekit.keys.trust import read_certificate

    return public_pem(read_certificate(trust, "mender"))


def device_files(release: Release, trust: Trust, settings: Mapping[str, str]) -> DeviceFiles:
    """mender.conf with the key, the device's type, its first artifact's name, the update module and the inventory.

    Raises BundleError for a device type that no release can be for, IntegrityError without a certificate.
    """
    device = convert(settings.get("device-type") or release.hardware[0], Hardware, BundleError, where="device-type")
    configuration = {"ArtifactVerifyKey": f"/{KEY}", "ServerURL": settings.get("server") or SERVER}
    return DeviceFiles(
        files={
            PROGRAM: files(__package__).joinpath("edgekit-module.sh").read_bytes(),
            INVENTORY: files(__package__).joinpath("inventory.sh").read_bytes(),
            KEY: public_key(trust),
            "etc/mender/mender.conf": write_json(configuration),
            "etc/mender/artifact_info": b"artifact_name=unknown\n",
            "var/lib/mender/device_type": f"device_type={device}\n".encode(),
        },
        executable=(PROGRAM, INVENTORY),
        notes=(
            "A mender.conf that is there already stays: add ArtifactVerifyKey; without it unsigned ones are installed.",
            "So do device_type, what the device is, and artifact_info, what its software is called before any update.",
            "A server asks for /usr/share/mender/identity/mender-device-identity, which Debian's client comes without.",
            "Add to mender.conf what else the server needs: TenantToken; ServerCertificate where its CA is your own.",
            "It needs Python with what requirements.txt of the release names; /etc/default/edgekit: EDGEKIT_PYTHON.",
            f"Keep {release.installation.root} and /var/lib/mender on a partition that updates do not touch.",
            f"By hand: mender install FILE, mender commit. mender show-provides then has {version_key(release)}.",
        ),
    )

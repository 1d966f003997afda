"""Eclipse hawkBit: software module, distribution set and a rollout in three groups, and a script that uploads them.

Source: hawkBit's management API v1, https://eclipse.dev/hawkbit/rest-api/mgmt.html. Devices poll it with SWUpdate's
suricatta or with rauc-hawkbit-updater.
"""

from collections.abc import Mapping
from types import MappingProxyType

from edgekit.bundle.entries import Format
from edgekit.bundle.rollout.types import RolloutRequest, script
from edgekit.documents import write_json

FORMATS: tuple[Format, ...] = ("swupdate", "rauc")
SETTINGS: Mapping[str, str] = MappingProxyType(
    {
        "targets": "the devices, in hawkBit's query language (default: controllerId==*)",
        "vendor": "of the software module (default: edgekit)",
        "module-type": "key of the software module's type (default: application)",
        "set-type": "key of the distribution set's type (default: app)",
    }
)
NEXT = "HAWKBIT_URL=... HAWKBIT_USER=... HAWKBIT_PASSWORD=... python3 {folder}/upload.py {bundle}"
GROUPS = (("canary", 5, 100, 1), ("early", 25, 95, 5), ("all", 100, 95, 5))
"""Name, per cent of the devices that are left, per cent that must succeed for the next group, per cent of errors that
pause the rollout."""


def files(request: RolloutRequest) -> Mapping[str, bytes]:
    """The three documents that are posted, in the order in which the script posts them."""
    release, settings = request.release, request.settings
    module = {
        "name": release.name,
        "version": release.version,
        "type": settings.get("module-type", "application"),
        "vendor": settings.get("vendor", "edgekit"),
        "description": f"{release.name} for {release.target}, sha256 {request.sha256}",
    }
    collection = {
        "name": release.name,
        "version": release.version,
        "type": settings.get("set-type", "app"),
        "description": f"Artifact {release.artifact}",
    }
    rollout = {
        "name": f"{release.name}-{release.version}",
        "targetFilterQuery": settings.get("targets", "controllerId==*"),
        "type": "forced",
        "groups": [_group(*group) for group in GROUPS],
    }
    return {
        "softwaremodule.json": write_json(module),
        "distributionset.json": write_json(collection),
        "rollout.json": write_json(rollout),
        "upload.py": script("hawkbit_upload.py"),
    }


def _group(name: str, share: int, success: int, errors: int) -> dict[str, object]:
    return {
        "name": name,
        "description": f"{share} % of the devices that are left",
        "targetPercentage": share,
        "successCondition": {"condition": "THRESHOLD", "expression": str(success)},
        "successAction": {"action": "NEXTGROUP", "expression": ""},
        "errorCondition": {"condition": "THRESHOLD", "expression": str(errors)},
        "errorAction": {"action": "PAUSE", "expression": ""},
    }

"""Mender's server: the body of a deployment, and a script that uploads the artifact and creates it.

Source: management API v1 of the deployments service, https://docs.mender.io/api/. The server keeps what a device
reports; the device itself checks the signature and rolls back.
"""

from collections.abc import Mapping
from types import MappingProxyType

from edgekit.bundle.entries import Format
from edgekit.bundle.rollout.types import RolloutRequest, script
from edgekit.documents import write_json

FORMATS: tuple[Format, ...] = ("mender",)
SETTINGS: Mapping[str, str] = MappingProxyType({})
NEXT = "MENDER_TOKEN=... sh {folder}/upload.sh {bundle} GROUP"


def files(request: RolloutRequest) -> Mapping[str, bytes]:
    """``artifact_name`` must be the one inside the artifact: the server finds it by that."""
    name = f"{request.release.name}-{request.release.version}"
    return {
        "deployment.json": write_json({"name": name, "artifact_name": name, "retries": 2}),
        "upload.sh": script("mender_upload.sh"),
    }

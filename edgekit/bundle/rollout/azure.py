"""Azure Device Update for IoT Hub: the import manifest, and the script that its agent runs.

Source: import manifest schema 5.0, https://learn.microsoft.com/azure/iot-hub-device-update/import-schema; the script
handler ``microsoft/script:1`` and its result codes, https://github.com/Azure/iot-hub-device-update.
"""

import base64
import hashlib
import re
from collections.abc import Mapping
from datetime import UTC
from types import MappingProxyType

from edgekit.bundle.entries import Format
from edgekit.bundle.rollout.types import RolloutRequest, script
from edgekit.documents import write_json
from edgekit.errors import BundleError

FORMATS: tuple[Format, ...] = ("swupdate", "tar")
SETTINGS: Mapping[str, str] = MappingProxyType(
    {
        "provider": "who makes the update: letters, digits, '.' and '-' (must be given)",
        "manufacturer": "of the devices, as their agents report it (must be given)",
    }
)
WORD = re.compile(r"[A-Za-z0-9.-]{1,64}")
SCRIPT = "edgekit-device-update.sh"
MAX_COMPATIBLE = 10
"""Entries of ``compatibility`` (import schema, "Compatibility")."""
NEXT = "import the manifest of {folder} with the script beside it and {bundle}: the portal, or `az iot du update stage`"


def files(request: RolloutRequest) -> Mapping[str, bytes]:
    """``NAME-VERSION.importmanifest.json`` and the script, both to be imported together with the bundle."""
    release = request.release
    if "-" in release.version:
        raise BundleError(
            f"Device Update knows numbers only, and the version is {release.version}.",
            hint="Create the bundle with a version without a pre-release part.",
        )
    if len(release.hardware) > MAX_COMPATIBLE:
        raise BundleError(
            f"A manifest of Device Update names {MAX_COMPATIBLE} kinds of devices, and the release is for "
            f"{len(release.hardware)}.",
            hint=f"Create a bundle for at most {MAX_COMPATIBLE}: edgekit bundle create --hardware ...",
        )
    name = re.sub(r"[^A-Za-z0-9.-]", "-", release.name)
    data = script("azure_device_update.sh")
    arguments = f"--bundle {request.file} --format {request.format} --name {release.name}"
    manifest = {
        "updateId": {"provider": _word(request.settings, "provider"), "name": name, "version": release.version},
        "description": f"{release.name} {release.version} for {release.target}",
        "compatibility": [
            {"manufacturer": _word(request.settings, "manufacturer"), "model": hardware}
            for hardware in release.hardware
        ],
        "instructions": {
            "steps": [
                {
                    "description": "install and self-test",
                    "handler": "microsoft/script:1",
                    "files": [SCRIPT, request.file],
                    "handlerProperties": {
                        "scriptFileName": SCRIPT,
                        "installedCriteria": release.version,
                        "arguments": f"{arguments} --root {release.installation.root}",
                    },
                }
            ]
        },
        "files": [
            _file(request.file, request.size, bytes.fromhex(request.sha256)),
            _file(SCRIPT, len(data), hashlib.sha256(data).digest()),
        ],
        "createdDateTime": request.now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "manifestVersion": "5.0",
    }
    return {f"{name}-{release.version}.importmanifest.json": write_json(manifest), SCRIPT: data}


def _word(settings: Mapping[str, str], name: str) -> str:
    value = settings.get(name, "")
    if not WORD.fullmatch(value):
        found = repr(value) if value else "nothing"
        raise BundleError(
            f"{name}: found {found}, expected letters, digits, '.' and '-', 64 at most.",
            hint=f"Give it with --setting {name}=...; it is {SETTINGS[name]}.",
        )
    return value


def _file(name: str, size: int, digest: bytes) -> dict[str, object]:
    return {"filename": name, "sizeInBytes": size, "hashes": {"sha256": base64.b64encode(digest).decode()}}

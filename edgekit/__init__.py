"""edgekit: from a trained model to a working, measured, signed deployment on a small device.

The names below are the public API; each is imported when it is first used, so that ``import edgekit`` stays light.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgekit.artifact import Artifact, read_artifact
    from edgekit.audit import audit
    from edgekit.bench import BenchmarkReport, bench
    from edgekit.build import build
    from edgekit.deploy import Deployment, deploy, rollback
    from edgekit.device import Device, list_devices, resolve_device
    from edgekit.errors import EdgekitError
    from edgekit.evaluate import evaluate
    from edgekit.plan import BuildOptions, BuildPlan, plan
    from edgekit.project import Project, load_project
    from edgekit.target import Target, list_targets, load_target
    from edgekit.transport import connect

_MODULES = {
    "Artifact": "artifact",
    "BenchmarkReport": "bench",
    "BuildOptions": "plan",
    "BuildPlan": "plan",
    "Deployment": "deploy",
    "Device": "device",
    "EdgekitError": "errors",
    "Project": "project",
    "Target": "target",
    "audit": "audit",
    "bench": "bench",
    "build": "build",
    "connect": "transport",
    "deploy": "deploy",
    "evaluate": "evaluate",
    "list_devices": "device",
    "list_targets": "target",
    "load_project": "project",
    "load_target": "target",
    "plan": "plan",
    "read_artifact": "artifact",
    "resolve_device": "device",
    "rollback": "deploy",
}

__all__ = [
    "Artifact",
    "BenchmarkReport",
    "BuildOptions",
    "BuildPlan",
    "Deployment",
    "Device",
    "EdgekitError",
    "Project",
    "Target",
    "audit",
    "bench",
    "build",
    "connect",
    "deploy",
    "evaluate",
    "list_devices",
    "list_targets",
    "load_project",
    "load_target",
    "plan",
    "read_artifact",
    "resolve_device",
    "rollback",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(f"edgekit.{_MODULES[name]}"), name)
    raise AttributeError(f"module 'edgekit' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)

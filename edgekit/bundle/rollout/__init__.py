"""The files that a fleet's server takes beside a bundle: one module a system, in the table below."""

from collections.abc import Mapping
from importlib import import_module
from types import MappingProxyType
from typing import cast

from edgekit.bundle.rollout.types import RolloutRequest, System
from edgekit.errors import BundleError

SYSTEMS: Mapping[str, str] = MappingProxyType(
    {"hawkbit": "hawkbit", "mender": "mender", "azure": "azure", "balena": "balena"}
)
"""Name, as `--for` takes it -> module of this package."""


def rollout_files(name: str, request: RolloutRequest) -> Mapping[str, bytes]:
    """File name -> contents of everything that the system ``name`` needs beside the bundle.

    Raises BundleError for a format that the system cannot install, and for settings that it does not know or that are
    missing.
    """
    system = cast("System", import_module(f"edgekit.bundle.rollout.{SYSTEMS[name]}"))
    if request.format not in system.FORMATS:
        raise BundleError(
            f"{name} does not install bundles of the format {request.format}.",
            hint=f"Create one with --format {' or '.join(system.FORMATS)}.",
        )
    unknown = sorted(set(request.settings) - set(system.SETTINGS))
    if unknown:
        known = "; ".join(f"{key}: {meaning}" for key, meaning in system.SETTINGS.items())
        raise BundleError(f"{name} has no setting {', '.join(unknown)}.", hint=f"It has {known}.")
    return system.files(request)

"""The files that a fleet's server takes beside a bundle: one module a system, in the table below."""

import hashlib
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import cast

from edgekit.bundle.folders import write_folder
from edgekit.bundle.rollout.types import RolloutRequest, System
from edgekit.bundle.verify import Policy, Verified, read_bundle, verify_bundle, verify_bytes
from edgekit.errors import BundleError
from edgekit.keys.types import Trust

SYSTEMS: Mapping[str, str] = MappingProxyType(
    {"hawkbit": "hawkbit", "mender": "mender", "azure": "azure", "balena": "balena"}
)
"""Name, as `--for` takes it -> module of this package."""
PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+~-]{0,99}")
"""A file name that servers and the scripts' command lines take as it is."""


def rollout_files(name: str, request: RolloutRequest) -> Mapping[str, bytes]:
    """File name -> contents of everything that the system ``name`` needs beside the bundle.

    Raises BundleError for a format that the system cannot install, and for settings that it does not know or that are
    missing.
    """
    system = _load(name)
    if request.format not in system.FORMATS:
        raise BundleError(
            f"{name} does not install bundles of the format {request.format}.",
            hint=f"Create one with --format {' or '.join(system.FORMATS)}.",
        )
    if not PLAIN.fullmatch(request.file):
        raise BundleError(
            f"{request.file!r} is a name that not every server takes.",
            hint="Rename the bundle: letters, digits, '.', '_', '+', '~' and '-', 100 at most.",
        )
    unknown = sorted(set(request.settings) - set(system.SETTINGS))
    if unknown:
        known = "; ".join(f"{key}: {meaning}" for key, meaning in system.SETTINGS.items())
        raise BundleError(f"{name} has no setting {', '.join(unknown)}.", hint=f"It has {known or 'none'}.")
    return system.files(request)


@dataclass(frozen=True, kw_only=True)
class Rollout:
    """What was written beside a bundle."""

    system: str
    folder: Path
    files: tuple[str, ...]
    """Relative to the folder."""
    following: str
    """What to do with them."""
    verified: Verified


def write_rollout(
    bundle: Path, system: str, trust: Trust, settings: Mapping[str, str], folder: Path, now: datetime
) -> Rollout:
    """Verify ``bundle`` and write the files of ``system`` into ``folder``, whole or not at all.

    Raises IntegrityError for a bundle that is refused, BundleError as ``rollout_files`` and where ``folder`` holds
    something or cannot be written.
    """
    verified = verify_bundle(bundle, trust, Policy(now=now), with_tool=False)
    data = read_bundle(bundle)
    accepted = verify_bytes(data, trust, Policy(now=now))  # these bytes: the file may be another one by now
    files = rollout_files(
        system,
        RolloutRequest(
            file=bundle.name,
            format=accepted.format,
            sha256=hashlib.sha256(data).hexdigest(),
            size=len(data),
            release=accepted.tree.release,
            tree=accepted.tree.files,
            settings=settings,
            now=now,
        ),
    )
    write_folder(folder, files)
    return Rollout(
        system=system,
        folder=folder,
        files=tuple(sorted(files)),
        following=_load(system).NEXT.format(folder=shlex.quote(str(folder)), bundle=shlex.quote(str(bundle))),
        verified=verified,
    )


def _load(name: str) -> System:
    return cast("System", import_module(f"edgekit.bundle.rollout.{SYSTEMS[name]}"))

"""Every real update client of the lab under one signature: what its bundles are made with, and how a device is had."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

from edgekit.bundle.entries import Format, Release
from tests.lab.clients.apt import apt
from tests.lab.clients.mender import mender
from tests.lab.clients.plain import plain
from tests.lab.clients.rauc import SETTINGS as PLAIN_RAUC
from tests.lab.clients.rauc import client as rauc
from tests.lab.clients.swupdate import SETTINGS as SWUPDATE_MODES
from tests.lab.clients.swupdate import swupdate
from tests.lab.clients.types import Client

Open = Callable[[Path, Path, Release], AbstractContextManager[Client]]
"""(an empty folder, keys, a release like those to come) -> the device."""


@dataclass(frozen=True, kw_only=True)
class Lab:
    """One kind of device."""

    format: Format
    settings: Mapping[str, str] = field(default_factory=dict)
    """Of the bundles that it installs."""
    open: Open


DEVICES: Mapping[str, Lab] = {
    "tar": Lab(format="tar", open=plain),
    "deb": Lab(format="deb", open=lambda folder, _keys, release: apt(folder, model=release.name)),
    "swupdate": Lab(format="swupdate", settings=SWUPDATE_MODES["directory"], open=swupdate),
    "swupdate A/B": Lab(
        format="swupdate",
        settings=SWUPDATE_MODES["ab"],
        open=lambda folder, keys, release: swupdate(folder, keys, release, mode="ab"),
    ),
    "rauc": Lab(
        format="rauc",
        settings=PLAIN_RAUC,
        open=lambda folder, keys, release: rauc(folder, keys, hardware=release.hardware[0]),
    ),
    "mender": Lab(format="mender", open=mender),
}
"""Name of a column -> the device."""

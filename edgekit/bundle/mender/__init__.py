"""Mender artifacts of format 3: the release as the one payload of an update module ``edgekit``, with a health check.

::

    version  manifest  manifest.sig  header.tar  data/0000.tar      a tar of them
    header.tar      header-info, scripts/ArtifactCommit_Enter_00_edgekit, headers/0000/type-info
    data/0000.tar   release.tar, the tree

The manifest has the sha256 of every other part, and ``manifest.sig`` signs it. Nothing is compressed, so that deltas
are small. https://github.com/mendersoftware/mender-artifact/blob/master/Documentation/artifact-format-v3.md
"""

from edgekit.bundle.mender.device import device_files
from edgekit.bundle.mender.envelope import SETTINGS, SUFFIX, check, create, open_envelope

__all__ = ["SETTINGS", "SUFFIX", "check", "create", "device_files", "open_envelope"]

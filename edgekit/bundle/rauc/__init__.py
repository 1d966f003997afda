"""RAUC bundles: the release as a tar for a slot of class ``model``, made by ``rauc bundle``, checked to the last byte.

A bundle is a SquashFS image, in the verity format the hash tree over it, a CMS signature and its length (8 bytes, big
endian). https://rauc.readthedocs.io/en/latest/reference.html#bundle-formats
"""

from edgekit.bundle.rauc.device import device_files
from edgekit.bundle.rauc.envelope import SUFFIX, check, create, open_envelope
from edgekit.bundle.rauc.settings import SETTINGS

__all__ = ["SETTINGS", "SUFFIX", "check", "create", "device_files", "open_envelope"]

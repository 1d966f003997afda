"""SWUpdate (https://swupdate.org): a .swu by swugenerator, for a folder or for two slots, checked to the last byte.

sw-description holds the sha256 of every file and is signed (CMS). cpio's headers are covered by nothing, so they are
written again canonically; the signature holds the time at which OpenSSL made it, so two .swu of one release differ in
that, and nowhere else.
"""

from edgekit.bundle.swupdate.device import device_files
from edgekit.bundle.swupdate.envelope import SUFFIX, check, create, open_envelope
from edgekit.bundle.swupdate.settings import SETTINGS

__all__ = ["SETTINGS", "SUFFIX", "check", "create", "device_files", "open_envelope"]

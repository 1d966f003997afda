"""Keys by purpose: every one is a leaf certificate below one CA, so that chain, purpose and expiry are one check."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Purpose = Literal["release", "cms", "mender", "mcuboot"]
"""``release``: DSSE over the tree. ``cms``: SWUpdate and RAUC. The others are each ecosystem's own."""
Algorithm = Literal["ed25519", "p256", "rsa"]
ALGORITHMS: dict[Purpose, tuple[Algorithm, ...]] = {
    "release": ("ed25519", "p256", "rsa"),
    "cms": ("p256", "rsa"),
    "mender": ("p256", "rsa"),
    "mcuboot": ("p256", "ed25519", "rsa"),
}
"""What each purpose takes, the default first."""
PRIVATE = "private"
"""Folder of NAME.key, PKCS#8 PEM, mode 0600; mender's RSA key is PKCS#1."""
PUBLIC = "public"
"""Folder of ca.crt, NAME.crt and NAME.pub (SubjectPublicKeyInfo PEM): all that a verifier needs."""


@dataclass(frozen=True, kw_only=True)
class Trust:
    """The public side of a keys folder; ``folder`` holds ca.crt and NAME.crt. Nothing is checked yet."""

    folder: Path

    def certificate(self, purpose: Purpose | Literal["ca"]) -> Path:
        """PEM file of a purpose's certificate; may not exist."""
        return self.folder / f"{purpose}.crt"

    def public_key(self, purpose: Purpose) -> Path:
        """PEM file of a purpose's public key; may not exist."""
        return self.folder / f"{purpose}.pub"

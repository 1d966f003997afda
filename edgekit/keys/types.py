"""Keys by purpose: every one is a leaf certificate below one CA, so that chain, purpose and expiry are one check."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

Purpose = Literal["release", "cms", "mender", "mcuboot"]
"""``release``: DSSE over the tree. ``cms``: SWUpdate and RAUC. The others are each ecosystem's own."""
Algorithm = Literal["ed25519", "p256", "rsa"]
"""``rsa`` has 3072 bits where edgekit makes it; 2048 and more are accepted."""
ALGORITHMS: dict[Purpose, tuple[Algorithm, ...]] = {
    "release": ("ed25519", "p256", "rsa"),
    "cms": ("p256", "rsa"),
    "mender": ("p256", "rsa"),
    "mcuboot": ("p256", "ed25519", "rsa"),
}
"""What each purpose takes, the default first."""
PRIVATE = "private"
"""Folder of NAME.key, PKCS#8 PEM, mode 0600; mender's is PKCS#1 or SEC 1."""
PUBLIC = "public"
"""Folder of ca.crt, NAME.crt and NAME.pub (SubjectPublicKeyInfo PEM): all that a verifier needs."""


UNTRUSTED = "Do not install it. Is --keys the public/ of whoever made it? Then get the bundle anew."
"""What to do where a signature is not by the key that is trusted."""


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


@dataclass(frozen=True, kw_only=True)
class KeyEntry:
    """What anyone may know of one key."""

    purpose: Purpose | Literal["ca"]
    algorithm: Algorithm | None
    """None: another one, as the CA of a PKI of one's own may have."""
    starts: datetime
    """Aware, UTC; valid from here on."""
    expires: datetime
    """Aware, UTC; the last valid second."""
    fingerprint: str
    """SHA-256 of the certificate's DER, 64 hexadecimal digits; as of ``openssl x509 -fingerprint -sha256``."""
    private: bool
    """Whether the folder holds the private key too."""


@dataclass(frozen=True, kw_only=True)
class Keys:
    """A keys folder, as ``edgekit key new`` wrote it or ``edgekit key show`` found it."""

    folder: Path
    keys: tuple[KeyEntry, ...]
    """The CA first, then by purpose."""

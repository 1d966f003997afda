"""ECDSA on P-256 in one form: of the two values of s that are good for the same bytes, the lower one.

Who has a signature (r, s) can write (r, n - s) without the key. Nothing else is signed by it, but it is another file.
"""

ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
"""n of P-256 (SEC 2, 2.4.2)."""


def lower_s(signature: bytes) -> bytes:
    """``signature`` (DER) with the lower s; raises ValueError where it is no signature."""
    from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

    r, s = decode_dss_signature(signature)
    return encode_dss_signature(r, min(s, ORDER - s))

"""Key pairs for DKIM: made, kept as bytes, published as text (RFC 6376 §3.6.1, RFC 8463).

`cryptography` is imported when a key is first needed.
"""

from __future__ import annotations

import base64
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

Algorithm = Literal["rsa-sha256", "ed25519-sha256"]

RSA_BITS = 2048  # RFC 8301 §3.2; a longer one does not fit many DNS panels
_STRING = 255  # octets of one character-string (RFC 1035 §3.3)


class BadKey(ValueError):
    """Bytes that are no private key for the algorithm."""


def make_key(algorithm: Algorithm) -> bytes:
    """A new private key as unencrypted PKCS #8 DER: 48 bytes for Ed25519, about 1.2 kB for RSA.

    An RSA key takes up to half a second of a core.
    """
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

    if algorithm == "ed25519-sha256":
        key = ed25519.Ed25519PrivateKey.generate()
    else:
        key = rsa.generate_private_key(public_exponent=65537, key_size=RSA_BITS)
    return key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


@lru_cache(maxsize=64)
def load_key(private: bytes, algorithm: Algorithm) -> Ed25519PrivateKey | RSAPrivateKey:
    """A private key from PKCS #8 DER. Raises BadKey when it is none of that algorithm, or RSA below 1024 bits."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
    from cryptography.hazmat.primitives.serialization import load_der_private_key

    try:
        key = load_der_private_key(private, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise BadKey("these bytes are no private key") from error
    if algorithm == "ed25519-sha256" and isinstance(key, ed25519.Ed25519PrivateKey):
        return key
    if algorithm == "rsa-sha256" and isinstance(key, rsa.RSAPrivateKey) and key.key_size >= 1024:
        return key
    raise BadKey(f"the key is none for {algorithm}")


def public_value(private: bytes, algorithm: Algorithm) -> str:
    """The TXT value to publish at `<selector>._domainkey.<domain>`, on one line as DNS panels take it.

    Raises BadKey as `load_key` does.
    """
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    public = load_key(private, algorithm).public_key()
    if algorithm == "ed25519-sha256":
        kind, octets = "ed25519", public.public_bytes(Encoding.Raw, PublicFormat.Raw)
    else:
        kind, octets = "rsa", public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return f"v=DKIM1; k={kind}; p={base64.b64encode(octets).decode('ascii')}"


def zone_value(value: str) -> str:
    """A TXT value as zone files take it: strings of at most 255 octets in quotes, which a resolver joins again."""
    strings = [value[start : start + _STRING] for start in range(0, len(value), _STRING)]
    return " ".join('"' + part.replace("\\", "\\\\").replace('"', '\\"') + '"' for part in strings)

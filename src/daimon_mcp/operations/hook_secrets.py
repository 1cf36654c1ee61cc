"""Signing secrets of webhooks, sealed: the database alone gives none away."""

from __future__ import annotations

import os

from daimon_mcp.operations.credentials import Credentials

_NONCE = 12  # octets; random, of a key that encrypts few things
_MOST_KNOWN = 4096


class HookSecrets:
    """Seals and opens them, under a key derived from the master key."""

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials
        self._known: dict[bytes, str] = {}

    def sealed(self, webhook_id: str, secret: str) -> bytes:
        """What the store keeps of a secret."""
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        nonce = os.urandom(_NONCE)
        box = AESGCM(self._credentials.derive("webhooks"))
        return nonce + box.encrypt(nonce, secret.encode(), webhook_id.encode())

    def opened(self, webhook_id: str, sealed: bytes) -> str:
        """What `sealed` was given."""
        known = self._known.get(sealed)
        if known is None:
            from cryptography.hazmat.primitives.ciphers.aead import AESGCM

            box = AESGCM(self._credentials.derive("webhooks"))
            known = box.decrypt(sealed[:_NONCE], sealed[_NONCE:], webhook_id.encode()).decode()
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            self._known[sealed] = known
        return known

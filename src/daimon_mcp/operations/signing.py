"""DKIM signatures on what leaves (RFC 6376), with the keys of the sender's domain.

Private keys are kept encrypted under a key derived from the master key: the database alone gives none away.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from daimon_mcp.domain.changes import Change, DomainsChanged
from daimon_mcp.operations.core import Core
from daimon_mcp.operations.credentials import Credentials
from daimon_mcp.operations.reading import on_parser
from daimon_mcp.store import compiled as sql
from daimon_mcp.store.database import Transaction

if TYPE_CHECKING:
    from daimon_mcp.mail.dkim_keys import Algorithm
    from daimon_mcp.mail.dkim_sign import SigningKey

_NONCE = 12  # octets; random, of a key that encrypts few things


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key pair as it is stored: the private half encrypted, the public one as the TXT value to publish."""

    domain: str
    selector: str
    algorithm: str
    private: bytes
    public: str


class Signing:
    """Makes keys for domains, and signs with them."""

    def __init__(self, core: Core, credentials: Credentials) -> None:
        self._core = core
        self._credentials = credentials
        self._keys: dict[str, tuple[SigningKey, ...]] = {}
        self._version = 0
        core.bus.subscribe(self._heard)

    def _heard(self, change: Change) -> None:
        if isinstance(change, DomainsChanged):
            self._keys.clear()
            self._version += 1

    async def new_keys(self, domain: str, selector: str) -> list[NewKey]:
        """An Ed25519 and an RSA pair for a domain, not stored yet; selectors are `<selector>e` and `<selector>r`."""
        return await asyncio.to_thread(self._new_keys, domain, selector)

    def _new_keys(self, domain: str, selector: str) -> list[NewKey]:
        from daimon_mcp.mail.dkim_keys import make_key, public_value

        wanted: Sequence[tuple[Algorithm, str]] = (
            ("ed25519-sha256", f"{selector}e"),
            ("rsa-sha256", f"{selector}r"),
        )
        made: list[NewKey] = []
        for algorithm, name in wanted:
            private = make_key(algorithm)
            public = public_value(private, algorithm)
            made.append(NewKey(domain, name, algorithm, self._sealed(domain, name, private), public))
        return made

    @staticmethod
    def store(tx: Transaction, keys: Sequence[NewKey], now: int) -> None:
        """Keep new keys, inside a write."""
        for key in keys:
            tx.run(
                sql.dkim_insert,
                domain=key.domain,
                selector=key.selector,
                algorithm=key.algorithm,
                private=key.private,
                public=key.public,
                created_at=now,
            )

    async def signed(self, content: bytes, mail_from: str, at: int) -> bytes:
        """`content` under the signatures of the keys its sender's domain has; itself if there are none.

        `at` (epoch µs) is one moment for all tries of a message, so that each of them sends the same bytes.
        """
        domain = mail_from.rpartition("@")[2].lower()
        keys = await self._of(domain)
        if not keys:
            return content
        from daimon_mcp.mail.dkim_sign import sign

        return await on_parser(lambda: sign(content, keys, now=at) + content, len(content) + _COSTLY)

    async def _of(self, domain: str) -> tuple[SigningKey, ...]:
        known = self._keys.get(domain)
        if known is None:
            version = self._version
            rows = await self._core.database.all(sql.dkim_of_domain, domain=domain)
            known = await asyncio.to_thread(self._opened, domain, rows) if rows else ()
            if version == self._version:  # else these may be old ones already
                self._keys[domain] = known
        return known

    def _opened(self, domain: str, rows: Sequence[tuple[str, str, bytes, str]]) -> tuple[SigningKey, ...]:
        from daimon_mcp.mail.dkim_sign import SigningKey

        return tuple(
            SigningKey(domain, selector, _algorithm(algorithm), self._unsealed(domain, selector, private))
            for selector, algorithm, private, _ in rows
        )

    def _sealed(self, domain: str, selector: str, private: bytes) -> bytes:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        nonce = os.urandom(_NONCE)
        return nonce + AESGCM(self._credentials.derive("dkim")).encrypt(nonce, private, f"{domain}|{selector}".encode())

    def _unsealed(self, domain: str, selector: str, sealed: bytes) -> bytes:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        box = AESGCM(self._credentials.derive("dkim"))
        return box.decrypt(sealed[:_NONCE], sealed[_NONCE:], f"{domain}|{selector}".encode())


_COSTLY = 1 << 16  # signing costs as much as reading this much: never on the event loop


def _algorithm(text: str) -> Algorithm:
    return "ed25519-sha256" if text == "ed25519-sha256" else "rsa-sha256"

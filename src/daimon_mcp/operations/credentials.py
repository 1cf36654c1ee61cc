"""Keys, derived passwords, the operator's passcode, signed links.

Keys are random and stored as SHA-256. Passwords that must be shown again are derived from a master key that lies
outside the database, with a version that rotation raises. The operator's passcode is stored as scrypt.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from daimon_mcp.domain.accounts import AccountStatus, Actor
from daimon_mcp.domain.clock import MINUTE, SECOND
from daimon_mcp.domain.ids import new_id
from daimon_mcp.domain.refusals import RefusalCode, Refused
from daimon_mcp.domain.tiers import Tier
from daimon_mcp.operations.auditing import note_operator
from daimon_mcp.operations.core import Core
from daimon_mcp.store import accounts as rows
from daimon_mcp.store import compiled as sql
from daimon_mcp.store.database import Transaction

PERMISSIONS = frozenset(
    {
        "message_read", "message_send", "message_reply", "message_update", "message_delete", "message_ingest",
        "draft_read", "draft_write", "list_read", "list_write",
        "inbox_read", "inbox_create", "inbox_update", "inbox_delete", "account_read", "account_upgrade",
        "credentials_read", "credentials_write", "key_read", "key_write", "domain_read", "domain_write",
        "event_read", "webhook_read", "webhook_write",
    }
)  # fmt: skip

_MASTER_BYTES = 32
_CHECK = "master_key_check"
_PASSCODE = "passcode"
_SCRYPT: dict[str, int] = {"n": 1 << 15, "r": 8, "p": 1, "maxmem": 64 << 20}


class WrongMasterKey(Exception):
    """The master key is not the one this store was made with."""


def load_master_key(data_dir: Path, environ: Mapping[str, str]) -> bytes:
    """DAIMON_MASTER_KEY (64 hexadecimal digits) or `master.key` in the data folder, made at first start, 0600."""
    given = environ.get("DAIMON_MASTER_KEY")
    if given:
        try:
            key = bytes.fromhex(given.strip())
        except ValueError:
            key = b""
        if len(key) != _MASTER_BYTES:
            raise WrongMasterKey("DAIMON_MASTER_KEY must be 64 hexadecimal digits (32 bytes)")
        return key
    path = data_dir / "master.key"
    if not path.exists():
        temporary = path.with_name(f".master.{secrets.token_hex(4)}")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(_MASTER_BYTES).hex().encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(temporary, path)  # never over a key that is there
        except FileExistsError:
            pass
        finally:
            temporary.unlink()
    try:
        key = bytes.fromhex(path.read_text().strip())
    except ValueError:
        key = b""
    if len(key) != _MASTER_BYTES:
        raise WrongMasterKey(f"{path.name} in the data folder is damaged: it must be 64 hexadecimal digits")
    return key


def hash_key(key: str) -> str:
    """What the store keeps of a key."""
    return hashlib.sha256(key.encode()).hexdigest()


def new_key(tier: Tier) -> str:
    """A fresh API key: 160 random bits behind the prefix of its account's tier."""
    prefix = "dm_free_" if tier is Tier.FREE else "dm_live_"
    return prefix + base64.b32encode(secrets.token_bytes(20)).decode().lower()


class Credentials:
    """Everything that lets somebody in."""

    def __init__(self, core: Core, master_key: bytes) -> None:
        self._core = core
        self._master = master_key
        self._touched: dict[str, int] = {}

    # -- the master key ----------------------------------------------------------------------------------------------

    def derive(self, purpose: str) -> bytes:
        """32 bytes for one purpose, the same each time. HMAC-SHA256 of the master key."""
        return hmac.new(self._master, purpose.encode(), hashlib.sha256).digest()

    async def check_master_key(self) -> None:
        """Raise WrongMasterKey unless this store was made with this key; the first start takes it as its own."""
        mine = self.derive("check").hex()[:16]

        def run(tx: Transaction) -> str:
            row = tx.one(sql.meta_get, key=_CHECK)
            if row is None:
                tx.run(sql.meta_put, key=_CHECK, value=mine)
                return mine
            return str(row[0])

        if not hmac.compare_digest(await self._core.database.write(run), mine):
            raise WrongMasterKey(
                "the master key is not the one this data folder was made with: restore master.key or DAIMON_MASTER_KEY"
            )

    def smtp_password(self, account_id: str, version: int) -> str:
        """The account's SMTP password: derived, so that it can be shown again and the store never holds it."""
        digest = self.derive(f"smtp|{account_id}|{version}")
        return "smtp_secret_" + base64.b32encode(digest[:20]).decode().lower()

    # -- keys --------------------------------------------------------------------------------------------------------

    def issue_key(
        self,
        tx: Transaction,
        *,
        account_no: int,
        tier: Tier,
        inbox_no: int | None = None,
        name: str = "",
        permissions: frozenset[str] | None = None,
        expires_at: int | None = None,
    ) -> tuple[str, str]:
        """Make a key inside a write; its id and the key itself, which is shown once."""
        now = self._core.clock.now()
        key = new_key(tier)
        key_id = new_id("key", now)
        rows.insert_key(
            tx,
            id=key_id,
            account_no=account_no,
            inbox_no=inbox_no,
            sha256=hash_key(key),
            hint=key[:12],
            name=name,
            permissions=permissions,
            now=now,
            expires_at=expires_at,
        )
        return key_id, key

    async def authenticate(self, key: str, face: str = "") -> Actor:
        """Who holds this key and calls by `face`.

        Raises UNAUTHORIZED (unknown, revoked, expired) or ACCOUNT_SUSPENDED.
        """
        stored = await rows.key_by_hash(self._core.database, hash_key(key)) if key.startswith("dm_") else None
        now = self._core.clock.now()
        if stored is None or (stored.expires_at is not None and stored.expires_at <= now):
            raise Refused(RefusalCode.UNAUTHORIZED)
        if stored.account_status is AccountStatus.SUSPENDED:
            raise Refused(RefusalCode.ACCOUNT_SUSPENDED)
        if self._touched.get(stored.id, stored.last_used_at or 0) + MINUTE < now:
            self._touched[stored.id] = now
            await self._core.database.write(lambda tx: tx.run(sql.key_touch, id=stored.id, now=now))
        return Actor(stored.account_no, stored.account_id, stored.id, stored.inbox_no, stored.permissions, face=face)

    # -- the operator's passcode -------------------------------------------------------------------------------------

    async def has_passcode(self) -> bool:
        """Whether a passcode was ever set."""
        return await self._core.database.one(sql.meta_get, key=_PASSCODE) is not None

    async def set_passcode(self, passcode: str | None = None) -> str:
        """Set the operator's passcode, or make one (about 60 bits, easy to type); the passcode, to be shown once."""
        chosen = passcode or "-".join(_word() for _ in range(4))
        salt = secrets.token_bytes(16)
        digest = await asyncio.to_thread(hashlib.scrypt, chosen.encode(), salt=salt, **_SCRYPT)
        value = f"{salt.hex()}:{digest.hex()}"
        now = self._core.clock.now()

        def run(tx: Transaction) -> None:
            tx.run(sql.meta_put, key=_PASSCODE, value=value)
            note_operator(tx, "set_passcode", None, by="cli", now=now)

        await self._core.database.write(run)
        return chosen

    async def check_passcode(self, passcode: str) -> bool:
        """Whether this is the operator's passcode. The same work whether or not one was ever set."""
        row = await self._core.database.one(sql.meta_get, key=_PASSCODE)
        salt, _, wanted = (str(row[0]) if row else f"{'00' * 16}:").partition(":")
        given = await asyncio.to_thread(hashlib.scrypt, passcode.strip().encode(), salt=bytes.fromhex(salt), **_SCRYPT)
        return hmac.compare_digest(given.hex(), wanted) and row is not None

    # -- signed links ------------------------------------------------------------------------------------------------

    def sign(self, claims: Mapping[str, Any]) -> str:
        """A JWT (HS256) under a key of its own."""
        import jwt

        return jwt.encode(dict(claims), self.derive("links"), algorithm="HS256")

    def verified(self, token: str) -> dict[str, Any]:
        """The claims of a token we signed. Raises LINK_NOT_VALID (reason `FORGED` or `EXPIRED`)."""
        import jwt

        try:
            claims: dict[str, Any] = jwt.decode(  # pyright: ignore[reportUnknownMemberType]
                token,
                self.derive("links"),
                algorithms=["HS256"],
                options={"require": ["exp", "jti"], "verify_exp": False, "verify_iat": False},
            )
        except jwt.InvalidTokenError:
            raise Refused(RefusalCode.LINK_NOT_VALID, reason="FORGED") from None
        if int(claims["exp"]) * SECOND <= self._core.clock.now():
            raise Refused(RefusalCode.LINK_NOT_VALID, reason="EXPIRED")
        return claims


def _word() -> str:
    consonants, vowels = "bdfgklmnprstvz", "aeiou"
    return "".join(secrets.choice(consonants) + secrets.choice(vowels) for _ in range(3))

"""API keys as they are answered."""

from __future__ import annotations

from typing import Literal

from daimon_mcp.faces.rest.shapes.base import Shape, Time


class Key(Shape):
    """A key by its beginning; `permissions` null is all, `inbox` null is the whole account."""

    id: str
    key: str
    name: str
    inbox: str | None
    permissions: list[str] | None
    created_at: Time
    last_used_at: Time | None
    expires_at: Time | None
    status: Literal["active", "revoked", "expired"]


class KeyList(Shape):
    """All keys of the account, oldest first."""

    keys: list[Key]
    total: int


class CreatedKey(Shape):
    """A new key; `api_key` is shown once."""

    id: str
    api_key: str
    name: str
    inbox: str | None
    permissions: list[str] | None
    expires_at: Time | None


class RotatedKey(Shape):
    """A new key in the place of the one it `replaces`, which works until `old_expires_at`; shown once."""

    id: str
    api_key: str
    name: str
    inbox: str | None
    permissions: list[str] | None
    replaces: str
    old_expires_at: Time


class RevokedKey(Shape):
    """A key that works no more."""

    id: str
    status: Literal["revoked"]

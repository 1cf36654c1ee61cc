"""Links by which files are fetched and sent here: anybody may use one who holds it, for a short while, for one file."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from typing import Any

from daimon_mcp.domain.accounts import AccountStatus
from daimon_mcp.domain.clock import MINUTE, SECOND, iso
from daimon_mcp.domain.refusals import RefusalCode, Refused
from daimon_mcp.operations.core import Core
from daimon_mcp.operations.credentials import Credentials
from daimon_mcp.operations.handles import Held
from daimon_mcp.store import accounts, inboxes

LINK_LIFETIME = 15 * MINUTE

_TOKEN = re.compile(r"(att_[0-9a-z]{26})\.([0-9]{1,12})\.([A-Za-z0-9_-]{43})")


class FileLinks:
    """The links of this process: a download link is signed, an upload link is known by its hash (`uploading`)."""

    def __init__(self, core: Core, credentials: Credentials) -> None:
        self._core = core
        self._key = credentials.derive("downloads")
        self._until = 0

    def one_is_open(self) -> bool:
        """Whether somebody may still use a link that this process gave out."""
        return self._until > self._core.clock.now()

    def upload(self, token: str, expires_at: int) -> str:
        """The upload link of a token; its time (epoch µs) counts for `one_is_open`."""
        self._until = max(self._until, expires_at)
        return f"{self._core.public_url}/uploads/{token}"

    def download(self, held: Held) -> dict[str, Any]:
        """`download_url` and `expires_at` of a file; empty where there is nobody to answer."""
        if not self._core.has_http:
            return {}
        expires = (self._core.clock.now() + LINK_LIFETIME) // SECOND
        self._until = max(self._until, expires * SECOND)
        return {
            "download_url": f"{self._core.public_url}/files/{held.id}.{expires}.{self._signature(held.id, expires)}",
            "expires_at": iso(expires * SECOND),
        }

    def _signature(self, public_id: str, expires: int) -> str:
        mac = hmac.new(self._key, f"{public_id}|{expires}".encode(), hashlib.sha256).digest()
        return base64.urlsafe_b64encode(mac).decode().rstrip("=")

    def file_of(self, token: str) -> str:
        """The handle that a download link is for. Raises LINK_NOT_VALID (reason `FILE_UNKNOWN` or `FILE_EXPIRED`)."""
        parts = _TOKEN.fullmatch(token)
        if parts is None or not hmac.compare_digest(parts[3], self._signature(parts[1], int(parts[2]))):
            raise Refused(RefusalCode.LINK_NOT_VALID, reason="FILE_UNKNOWN")
        if int(parts[2]) * SECOND <= self._core.clock.now():
            raise Refused(RefusalCode.LINK_NOT_VALID, reason="FILE_EXPIRED")
        return parts[1]


async def owner_of(core: Core, held: Held) -> int:
    """The number of the account whose file it is. Raises LINK_NOT_VALID when that may not have it any more."""
    account_no = held.account_no
    if held.inbox_no is not None:
        inbox = await inboxes.by_no(core.database, held.inbox_no)
        if inbox is None or inbox.deleted_at is not None:
            raise Refused(RefusalCode.LINK_NOT_VALID, reason="FILE_UNKNOWN")
        account_no = inbox.account_no
    assert account_no is not None
    account = await accounts.account_by_no(core.database, account_no)
    if account.status is not AccountStatus.ACTIVE:
        raise Refused(RefusalCode.LINK_NOT_VALID, reason="FILE_UNKNOWN")
    return account_no

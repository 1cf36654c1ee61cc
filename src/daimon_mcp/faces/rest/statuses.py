"""The HTTP status of every refusal, and which of them any route may come to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from daimon_mcp.domain.refusals import RefusalCode

STATUSES: Final[Mapping[RefusalCode, int]] = {
    RefusalCode.SEND_REQUIRES_PAID: 402,
    RefusalCode.SEND_LIMIT_EXCEEDED: 402,
    RefusalCode.SMTP_REQUIRES_PAID: 402,
    RefusalCode.DOMAIN_REQUIRES_PAID: 402,
    RefusalCode.RATE_LIMIT_EXCEEDED: 429,
    RefusalCode.INBOX_NOT_FOUND: 404,
    RefusalCode.MESSAGE_NOT_FOUND: 404,
    RefusalCode.THREAD_NOT_FOUND: 404,
    RefusalCode.DRAFT_NOT_FOUND: 404,
    RefusalCode.ATTACHMENT_NOT_FOUND: 404,
    RefusalCode.SCHEDULED_NOT_FOUND: 404,
    RefusalCode.APPROVAL_NOT_FOUND: 404,
    RefusalCode.ACCOUNT_NOT_FOUND: 404,
    RefusalCode.KEY_NOT_FOUND: 404,
    RefusalCode.DOMAIN_NOT_FOUND: 404,
    RefusalCode.WEBHOOK_NOT_FOUND: 404,
    RefusalCode.WEBHOOK_DELIVERY_NOT_FOUND: 404,
    RefusalCode.INBOX_ADDRESS_TAKEN: 409,
    RefusalCode.DOMAIN_TAKEN: 409,
    RefusalCode.DOMAIN_IN_USE: 409,
    RefusalCode.IDEMPOTENCY_CONFLICT: 409,
    RefusalCode.DRAFT_ALREADY_SENT: 409,
    RefusalCode.RELAY_NOT_CONFIGURED: 409,
    RefusalCode.UNAUTHORIZED: 401,
    RefusalCode.FORBIDDEN: 403,
    RefusalCode.ACCOUNT_SUSPENDED: 403,
    RefusalCode.INVALID_REQUEST: 422,
    RefusalCode.RECIPIENT_REFUSED: 422,
    RefusalCode.MESSAGE_TOO_LARGE: 413,
    RefusalCode.LINK_NOT_VALID: 410,
    RefusalCode.PASSCODE_WRONG: 403,
    RefusalCode.ROUTE_NOT_FOUND: 404,
    RefusalCode.METHOD_NOT_ALLOWED: 405,
    RefusalCode.STORE_UNAVAILABLE: 503,
    RefusalCode.INTERNAL: 500,
}

USUAL: Final = frozenset(
    {
        RefusalCode.UNAUTHORIZED,
        RefusalCode.FORBIDDEN,
        RefusalCode.ACCOUNT_SUSPENDED,
        RefusalCode.INVALID_REQUEST,
        RefusalCode.MESSAGE_TOO_LARGE,
        RefusalCode.STORE_UNAVAILABLE,
        RefusalCode.INTERNAL,
    }
)
"""What every route may refuse with, whatever it does."""

"""Refusals: understood, and will not be done. A refusal is facts; words are in `prompts/refusals`.

Each face maps a code to its own status (REST), reply line (SMTP) or error result (MCP); a test keeps those maps whole.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

Fact = str | int | float | None


class RefusalCode(StrEnum):
    """What clients see in `error`."""

    SEND_REQUIRES_PAID = "SEND_REQUIRES_PAID"
    SEND_LIMIT_EXCEEDED = "SEND_LIMIT_EXCEEDED"
    SMTP_REQUIRES_PAID = "SMTP_REQUIRES_PAID"
    DOMAIN_REQUIRES_PAID = "DOMAIN_REQUIRES_PAID"
    RATE_LIMIT_EXCEEDED = "RATE_LIMIT_EXCEEDED"
    INBOX_NOT_FOUND = "INBOX_NOT_FOUND"
    MESSAGE_NOT_FOUND = "MESSAGE_NOT_FOUND"
    THREAD_NOT_FOUND = "THREAD_NOT_FOUND"
    DRAFT_NOT_FOUND = "DRAFT_NOT_FOUND"
    ATTACHMENT_NOT_FOUND = "ATTACHMENT_NOT_FOUND"
    SCHEDULED_NOT_FOUND = "SCHEDULED_NOT_FOUND"
    APPROVAL_NOT_FOUND = "APPROVAL_NOT_FOUND"
    ACCOUNT_NOT_FOUND = "ACCOUNT_NOT_FOUND"
    KEY_NOT_FOUND = "KEY_NOT_FOUND"
    DOMAIN_NOT_FOUND = "DOMAIN_NOT_FOUND"
    WEBHOOK_NOT_FOUND = "WEBHOOK_NOT_FOUND"
    WEBHOOK_DELIVERY_NOT_FOUND = "WEBHOOK_DELIVERY_NOT_FOUND"
    INBOX_ADDRESS_TAKEN = "INBOX_ADDRESS_TAKEN"
    DOMAIN_TAKEN = "DOMAIN_TAKEN"
    DOMAIN_IN_USE = "DOMAIN_IN_USE"
    IDEMPOTENCY_CONFLICT = "IDEMPOTENCY_CONFLICT"
    DRAFT_ALREADY_SENT = "DRAFT_ALREADY_SENT"
    UNAUTHORIZED = "UNAUTHORIZED"
    FORBIDDEN = "FORBIDDEN"
    INVALID_REQUEST = "INVALID_REQUEST"
    RECIPIENT_REFUSED = "RECIPIENT_REFUSED"
    MESSAGE_TOO_LARGE = "MESSAGE_TOO_LARGE"
    RELAY_NOT_CONFIGURED = "RELAY_NOT_CONFIGURED"
    ACCOUNT_SUSPENDED = "ACCOUNT_SUSPENDED"
    LINK_NOT_VALID = "LINK_NOT_VALID"
    PASSCODE_WRONG = "PASSCODE_WRONG"
    ROUTE_NOT_FOUND = "ROUTE_NOT_FOUND"
    METHOD_NOT_ALLOWED = "METHOD_NOT_ALLOWED"
    STORE_UNAVAILABLE = "STORE_UNAVAILABLE"
    INTERNAL = "INTERNAL"


@dataclass(frozen=True, slots=True)
class FieldProblem:
    """One input field that was wrong: never the value that was given, but one that would pass."""

    field: str
    problem: str
    example: str | None = None

    def __str__(self) -> str:
        return f"{self.field}: {self.problem}" + (f" (for example {self.example})" if self.example else "")


class Refused(Exception):
    """An operation was understood and refused.

    `reason` narrows the code (`MONTHLY_SEND_QUOTA`); `facts` fill the slots of its text and are ours only, never a
    stranger's words; `target_tier` is set where an operator can lift it, and makes the answer carry an upgrade link.
    """

    def __init__(
        self,
        code: RefusalCode,
        *,
        reason: str | None = None,
        facts: Mapping[str, Fact] | None = None,
        fields: Sequence[FieldProblem] = (),
        retry_after: int | None = None,
        current_usage: Mapping[str, Fact] | None = None,
        target_tier: str | None = None,
        suggestions: Sequence[str] = (),
        details: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(code if reason is None else f"{code} ({reason})")
        self.code = code
        self.reason = reason
        self.facts: dict[str, Fact] = dict(facts or {})
        self.fields = tuple(fields)
        self.retry_after = retry_after
        self.current_usage = dict(current_usage) if current_usage is not None else None
        self.target_tier = target_tier
        self.suggestions = tuple(suggestions)
        self.details = dict(details or {})


def invalid(field: str, problem: str, example: str | None = None) -> Refused:
    """INVALID_REQUEST for one field."""
    return Refused(RefusalCode.INVALID_REQUEST, fields=[FieldProblem(field, problem, example)])

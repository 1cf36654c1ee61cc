"""Events: their names, and how one is told. A payload is the same by webhook, by stream and by pull."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any, Final

import orjson

from daimon_mcp.domain.clock import to_datetime
from daimon_mcp.domain.queue import MessageStatus

EVENTS: Final[Mapping[str, str]] = {
    "message.received": "mail came to an inbox, or was let out of quarantine",
    "message.reply": "mail came that answers a thread the inbox has written to; told beside message.received",
    "message.sent": "the next server took a message; mail inside this server is told as message.delivered alone",
    "message.delivered": "a message reached its recipients, as far as anybody says",
    "message.bounced": "a message was refused for good",
    "message.failed": "a message was given up or cancelled, or nobody knows what became of it",
    "message.complained": "a recipient reported a message as spam",
    "account.upgraded": "the account got a higher tier",
    "account.smtp_abuse_detected": "mail programs of the account did what stolen passwords are used for",
    "approval.granted": "the operator said yes",
    "approval.rejected": "the operator said no",
    "webhook.unhealthy": "a webhook failed several times in a row, or was disabled for it",
    "inbox.created": "an inbox was made",
    "inbox.deleted": "an inbox was deleted",
    "domain.verified": "a domain of the account was verified",
}
"""Every event that can be asked for, with what it means."""

ALL: Final = "*"
TEST: Final = "webhook.test"
"""The event of a test call: nobody can ask for it, and it is in no log."""

MOST_BYTES: Final = 65_536
"""Of a payload: longer texts of mail are cut."""

_ALIASES = {"message.complaint": "message.complained"}
_MESSAGE = "message."
_BY_STATUS = {
    MessageStatus.SENT: "message.sent",
    MessageStatus.DELIVERED: "message.delivered",
    MessageStatus.BOUNCED: "message.bounced",
    MessageStatus.FAILED: "message.failed",
    MessageStatus.OUTCOME_UNKNOWN: "message.failed",
    MessageStatus.CANCELLED: "message.failed",  # by the operator
}
# What is shortened to make a payload fit, and to how much at first: characters, or entries.
_SHORTENED = {"body_text": 16_000, "reply_body": 8_000, "links": 200, "references": 20, "deliveries": 50}


def canonical_event(name: str) -> str | None:
    """The event a caller means; None when there is no such."""
    name = name.strip().lower()
    name = _ALIASES.get(name, name)
    return name if name in EVENTS or name == ALL else None


def near_event(name: str) -> str | None:
    """The event that is spelt nearly so."""
    found = difflib.get_close_matches(name.strip().lower(), [*EVENTS, *_ALIASES], 1, 0.6)
    return _ALIASES.get(found[0], found[0]) if found else None


def is_of_mail(name: str) -> bool:
    """Whether an event tells of mail: who may not read mail is not told it."""
    return name.startswith(_MESSAGE)


def tells_of_mail(names: Iterable[str]) -> bool:
    """Whether any of these events tells of mail; none of them named means all."""
    wanted = list(names)
    return not wanted or any(name == ALL or is_of_mail(name) for name in wanted)


def event_of_status(status: str) -> str | None:
    """What is told when a message came to a status; None for those nobody is told of."""
    return _BY_STATUS.get(MessageStatus(status))


def packed_names(names: Iterable[str]) -> str:
    """Names of events as the store keeps them: each between two spaces, and "" for all."""
    wanted = sorted(set(names))
    return "" if not wanted or ALL in wanted else f" {'  '.join(wanted)} "


def unpacked_names(packed: str) -> list[str]:
    """What `packed_names` made."""
    return packed.split() or [ALL]


def pattern_of(name: str) -> str:
    """What LIKE finds a name by, in names that were packed."""
    return f"% {name} %"


def iso_ms(microseconds: int) -> str:
    """Epoch µs as `2026-11-21T09:00:00.123Z`."""
    return to_datetime(microseconds).strftime("%Y-%m-%dT%H:%M:%S.") + f"{microseconds // 1000 % 1000:03d}Z"


def wire_event(
    *, id: str, type: str, at: int, account_id: str, inbox_id: str | None, data: Mapping[str, Any]
) -> dict[str, Any]:
    """One event as every way of telling shows it; its name stands there twice, for programs know one or the other."""
    return {
        "event": type,
        "type": type,
        "event_id": id,
        "timestamp": iso_ms(at),
        "account_id": account_id,
        "inbox_id": inbox_id,
        "data": dict(data),
    }


def fitted(payload: dict[str, Any]) -> dict[str, Any]:
    """The payload in at most MOST_BYTES of JSON: what is long of its message is cut, and marked `truncated`."""
    size = len(orjson.dumps(payload))
    message = payload["data"].get("message")
    share = 1.0
    while size > MOST_BYTES and message is not None and share > 0.001:
        short = {name: int(most * share) for name, most in _SHORTENED.items()}
        message = {
            name: value[: short[name]] if name in short and value is not None else value
            for name, value in message.items()
            if share > 0.1 or name in _KEPT
        }
        message["truncated"] = True
        payload = {**payload, "data": {**payload["data"], "message": message}}
        size = len(orjson.dumps(payload))
        share /= 2
    return payload


# What a message that is all addresses, codes and names of files is cut down to in the end.
_KEPT = frozenset(
    {"id", "inbox_id", "thread_id", "message_id", "direction", "kind", "from", "from_address", "preview", "body_text",
     "reply_body", "read", "received_at", "sent_at", "delivery_status", "size", "untrusted"}
)  # fmt: skip

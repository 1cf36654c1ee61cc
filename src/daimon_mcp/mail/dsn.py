"""Delivery status notifications, written and read (RFC 3464, RFC 6522)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from email.utils import format_datetime

from daimon_mcp.domain.clock import to_datetime
from daimon_mcp.mail.addresses import Address, BadAddress, header_email
from daimon_mcp.mail.body import Entity, multipart_entity, text_entity
from daimon_mcp.mail.encode import fold, unstructured
from daimon_mcp.mail.headers import Header, decode_header, first, message_ids, raw_text, scan_headers
from daimon_mcp.mail.sanitize import clean_line
from daimon_mcp.mail.structure import Part, analyse
from daimon_mcp.mail.trace import canonical_crlf
from daimon_mcp.mail.transfer import decode_transfer

MAX_ORIGINAL_HEADERS = 64 * 1024
MAX_RECIPIENTS = 1000

_STATUS = re.compile(r"[245]\.\d{1,3}\.\d{1,3}\Z")
_STATUS_IN = re.compile(r"\b([245]\.\d{1,3}\.\d{1,3})\b")
_STATUS_TYPES = frozenset({"message/delivery-status", "message/global-delivery-status"})
_NOT_ASCII = re.compile(r"[^ -~]")


@dataclass(frozen=True, slots=True)
class Failure:
    """One recipient that was not reached. `diagnostic` is what the peer said, `remote` its name ("" for none)."""

    recipient: str
    status: str
    diagnostic: str
    remote: str
    action: str


@dataclass(frozen=True, slots=True)
class Report:
    """A DSN as read: the Message-ID of the original when it is in there, and each recipient."""

    original_message_id: str | None
    failures: tuple[Failure, ...]


def _value(text: str, limit: int) -> str:
    """A stranger's words on one ASCII line for a status field."""
    return _NOT_ASCII.sub("?", clean_line(text))[:limit]


def _recipient(email: str) -> str:
    """`type; address` of a recipient (RFC 3464 §2.3.2; RFC 6533 §3 for an address beyond ASCII)."""
    try:
        safe = header_email(email)
    except BadAddress:
        safe = _value(email, 320)
    if safe.isascii():
        return f"rfc822; {safe}"
    escaped = "".join(c if " " < c < "\x7f" and c not in "+=\\" else f"\\x{{{ord(c):X}}}" for c in safe)
    return f"utf-8; {escaped}"


def build_dsn(
    *,
    reporting_mta: str,
    original: bytes,
    original_message_id: str | None,
    from_: Address,
    to: Address,
    failures: Sequence[Failure],
    arrival: int,
    date: int,
    message_id: str,
    explanation: str,
) -> bytes:
    """A multipart/report: `explanation` for people, the status of every recipient, the original's headers.

    `action` of a failure is `failed` or `delayed`. `arrival` (of the original) and `date` in epoch µs. Send it from the
    null sender. The peer's words are cut at 1,000 characters, the original's headers at 64 KiB.
    Raises BadAddress when `from_` or `to` is no address.
    """
    delayed = all(failure.action == "delayed" for failure in failures)
    fields = [
        fold("From", from_.header()),
        fold("To", to.header()),
        unstructured("Subject", "Delivery delayed" if delayed else "Delivery failed"),
        fold("Date", _date(date)),
        fold("Message-ID", message_id),
        fold("Auto-Submitted", "auto-replied"),
        fold("MIME-Version", "1.0"),
    ]
    references = message_ids((original_message_id or "").encode("ascii", "ignore"))
    if references:
        fields += [fold("In-Reply-To", references[0]), fold("References", references[0])]
    body = multipart_entity(
        "report",
        [text_entity(explanation, "plain"), _status(reporting_mta, failures, arrival), _original_headers(original)],
        seed=message_id,
    )
    kind = body.fields.replace("multipart/report;", "multipart/report; report-type=delivery-status;\r\n", 1)
    return Entity("".join(fields) + kind, body.body).octets()


def _date(microseconds: int) -> str:
    return format_datetime(to_datetime(microseconds).replace(microsecond=0))


def _status(reporting_mta: str, failures: Sequence[Failure], arrival: int) -> Entity:
    blocks = [
        fold("Reporting-MTA", f"dns; {_value(reporting_mta, 255)}") + fold("Arrival-Date", _date(arrival)),
    ]
    for failure in failures:
        status = failure.status if _STATUS.match(failure.status) else "5.0.0"
        block = fold("Final-Recipient", _recipient(failure.recipient))
        block += fold("Action", "delayed" if failure.action == "delayed" else "failed") + fold("Status", status)
        if remote := _value(failure.remote, 255):
            block += fold("Remote-MTA", f"dns; {remote}")
        if diagnostic := _value(failure.diagnostic, 1000):
            block += fold("Diagnostic-Code", f"smtp; {_breakable(diagnostic)}")
        blocks.append(block)
    return Entity(fold("Content-Type", "message/delivery-status"), "\r\n".join(blocks).encode("ascii"))


def _breakable(text: str) -> str:
    """No word over 900 characters, so that folding keeps every line under 998."""
    return " ".join(word[at : at + 900] for word in text.split(" ") for at in range(0, max(1, len(word)), 900))


def _original_headers(original: bytes) -> Entity:
    end = scan_headers(original, 0)[1]
    octets = canonical_crlf(original[: min(end, MAX_ORIGINAL_HEADERS)])
    text = octets.decode("utf-8", "replace").replace("\r\n", "\n")
    return text_entity(text.rstrip("\n"), "rfc822-headers")


def read_dsn(content: bytes) -> Report | None:
    """What a DSN reports, or None when `content` is none. Never raises."""
    root = analyse(content)
    status = next((part for part in root.walk() if part.content_type in _STATUS_TYPES), None)
    if status is None:
        return None
    octets = decode_transfer(content[status.body_start : status.body_end], status.encoding)[0]
    failures: list[Failure] = []
    position = 0
    while position < len(octets) and len(failures) < MAX_RECIPIENTS:
        fields, position_after, _ = scan_headers(octets, position)
        if position_after <= position:
            break
        position = position_after
        failure = _failure(fields)
        if failure is not None:
            failures.append(failure)
    return Report(_original_id(content, root), tuple(failures))


def _typed(fields: Sequence[Header], name: str) -> str:
    """The value of a `type; value` field, one clean line."""
    raw = first(fields, name)
    if raw is None:
        return ""
    text = decode_header(raw)
    kind, separator, value = text.partition(";")
    return clean_line(value if separator and " " not in kind.strip() else text)


def _failure(fields: Sequence[Header]) -> Failure | None:
    recipient = _typed(fields, "final-recipient") or _typed(fields, "original-recipient")
    if not recipient:
        return None
    action = raw_text(first(fields, "action") or b"").lower().partition(" ")[0][:20]
    status = _STATUS_IN.search(raw_text(first(fields, "status") or b""))
    return Failure(
        recipient=recipient.strip("<>")[:320],
        status=status[1] if status else "",
        diagnostic=_typed(fields, "diagnostic-code")[:1000],
        remote=_typed(fields, "remote-mta")[:255],
        action=action,
    )


def _original_id(content: bytes, root: Part) -> str | None:
    """From the returned message or headers, else from what the report itself refers to."""
    for part in root.walk():
        if part.holds_message:
            found = message_ids(first(part.children[0].headers, "message-id"))
        elif part.content_type in {"text/rfc822-headers", "message/global-headers"}:
            octets = decode_transfer(content[part.body_start : part.body_end], part.encoding)[0]
            found = message_ids(first(scan_headers(octets, 0)[0], "message-id"))
        else:
            continue
        if found:
            return found[0]
    for name in ("in-reply-to", "references", "x-failed-message-id"):
        if found := message_ids(first(root.headers, name)):
            return found[-1]
    return None

"""Delivery status notifications, written and read (RFC 3464, RFC 6522), with the parameters of RFC 3461."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
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
from daimon_mcp.mail.xtext import decode, encode

MAX_ORIGINAL_HEADERS = 64 * 1024
MAX_ORIGINAL = 256 * 1024  # returned whole with RET=FULL; of larger mail the header goes back alone
MAX_RECIPIENTS = 1000

_STATUS = re.compile(r"[245]\.\d{1,3}\.\d{1,3}\Z")
_STATUS_IN = re.compile(r"\b([245]\.\d{1,3}\.\d{1,3})\b")
_STATUS_TYPES = frozenset({"message/delivery-status", "message/global-delivery-status"})
_LINE_ENDS = re.compile(rb"[\r\n]*+")
_MAX_STOPS = 5 * MAX_RECIPIENTS  # groups and lines of words in a status body
_ESCAPED = re.compile(r"\\x\{([0-9A-Fa-f]{1,6})\}")
_NOT_ASCII = re.compile(r"[^ -~]")
_TYPE = re.compile(r"[A-Za-z0-9-]{1,40}\Z")


@dataclass(frozen=True, slots=True)
class Failure:
    """What became of the mail for one recipient.

    `diagnostic` is what the peer said, `remote` its name ("" for none). `action` is failed, delayed, delivered,
    relayed or expanded (RFC 3464 §2.3.3). `orcpt` is the recipient as the sender gave it, `type;xtext` (RFC 3461 §4.2),
    "" for none. `retry_until` (epoch µs) is for what is delayed.
    """

    recipient: str
    status: str
    diagnostic: str
    remote: str
    action: str
    orcpt: str = ""
    retry_until: int | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """A DSN as read: the Message-ID of the original when it is in there, and each recipient.

    `envelope_id` is the ENVID that the original was sent with, as text and not as xtext; None without one.
    """

    original_message_id: str | None
    failures: tuple[Failure, ...]
    envelope_id: str | None = None


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
    return f"utf-8; {_escaped(safe)}"


def _escaped(address: str) -> str:
    """An address beyond ASCII in ASCII (RFC 6533 §3)."""
    return "".join(c if " " < c < "\x7f" and c not in "+=\\" else f"\\x{{{ord(c):X}}}" for c in address)


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
    subject: str = "",
    envid: str | None = None,
    ret: str | None = None,
) -> bytes:
    """A multipart/report: `explanation` for people, the status of every recipient, the original or its header.

    `arrival` (of the original) and `date` in epoch µs. `envid` (xtext) and `ret` are the original's (RFC 3461 §4.3,
    §4.4): with `FULL` a report of a failure returns all of a message of up to 256 KiB. Send it from the null sender.
    The peer's words are cut at 1,000 characters, the original's header at 64 KiB. Without a `subject` the report is
    called by what became of the recipients, a failure before all else.
    Raises BadAddress when `from_` or `to` is no address.
    """
    actions = {_action(failure) for failure in failures}
    fields = [
        fold("From", from_.header()),
        fold("To", to.header()),
        unstructured("Subject", subject or _subject(actions)),
        fold("Date", _date(date)),
        fold("Message-ID", message_id),
        fold("Auto-Submitted", "auto-replied"),
        fold("MIME-Version", "1.0"),
    ]
    references = message_ids((original_message_id or "").encode("ascii", "ignore"))
    if references:
        fields += [fold("In-Reply-To", references[0]), fold("References", references[0])]
    # RFC 3461 §4.3: FULL is about failures; all other reports return the header.
    whole = ret == "FULL" and "failed" in actions and len(original) <= MAX_ORIGINAL
    body = multipart_entity(
        "report",
        [
            text_entity(explanation, "plain"),
            _status(reporting_mta, failures, arrival, envid),
            _original(original) if whole else _original_headers(original),
        ],
        seed=message_id,
    )
    kind = body.fields.replace("multipart/report;", "multipart/report; report-type=delivery-status;\r\n", 1)
    if not body.body.isascii():  # a multipart may not be less than what is in it (RFC 2045 §6.4)
        kind += fold("Content-Transfer-Encoding", "8bit")
    return Entity("".join(fields) + kind, body.body).octets()


def _date(microseconds: int) -> str:
    return format_datetime(to_datetime(microseconds).replace(microsecond=0))


_ACTIONS = {"failed": "5.0.0", "delayed": "4.0.0", "delivered": "2.0.0", "relayed": "2.0.0", "expanded": "2.0.0"}


def _action(failure: Failure) -> str:
    return failure.action if failure.action in _ACTIONS else "failed"


def _subject(actions: set[str]) -> str:
    if "failed" in actions:
        return "Delivery failed"
    return "Delivery delayed" if "delayed" in actions else "Delivery successful"


def _status(reporting_mta: str, failures: Sequence[Failure], arrival: int, envid: str | None) -> Entity:
    """The machine's part: a group about the message and one about each recipient (RFC 3464 §2.2, §2.3)."""
    head = fold("Reporting-MTA", f"dns; {_value(reporting_mta, 255)}") + fold("Arrival-Date", _date(arrival))
    if given := _value(decode(envid or "") or "", 400):
        head = fold("Original-Envelope-Id", _breakable(given)) + head
    return Entity(
        fold("Content-Type", "message/delivery-status"),
        "\r\n".join([head, *map(_group, failures)]).encode("ascii"),
    )


def _group(failure: Failure) -> str:
    action = _action(failure)
    group = fold("Original-Recipient", original) if (original := _original_recipient(failure.orcpt)) else ""
    group += fold("Final-Recipient", _recipient(failure.recipient)) + fold("Action", action)
    group += fold("Status", failure.status if _STATUS.match(failure.status) else _ACTIONS[action])
    if remote := _value(failure.remote, 255):
        group += fold("Remote-MTA", f"dns; {remote}")
    if diagnostic := _value(failure.diagnostic, 1000):
        group += fold("Diagnostic-Code", f"smtp; {_breakable(diagnostic)}")
    if action == "delayed" and failure.retry_until is not None:
        group += fold("Will-Retry-Until", _date(failure.retry_until))
    return group


def _original_recipient(orcpt: str) -> str:
    """`type; address` of an ORCPT, which RFC 3461 §5.2.1 wants as it was given; "" for one that is none."""
    kind, separator, encoded = orcpt.partition(";")
    address = decode(encoded)
    if not separator or not address or not _TYPE.match(kind):
        return ""
    if not address.isascii() and kind.lower() == "utf-8":
        address = _escaped(clean_line(address))
    return f"{kind}; {_value(address, 500)}"


def _breakable(text: str) -> str:
    """No word over 900 characters, so that folding keeps every line under 998."""
    return " ".join(word[at : at + 900] for word in text.split(" ") for at in range(0, max(1, len(word)), 900))


def _original_headers(original: bytes) -> Entity:
    end = scan_headers(original, 0)[1]
    octets = canonical_crlf(original[: min(end, MAX_ORIGINAL_HEADERS)])
    text = octets.decode("utf-8", "replace").replace("\r\n", "\n")
    return text_entity(text.rstrip("\n"), "rfc822-headers")


def _original(original: bytes) -> Entity:
    """The whole message that is reported on; one with a header beyond ASCII is message/global (RFC 6532 §3.7)."""
    octets = canonical_crlf(original)
    header = octets[: scan_headers(octets, 0)[1]]
    kind = "message/rfc822" if header.isascii() else "message/global"
    encoding = "7bit" if octets.isascii() else "8bit"
    return Entity(fold("Content-Type", kind) + fold("Content-Transfer-Encoding", encoding), octets)


def own_parts(root: Part) -> Iterator[Part]:
    """`root` and the parts of this message itself: what is in a message that it returns or forwards stays closed."""
    stack = [root]
    while stack:
        part = stack.pop()
        yield part
        if not part.holds_message:
            stack.extend(reversed(part.children))


def status_groups(octets: bytes) -> Iterator[list[Header]]:
    """The groups of fields in a status body (RFC 3464 §2.1), at most MAX_RECIPIENTS, each with fields.

    Lines that are no fields are passed over, and a second Final-Recipient begins a group of its own: some reporters
    write words there, or leave the blank lines out.
    """
    position, count = 0, 0
    for _ in range(_MAX_STOPS):
        position = _LINE_ENDS.match(octets, position).end()  # pyright: ignore[reportOptionalMemberAccess]
        if position >= len(octets) or count >= MAX_RECIPIENTS:
            return
        fields, end, _ = scan_headers(octets, position)
        if end <= position:
            end = octets.find(b"\n", position) + 1 or len(octets)
        position = end
        group: list[Header] = []
        for field in fields:
            if field.name.lower() == "final-recipient" and any(f.name.lower() == "final-recipient" for f in group):
                yield group
                group, count = [], count + 1
                if count >= MAX_RECIPIENTS:
                    return
            group.append(field)
        if group:
            yield group
            count += 1


def read_dsn(content: bytes) -> Report | None:
    """What a DSN reports, or None when `content` is none. Never raises.

    A report inside a message that is attached is that message's own, not this one's.
    """
    root = analyse(content)
    parts = [part for part in own_parts(root) if part.content_type in _STATUS_TYPES]
    if not parts:
        return None
    failures: list[Failure] = []
    envelope_id: str | None = None
    for part in parts:
        octets = decode_transfer(content[part.body_start : part.body_end], part.encoding)[0]
        for fields in status_groups(octets):
            envelope_id = envelope_id or clean_line(decode_header(first(fields, "original-envelope-id") or b"")) or None
            failure = _failure(fields)
            if failure is not None and len(failures) < MAX_RECIPIENTS:
                failures.append(failure)
        if len(failures) >= MAX_RECIPIENTS:
            break
    return Report(original_id(content, root), tuple(failures), envelope_id[:400] if envelope_id else None)


def typed_value(fields: Sequence[Header], name: str) -> str:
    """The value of a `type; value` field, one clean line; "" without one. `name` in lower case."""
    raw = first(fields, name)
    if raw is None:
        return ""
    text = decode_header(raw)
    kind, separator, value = text.partition(";")
    if not separator or " " in kind.strip():
        return clean_line(text)
    if kind.strip().lower() == "utf-8":
        value = _ESCAPED.sub(_unescaped, value)
    return clean_line(value)


def _unescaped(match: re.Match[str]) -> str:
    """A character of an address beyond ASCII (RFC 6533 §3)."""
    number = int(match[1], 16)
    return chr(number) if number <= 0x10FFFF else match[0]


def _failure(fields: Sequence[Header]) -> Failure | None:
    recipient = typed_value(fields, "final-recipient") or typed_value(fields, "original-recipient")
    if not recipient:
        return None
    action = raw_text(first(fields, "action") or b"").lower().partition(" ")[0][:20]
    said = decode_header(first(fields, "status") or b"")
    status = _STATUS_IN.search(said)
    # Words belong into Diagnostic-Code; some write them behind the code, as a comment.
    diagnostic = typed_value(fields, "diagnostic-code") or (said[status.end() :].strip(" ()") if status else "")
    return Failure(
        recipient=recipient.strip("<>")[:320],
        status=status[1] if status else "",
        diagnostic=diagnostic[:1000],
        remote=typed_value(fields, "remote-mta")[:255],
        action=action,
        orcpt=_orcpt(fields),
    )


def _orcpt(fields: Sequence[Header]) -> str:
    """Original-Recipient as an ORCPT parameter has it; "" without one."""
    address = typed_value(fields, "original-recipient")[:500]
    kind = raw_text(first(fields, "original-recipient") or b"").partition(";")[0].strip()
    return f"{kind};{encode(address)}" if address and _TYPE.match(kind) else ""


def original_id(content: bytes, root: Part) -> str | None:
    """The Message-ID of what a report is about: of the message or headers it returns, else what it refers to itself."""
    for part in own_parts(root):
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

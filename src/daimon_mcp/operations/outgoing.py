"""From what a caller asks to send to the mail that would leave: people, threading, bodies, attachments.

The envelope is computed here, in one function, from to, cc and bcc as given: nobody else adds a recipient.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, cast

import orjson
from pydantic import Field, WithJsonSchema

from daimon_mcp.domain.inboxes import Inbox
from daimon_mcp.domain.oversight import Finding
from daimon_mcp.domain.refusals import FieldProblem, RefusalCode, Refused
from daimon_mcp.mail.addresses import Address, BadAddress, parse_address_list
from daimon_mcp.mail.compose import (
    BadHeader,
    Outgoing,
    OutgoingAttachment,
    check_header,
    compose,
    needs_smtputf8,
    new_message_id,
)
from daimon_mcp.operations.core import Core
from daimon_mcp.operations.guarding import inspect_mail
from daimon_mcp.operations.handles import Attachment, File, loaded
from daimon_mcp.operations.reading import understand
from daimon_mcp.operations.requests import People, Request, alias, refuse
from daimon_mcp.store.messages import Content, Person

_MESSAGE_ID = re.compile(r"<?[^\s<>\x00-\x1f\x7f]{1,250}>?")
# What a label cannot be called, because the server says it of messages itself.
_SYSTEM_LABELS = frozenset(
    {"inbox", "sent", "drafts", "unread", "spam", "trash", "scheduled", "unauthenticated", "blocked", "bounced"}
)


# Looked at before anything is parsed: reading addresses costs time that everybody waits for.
MOST_WRITTEN = 200
MOST_CHARACTERS = 20_000
MOST_MARKDOWN = 100_000
MOST_HEADERS = 50


class Composition(Request):
    """The fields every way of sending shares."""

    subject: Annotated[str | None, Field(max_length=900)] = None
    body: Annotated[
        str | None, Field(validation_alias=alias("body", "text", "body_text"), description="Plain text")
    ] = None
    body_html: Annotated[str | None, Field(validation_alias=alias("body_html", "html"))] = None
    cc: People | None = None
    bcc: People | None = None
    attachments: Annotated[
        list[Attachment] | None,
        Field(max_length=50, description="{attachment_id} or {filename, content: base64}"),
        WithJsonSchema({"type": "array", "items": {"type": "object"}}),
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """A composed message and its envelope, ready for the transaction."""

    content: Content
    recipients: tuple[str, ...]
    bcc: tuple[Person, ...]
    fingerprint: str
    smtputf8: bool
    message_id: str
    findings: tuple[Finding, ...] = ()  # what the guard found in it


def people(field: str, value: Any) -> tuple[Address, ...]:
    """Recipients in any of the accepted forms, each mailbox once. Raises INVALID_REQUEST naming the field."""
    if value is None:
        return ()
    several = isinstance(value, list)
    written = (
        sum(len(str(each)) for each in cast("list[object]", value)[: MOST_WRITTEN + 1]) if several else len(str(value))
    )
    if written > MOST_CHARACTERS or (several and len(cast("list[object]", value)) > MOST_WRITTEN):
        raise refuse([FieldProblem(field, f"must be at most {MOST_WRITTEN} addresses", '"ann@example.com"')])
    items = cast("list[str | dict[str, str | None]]", value if several else [value])
    found: dict[str, Address] = {}
    for index, item in enumerate(items):
        place = f"{field}.{index}" if several else field
        for each in _named(place, item) if isinstance(item, dict) else _parsed(place, item):
            found.setdefault(each.email.lower(), each)
    return tuple(found.values())


def _parsed(place: str, text: str) -> list[Address]:
    try:
        parsed = parse_address_list(text)
        for each in parsed:
            each.header()
    except BadAddress:  # one sentence that shows every form says more than which rule was broken
        problem = "must be an email address, Name <address>, or several with commas between"
        raise refuse([FieldProblem(place, problem, '"ann@example.com"')]) from None
    return parsed


def _named(place: str, item: dict[str, str | None]) -> list[Address]:
    email, name = item.get("email"), item.get("name") or ""
    if set(item) - {"email", "name"} or email is None:
        problem = "an address object has email and, if you like, name"
        raise refuse([FieldProblem(place, problem, '{"email": "ann@example.com", "name": "Ann"}')])
    parsed = _parsed(f"{place}.email", email)
    if len(parsed) != 1:
        raise refuse([FieldProblem(f"{place}.email", "must be one address", '"ann@example.com"')])
    if has_controls(name):
        raise refuse([FieldProblem(f"{place}.name", "must not hold control characters", '"Ann"')])
    return [Address(parsed[0].email, name.strip() or parsed[0].name)]


def has_controls(text: str) -> bool:
    """Whether a text could end its line, or holds what no line of text has."""
    return any(unicodedata.category(character) in {"Cc", "Cs", "Zl", "Zp"} for character in text)


def clean_labels(given: Sequence[str] | None) -> list[str]:
    """Labels in lower case, each once. Raises INVALID_REQUEST for one that is empty or that the server gives itself."""
    return list(dict.fromkeys(clean_label(label, f"labels.{index}") for index, label in enumerate(given or ())))


def clean_label(given: str, field: str) -> str:
    """One label, as `clean_labels`; `field` is where it was given."""
    clean = given.strip().lower()
    if not clean or has_controls(clean):
        raise refuse([FieldProblem(field, "must be one line and not empty", '"invoice"')])
    if clean in _SYSTEM_LABELS:
        raise refuse([FieldProblem(field, "is a label of the server itself", '"invoice"')])
    return clean


def dumped(content: dict[str, Any]) -> str:
    """A draft's content as it is stored."""
    return json.dumps(content, ensure_ascii=False)


def is_message_id(text: str) -> bool:
    """Whether this can be a Message-ID, or one of our ids."""
    return bool(_MESSAGE_ID.fullmatch(text))


def stored(addresses: Sequence[Address]) -> list[Person]:
    """Addresses as drafts keep them."""
    return [{"email": each.email, "name": each.name} for each in addresses]


def envelope_of(to: Sequence[Address], cc: Sequence[Address], bcc: Sequence[Address]) -> tuple[str, ...]:
    """The forward-paths: exactly to, cc and bcc, each mailbox once, in the order given."""
    seen: dict[str, str] = {}
    for each in (*to, *cc, *bcc):
        seen.setdefault(each.email.lower(), each.email)
    return tuple(seen.values())


def _headers(given: dict[str, str] | None) -> tuple[tuple[str, str], ...]:
    if len(given or {}) > MOST_HEADERS:
        raise refuse([FieldProblem("headers", f"must be at most {MOST_HEADERS}", '{"X-Ticket": "42"}')])
    for name, value in (given or {}).items():
        try:
            check_header(name, value)
        except BadHeader:
            problem = "holds one that is no header, that only the server may set, or whose value is not one short line"
            raise refuse([FieldProblem("headers", problem, '{"X-Ticket": "42"}')]) from None
    return tuple((given or {}).items())


def from_markdown(source: str) -> str:
    """The HTML part of a body written in Markdown; raw HTML in it is shown as text. Raises INVALID_REQUEST if long."""
    if len(source) > MOST_MARKDOWN:
        raise refuse([FieldProblem("body_markdown", f"must be at most {MOST_MARKDOWN} characters; send body_html")])
    from markdown_it import MarkdownIt

    return MarkdownIt("commonmark", {"html": False}).enable("table").render(source)


def bracketed(message_id: str) -> str:
    """A Message-ID with its angle brackets."""
    return "<" + message_id.strip().strip("<>") + ">"


async def prepare(
    core: Core,
    inbox: Inbox,
    *,
    to: Sequence[Address],
    cc: Sequence[Address],
    bcc: Sequence[Address],
    reply_to: Sequence[Address] = (),
    subject: str,
    text: str,
    html: str | None,
    in_reply_to: str | None,
    references: Sequence[str],
    headers: dict[str, str] | None = None,
    attachments: Sequence[File],
    forwarded: Sequence[OutgoingAttachment] = (),
    message_id: str | None = None,
) -> Ready:
    """Check and compose. Raises INVALID_REQUEST (recipients, headers) or MESSAGE_TOO_LARGE."""
    recipients = envelope_of(to, cc, bcc)
    if not recipients:
        raise refuse([FieldProblem("to", "is required", '"ann@example.com"')])
    if len(recipients) > core.policy.max_recipients:
        raise refuse(
            [FieldProblem("to", f"at most {core.policy.max_recipients} recipients in to, cc and bcc together")]
        )
    if has_controls(subject):
        raise refuse([FieldProblem("subject", "must be one line without control characters", '"Hello"')])
    files = (*await loaded(core, attachments), *forwarded)
    own_id = message_id or new_message_id(inbox.address.rpartition("@")[2])
    outgoing = Outgoing(
        from_=Address(inbox.address, inbox.display_name),
        to=tuple(to),
        cc=tuple(cc),
        reply_to=tuple(reply_to),
        subject=subject,
        text=text,
        html=html,
        in_reply_to=in_reply_to,
        references=tuple(references),
        headers=_headers(headers),
        attachments=files,
        message_id=own_id,
        date=core.clock.now(),
    )
    limit = core.policy.max_message_bytes
    rough = len(text) + len(html or "") + sum(len(each.content) for each in files)
    composed = compose(outgoing) if rough < 4096 else await _composed(outgoing, rough, limit)
    if len(composed) > limit:
        raise _too_large(len(composed), limit)
    content, _ = await understand(core, composed)
    findings = await inspect_mail(core, content, composed)
    return Ready(
        content=content,
        recipients=recipients,
        bcc=tuple(stored(bcc)),
        fingerprint=_fingerprint(outgoing, recipients),
        smtputf8=needs_smtputf8(outgoing) or any(not each.isascii() for each in recipients),
        message_id=own_id,
        findings=findings,
    )


async def _composed(outgoing: Outgoing, rough: int, limit: int) -> bytes:
    if rough > limit:
        raise _too_large(rough, limit)
    return await asyncio.to_thread(compose, outgoing)


def _too_large(size: int, limit: int) -> Refused:
    return Refused(RefusalCode.MESSAGE_TOO_LARGE, facts={"size": size, "limit": limit})


def _fingerprint(outgoing: Outgoing, recipients: Sequence[str]) -> str:
    parts = [
        sorted(each.lower() for each in recipients),
        outgoing.subject,
        outgoing.text,
        outgoing.html,
        outgoing.in_reply_to,
        [each.email.lower() for each in outgoing.reply_to],
        outgoing.headers,
        [[each.filename, hashlib.sha256(each.content).hexdigest()] for each in outgoing.attachments],
    ]
    return hashlib.sha256(orjson.dumps(parts)).hexdigest()

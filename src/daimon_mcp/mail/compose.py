"""A message from its facts: canonical CRLF, seven-bit (RFC 6532 only where an address needs it), no Bcc (RFC 5322)."""

from __future__ import annotations

import re
import secrets
import unicodedata
from dataclasses import dataclass
from email.utils import format_datetime

from daimon_mcp.domain.clock import to_datetime
from daimon_mcp.mail.addresses import Address, normalise, shown
from daimon_mcp.mail.body import Entity, OutgoingAttachment, attachment_entity, multipart_entity, text_entity
from daimon_mcp.mail.encode import fold, unstructured
from daimon_mcp.mail.replying import (
    quote_for_forward,
    quote_for_reply,
    quote_html_for_reply,
    reply_references,
)
from daimon_mcp.mail.subjects import base_subject, forward_subject, reply_subject

__all__ = [
    "BadHeader",
    "Outgoing",
    "OutgoingAttachment",
    "base_subject",
    "check_header",
    "compose",
    "forward_subject",
    "needs_smtputf8",
    "new_message_id",
    "quote_for_forward",
    "quote_for_reply",
    "quote_html_for_reply",
    "reply_references",
    "reply_subject",
]

MAX_HEADER_VALUE = 8000

_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,76}\Z")
_MESSAGE_ID = re.compile(r"<[!-;=?-~]{1,400}@[!-;=?-~]{1,400}>\Z")
_ANY_ID = re.compile(r"<[!-;=?-~]{1,900}>\Z")
_DOMAIN = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?\Z")
_OURS = frozenset(
    {"from", "to", "cc", "bcc", "sender", "date", "message-id", "subject", "reply-to", "in-reply-to", "references"}
    | {"mime-version", "received", "received-spf", "return-path", "dkim-signature", "authentication-results"}
)
_OUR_PREFIXES = ("content-", "resent-", "arc-")
# Some servers and clients deliver, report or answer to whom these name, past our checks of who may be written to.
_RECIPIENTS = frozenset(
    {"apparently-to", "envelope-to", "delivered-to", "errors-to", "return-receipt-to", "disposition-notification-to"}
)
# Relays obey these: other recipients, another time, another account.
_ORDERS = (
    *("x-smtpapi", "x-mc-", "x-msys-", "x-mailgun-", "x-ses-", "x-pm-", "x-mj-"),
    *("x-envelope-", "x-sparkpost-", "x-postmark-"),
)
_BASE32 = "abcdefghijklmnopqrstuvwxyz234567"


class BadHeader(ValueError):
    """A header that may not be set; the message names it and says why."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Outgoing:
    """What to say to whom. `date` in epoch µs; ids with angle brackets. Who gets a blind copy is not part of it."""

    from_: Address
    to: tuple[Address, ...]
    cc: tuple[Address, ...] = ()
    reply_to: tuple[Address, ...] = ()
    subject: str
    text: str
    html: str | None = None
    in_reply_to: str | None = None
    references: tuple[str, ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    attachments: tuple[OutgoingAttachment, ...] = ()
    message_id: str
    date: int


def check_header(name: str, value: str) -> None:
    """Raise BadHeader for a name that may not be set and for a value that could end its line.

    Not to be set are what is no name, what belongs to the server, what names recipients, and what a relay obeys.
    """
    if not _NAME.match(name):
        raise BadHeader(f"{shown(name)} is not a header name")
    lowered = name.lower()
    if lowered in _OURS or lowered.startswith(_OUR_PREFIXES):
        raise BadHeader(f"{name} is set by the server")
    if lowered in _RECIPIENTS or lowered.startswith(_ORDERS):
        raise BadHeader(f"{name} can change who gets the mail or how it is sent")
    if any(unicodedata.category(character) in {"Cc", "Cs", "Zl", "Zp"} for character in value):
        raise BadHeader(f"{name} has a control character or line end in its value")
    if len(value) > MAX_HEADER_VALUE:
        raise BadHeader(f"{name} is longer than {MAX_HEADER_VALUE} characters")


def needs_smtputf8(outgoing: Outgoing) -> bool:
    """Whether an address in the headers cannot be written in ASCII (RFC 6531): its local part, never its domain."""
    people = (outgoing.from_, *outgoing.to, *outgoing.cc, *outgoing.reply_to)
    return any(not normalise(person.email).isascii() for person in people)


def new_message_id(domain: str) -> str:
    """A fresh `<…@domain>` with 128 random bits. Raises ValueError when `domain` is no host name."""
    host = normalise(f"id@{domain}").rpartition("@")[2]
    if not _DOMAIN.match(host):
        raise ValueError(f"{shown(domain)} is not a domain")
    number = secrets.randbits(128)
    return f"<{''.join(_BASE32[(number >> shift) & 31] for shift in range(125, -1, -5))}@{host}>"


def compose(outgoing: Outgoing) -> bytes:
    """The message: every line ends with CRLF and has at most 998 octets, headers are folded at 78 where they can be.

    The same facts give the same bytes. Raises BadAddress for an address no header can hold, BadHeader for a custom
    header that check_header refuses or a `message_id` that is none. Ids in `references` that are none are left out.
    """
    if not _MESSAGE_ID.match(outgoing.message_id):
        raise BadHeader(f"{shown(outgoing.message_id)} is not a Message-ID")
    for name, value in outgoing.headers:
        check_header(name, value)
    fields = [
        fold("From", outgoing.from_.header()),
        _people("To", outgoing.to) or fold("To", "undisclosed-recipients:;"),
        _people("Cc", outgoing.cc),
        _people("Reply-To", outgoing.reply_to),
        unstructured("Subject", outgoing.subject),
        fold("Date", format_datetime(to_datetime(outgoing.date).replace(microsecond=0))),
        fold("Message-ID", outgoing.message_id),
        _ids("In-Reply-To", (outgoing.in_reply_to,) if outgoing.in_reply_to else ()),
        _ids("References", outgoing.references),
        *(unstructured(name, value) for name, value in outgoing.headers),
        fold("MIME-Version", "1.0"),
    ]
    body = _body(outgoing)
    return Entity("".join(fields) + body.fields, body.body).octets()


def _people(name: str, found: tuple[Address, ...]) -> str:
    return fold(name, ", ".join(each.header() for each in found)) if found else ""


def _ids(name: str, ids: tuple[str, ...]) -> str:
    usable = [each for each in ids if _ANY_ID.match(each)]
    return fold(name, " ".join(usable)) if usable else ""


def _is_shown(file: OutgoingAttachment, html: str) -> bool:
    return bool(file.content_id) and f"cid:{(file.content_id or '').strip('<> ')}" in html


def _body(outgoing: Outgoing) -> Entity:
    """text; alternative(text, html); alternative(text, related(html, pictures)); mixed(that, files)."""
    seed = outgoing.message_id
    files = list(outgoing.attachments)
    if outgoing.html is None:
        body = text_entity(outgoing.text, "plain")
    else:
        source = outgoing.html
        pictures = [file for file in files if _is_shown(file, source)]
        files = [file for file in files if not _is_shown(file, source)]
        html = text_entity(source, "html")
        if pictures:
            inline = [attachment_entity(picture, inline=True) for picture in pictures]
            html = multipart_entity("related", [html, *inline], seed=seed)
        text = outgoing.text if outgoing.text.strip() else _plain_form(source)
        body = multipart_entity("alternative", [text_entity(text, "plain"), html], seed=seed)
    if files:
        body = multipart_entity("mixed", [body, *(attachment_entity(file) for file in files)], seed=seed)
    return body


def _plain_form(source: str) -> str:
    """What HTML says, with the URLs of its links below."""
    from daimon_mcp.mail.html_render import render_html

    view = render_html(source)
    urls = dict.fromkeys(anchor.url for anchor in view.anchors)
    links = [f"[{number}] {url}" for number, url in enumerate(urls, 1)]
    return "\n".join([view.text(numbered=True), *(["", *links] if links else [])])

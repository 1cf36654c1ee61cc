"""Bytes of a message to its meaning. Never raises, never hangs, whatever the bytes are; what was odd is a warning."""

from __future__ import annotations

import hashlib
import html
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from daimon_mcp.mail.address_headers import read_address_fields
from daimon_mcp.mail.addresses import Address
from daimon_mcp.mail.charsets import decode_text
from daimon_mcp.mail.filenames import safe_filename
from daimon_mcp.mail.headers import Header, decode_header, first, message_ids, parse_date, scan_headers
from daimon_mcp.mail.html_text import MAX_LINKS, MAX_URL, Link, html_to_text
from daimon_mcp.mail.kinds import is_automatic, kind_of
from daimon_mcp.mail.reply_body import reply_body
from daimon_mcp.mail.sanitize import clean_text
from daimon_mcp.mail.structure import Part, analyse, envelope_facts, structure_facts
from daimon_mcp.mail.subjects import is_reply_subject
from daimon_mcp.mail.transfer import decode_transfer, decode_uuencode, find_uuencoded

MAX_TEXT = 1_000_000
MAX_HTML = 2_000_000
PREVIEW = 200

_URL = re.compile(r"https?://[^\s<>\"'`{}|\\^\[\]]{1,4000}", re.IGNORECASE)
_METHOD = re.compile(r"^METHOD:([A-Za-z-]{1,40})", re.MULTILINE | re.IGNORECASE)
_SPACES = re.compile(r"\s+")
_UU = "/uu"


@dataclass(frozen=True, slots=True)
class ParsedAttachment:
    """A file in a message.

    `part` is its IMAP section ("2"), or "1/uu2" for the second uuencoded file inside the text of section 1.
    `offset` and `length` are the range of its still encoded body in the content; `size` and `sha256` (hexadecimal) are
    of the decoded content. `disposition` is `inline` (said so, or not said and it has a content id) or `attachment`.
    """

    part: str
    filename: str
    content_type: str
    size: int
    content_id: str | None
    disposition: str
    offset: int
    length: int
    sha256: str


@dataclass(frozen=True, slots=True)
class ParsedMessage:
    """What a message says. Times are epoch µs; ids have their angle brackets; all text is clean (sanitize.py).

    `reply_to`, `to` and `cc` are at most MAX_ADDRESSES long each. `text` is at most MAX_TEXT characters, `html` the
    decoded and unsafe HTML, at most MAX_HTML. `header_length` counts octets up to and including the blank line.
    `envelope` and `structure` are the facts of structure.py. `links` are `{"url", "text", "is_cta"}`. `est_tokens`
    estimates `text` at four characters a token.
    """

    message_id: str | None
    in_reply_to: tuple[str, ...]
    references: tuple[str, ...]
    subject: str
    from_: Address | None
    sender: Address | None
    reply_to: tuple[Address, ...]
    to: tuple[Address, ...]
    cc: tuple[Address, ...]
    date: int | None
    text: str
    html: str | None
    reply_body: str
    preview: str
    attachments: tuple[ParsedAttachment, ...]
    headers: tuple[tuple[str, str], ...]
    header_length: int
    is_auto: bool
    kind: str
    links: tuple[dict[str, Any], ...]
    envelope: dict[str, Any]
    structure: dict[str, Any]
    warnings: tuple[str, ...]
    est_tokens: int


@dataclass(slots=True)
class _Body:
    """One stretch of the body: its plain form, its HTML form, or both (multipart/alternative)."""

    plain: str | None = None
    html: str | None = None


@dataclass(slots=True)
class _Reading:
    """What is collected on the way through the parts."""

    content: bytes
    attachments: list[ParsedAttachment] = field(default_factory=list[ParsedAttachment])
    calendar_methods: list[str] = field(default_factory=list[str])
    warnings: dict[str, None] = field(default_factory=dict[str, None])  # in order, each once

    def warn(self, warning: str | None) -> None:
        if warning:
            self.warnings[warning] = None


def parse(content: bytes) -> ParsedMessage:
    """Read a whole message. Never raises."""
    root = analyse(content)
    reading = _Reading(content)
    for warning in root.warnings:
        reading.warn(warning)
    text, html_body, links = _assemble(_bodies(reading, root, inside=""), reading)
    headers = root.headers
    decoded = _decoded(headers)
    by_name: dict[str, str] = {}
    for name, value in decoded:
        by_name.setdefault(name.lower(), value)
    from_ = _addresses(reading, headers, "from")
    sender = _addresses(reading, headers, "sender")
    reply_to = _addresses(reading, headers, "reply-to")
    to = _addresses(reading, headers, "to")
    cc = _addresses(reading, headers, "cc")
    in_reply_to = message_ids(first(headers, "in-reply-to"))
    references = message_ids(first(headers, "references"))
    subject = by_name.get("subject", "")
    date = parse_date(first(headers, "date"))
    if date is None and "date" in by_name:
        reading.warn("the date cannot be read")
    is_reply = bool(in_reply_to or references or is_reply_subject(subject))
    new_words = reply_body(text) if is_reply else text
    return ParsedMessage(
        message_id=next(iter(message_ids(first(headers, "message-id"))), None),
        in_reply_to=in_reply_to,
        references=references,
        subject=subject,
        from_=from_[0] if from_ else None,
        sender=sender[0] if sender else None,
        reply_to=reply_to,
        to=to,
        cc=cc,
        date=date,
        text=text,
        html=html_body,
        reply_body=new_words,
        preview=_SPACES.sub(" ", new_words[: 100 * PREVIEW]).strip()[:PREVIEW].rstrip(),
        attachments=tuple(reading.attachments),
        headers=decoded,
        header_length=root.body_start,
        is_auto=is_automatic(by_name),
        kind=kind_of(
            by_name,
            sender=from_[0].email if from_ else "",
            content_type=root.content_type,
            report_type=root.params.get("report-type", "").lower(),
            calendar_methods=reading.calendar_methods,
        ),
        links=tuple({"url": link.url, "text": link.text, "is_cta": False} for link in links),
        envelope=envelope_facts(headers),
        structure=structure_facts(root),
        warnings=tuple(reading.warnings),
        est_tokens=-(-len(text) // 4),
    )


def parse_headers(content: bytes) -> tuple[tuple[str, str], ...]:
    """The decoded header fields of a message, in order; `content` may be its beginning alone. Never raises."""
    return _decoded(scan_headers(content, 0)[0])


def _decoded(headers: Sequence[Header]) -> tuple[tuple[str, str], ...]:
    return tuple((header.name, decode_header(header.raw)) for header in headers)


def extract_attachment(content: bytes, part: str) -> bytes:
    """The decoded content of the part with that section, as ParsedAttachment.part names it.

    Raises KeyError when the message has no such part.
    """
    section, _, number = part.partition(_UU)
    for candidate in analyse(content).walk():
        if candidate.path == section and candidate.type != "multipart":
            decoded = decode_transfer(content[candidate.body_start : candidate.body_end], candidate.encoding)[0]
            if not number:
                return decoded
            files = find_uuencoded(decoded)
            if number.isdecimal() and 0 < int(number) <= len(files):
                _, start, end = files[int(number) - 1]
                return decode_uuencode(decoded[start:end])[0]
    raise KeyError(part)


def _addresses(reading: _Reading, headers: Sequence[Header], name: str) -> tuple[Address, ...]:
    found, cut = read_address_fields(header.raw for header in headers if header.name.lower() == name)
    if cut:
        reading.warn("too many addresses")
    return found


def _bodies(reading: _Reading, part: Part, *, inside: str) -> Iterator[_Body]:
    """The stretches of the body in order; what is a file goes to the attachments. Nested messages stay closed."""
    if part.type != "multipart":
        yield from _leaf(reading, part, inside=inside)
        return
    if part.subtype != "alternative":
        for child in part.children:
            yield from _bodies(reading, child, inside=part.subtype)
        return
    plain: list[str] = []
    rich: list[str] = []
    for child in part.children:
        for body in _bodies(reading, child, inside="alternative"):
            if body.plain is not None:
                plain.append(body.plain)
            if body.html is not None:
                rich.append(body.html)
    yield _Body("\n".join(plain) if plain else None, "\n".join(rich) if rich else None)


def _leaf(reading: _Reading, part: Part, *, inside: str) -> Iterator[_Body]:
    octets, warning = decode_transfer(reading.content[part.body_start : part.body_end], part.encoding)
    reading.warn(warning)
    name = part.disposition_params.get("filename") or part.params.get("name") or ""
    is_body = part.content_type in {"text/plain", "text/html"} and part.disposition != "attachment"
    if part.content_type == "text/calendar":
        method = part.params.get("method", "") or next(iter(_METHOD.findall(octets[:20_000].decode("latin-1"))), "")
        reading.calendar_methods.append(method.lower())
    if not is_body or (name and inside != "alternative"):
        if part.holds_message and not name:
            name = part.children[0].subject
            name = f"{name[:100]}.eml" if name else ""
        content_id = (part.id or "").strip("<> ") or None
        inline = part.disposition == "inline" or (part.disposition is None and content_id is not None)
        reading.attachments.append(
            ParsedAttachment(
                part=part.path,
                filename=safe_filename(name, part=part.path, content_type=part.content_type),
                content_type=part.content_type,
                size=len(octets),
                content_id=content_id,
                disposition="inline" if inline else "attachment",
                offset=part.body_start,
                length=part.body_end - part.body_start,
                sha256=hashlib.sha256(octets).hexdigest(),
            )
        )
        return
    if part.subtype == "plain":
        octets = _take_uuencoded(reading, part, octets)
    text, warning = decode_text(octets, part.params.get("charset"))
    reading.warn(warning)
    yield _Body(plain=text) if part.subtype == "plain" else _Body(html=text)


def _take_uuencoded(reading: _Reading, part: Part, octets: bytes) -> bytes:
    """The text without the uuencoded files in it, which become attachments."""
    kept: list[bytes] = []
    position = 0
    literal = octets == reading.content[part.body_start : part.body_end]
    for number, (name, start, end) in enumerate(find_uuencoded(octets), 1):
        decoded, warning = decode_uuencode(octets[start:end])
        reading.warn(warning)
        path = f"{part.path}{_UU}{number}"
        reading.attachments.append(
            ParsedAttachment(
                part=path,
                filename=safe_filename(name, part=path, content_type=""),
                content_type="application/octet-stream",
                size=len(decoded),
                content_id=None,
                disposition="attachment",
                # Inside an encoded part the file has no range of its own.
                offset=part.body_start + start if literal else part.body_start,
                length=end - start if literal else part.body_end - part.body_start,
                sha256=hashlib.sha256(decoded).hexdigest(),
            )
        )
        kept.append(octets[position:start])
        position = end
    return b"".join([*kept, octets[position:]]) if kept else octets


def _assemble(bodies: Iterator[_Body], reading: _Reading) -> tuple[str, str | None, list[Link]]:
    """All stretches as (text, HTML or None, links)."""
    texts: list[str] = []
    rich: list[str] = []
    links: list[Link] = []
    has_html = False
    room = MAX_HTML
    for body in bodies:
        if body.html is not None:
            has_html = True
            if len(body.html) > room:
                reading.warn("html was cut")
            source = body.html[:room]
            room -= len(source)
            rich.append(source)
            converted, found = html_to_text(source)
            links.extend(found)
        else:
            converted = ""
            rich.append(f"<pre>{html.escape((body.plain or '')[:MAX_TEXT])}</pre>")
        if body.plain is not None and len(body.plain) > MAX_TEXT:
            reading.warn("text was cut")
        plain = clean_text((body.plain or "")[:MAX_TEXT])
        texts.append(plain.strip("\n").rstrip() if plain.strip() else converted)
    text = "\n\n".join(text for text in texts if text)
    if len(text) > MAX_TEXT:
        reading.warn("text was cut")
        text = text[:MAX_TEXT]
    if not has_html:
        links = _plain_links(text)
    return text, "\n".join(rich).replace("\x00", "")[:MAX_HTML] if has_html else None, links[:MAX_LINKS]


def _plain_links(text: str) -> list[Link]:
    found: dict[str, None] = {}
    for match in _URL.finditer(text):
        url = match[0].rstrip(".,;:!?*_~")
        if url.endswith(")") and "(" not in url:
            url = url.rstrip(")").rstrip(".,;:!?")
        if len(url) <= MAX_URL and len(url) > len("https://"):
            found[url] = None
        if len(found) >= MAX_LINKS:
            break
    return [Link(url, url) for url in found]

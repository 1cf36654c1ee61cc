"""Bytes of a message to its meaning. Never raises, never hangs, whatever the bytes are; what was odd is a warning."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from daimon_mcp.mail.address_headers import read_address_fields
from daimon_mcp.mail.addresses import Address
from daimon_mcp.mail.charsets import UNDECLARED, UNKNOWN, decode_text, guess_charset, html_charset
from daimon_mcp.mail.filenames import safe_filename
from daimon_mcp.mail.headers import (
    Header,
    decode_header,
    first,
    first_word_charset,
    message_ids,
    parse_date,
    parse_parameters,
    scan_headers,
    with_line_feeds,
)
from daimon_mcp.mail.structure import Part, analyse, envelope_facts, structure_facts
from daimon_mcp.mail.subjects import is_reply_subject
from daimon_mcp.mail.transfer import decode_transfer, decode_uuencode, find_uuencoded

if TYPE_CHECKING:
    from daimon_mcp.mail.seen import Stretch

RULES_VERSION = 1  # of all that is read out of a message; `reparse` brings mail that older rules read up to it

PREVIEW = 200

_LINK_NUMBER = re.compile(r" \[\d{1,3}\]")
_CODE_HEADER = "origin-bound-one-time-code"
_METHOD = re.compile(r"^METHOD:([A-Za-z-]{1,40})", re.MULTILINE | re.IGNORECASE)
_SPACES = re.compile(r"\s+")
_UU = "/uu"
_TELLS_NOTHING = re.compile(r"utf|unicode|(?:us-?)?ascii|unknown|x-unknown|default|none|binary|8bit", re.IGNORECASE)
_SIGNATURES = frozenset({"application/pgp-signature", "application/pkcs7-signature", "application/x-pkcs7-signature"})
_SAME_AGAIN = frozenset({"text/watch-html", "text/x-amp-html", "text/x-watch-html"})
_ODDITIES = {
    "application/ms-tnef": "a TNEF file (winmail.dat) was not opened",
    "application/vnd.ms-tnef": "a TNEF file (winmail.dat) was not opened",
    "message/partial": "the message is one piece of a longer one",
    "message/external-body": "a part of the message is kept elsewhere",
    "application/pkcs7-mime": "the message is encrypted or signed as a whole",
    "application/x-pkcs7-mime": "the message is encrypted or signed as a whole",
    "multipart/encrypted": "the message is encrypted",
}


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
    plain: str
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
    reading: dict[str, Any]


@dataclass(slots=True)
class _Reading:
    """What is collected on the way through the parts."""

    content: bytes
    hint: str | None  # the charset of 8-bit octets that have no label
    attachments: list[ParsedAttachment] = field(default_factory=list[ParsedAttachment])
    calendar_methods: list[str] = field(default_factory=list[str])
    calendar: bytes = b""  # the first one there is
    warnings: dict[str, None] = field(default_factory=dict[str, None])  # in order, each once

    def warn(self, warning: str | None) -> None:
        if warning:
            self.warnings[warning] = None


def parse(content: bytes) -> ParsedMessage:
    """Read a whole message. Never raises."""
    # The reading rules are loaded with the first mail that is read, not with the program.
    from daimon_mcp.mail.bounces import read_bounce
    from daimon_mcp.mail.findings import find
    from daimon_mcp.mail.invites import read_invite
    from daimon_mcp.mail.kinds import is_automatic, kind_of
    from daimon_mcp.mail.seen import see

    root = analyse(content)
    reading = _Reading(content, _charset_hint(root))
    for warning in root.warnings:
        reading.warn(warning)
    seen = see(_bodies(reading, root, inside=""))
    for warning in seen.warnings:
        reading.warn(warning)
    headers = root.headers
    decoded = _decoded(headers, reading.hint)
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
    sender_address = from_[0].email if from_ else ""
    report_type = root.params.get("report-type", "").lower()

    def kind(actions: Collection[str] = ()) -> str:
        return kind_of(
            by_name,
            sender=sender_address,
            content_type=root.content_type,
            report_type=report_type,
            calendar_methods=reading.calendar_methods,
            text=seen.text,
            actions=actions,
        )

    found_kind, bounce = kind(), None
    if found_kind == "bounce" or root.content_type == "multipart/report":
        bounce = read_bounce(content, seen.plain or seen.text)
        found_kind = kind([each.action for each in bounce.failures]) if bounce is not None else found_kind
    is_auto = is_automatic(by_name)
    findings = find(
        seen,
        subject=subject,
        from_domain=sender_address.rpartition("@")[2],
        is_reply=bool(in_reply_to or references or is_reply_subject(subject)) and found_kind != "bounce",
        bulk=is_auto,
        header_code=by_name.get(_CODE_HEADER),
        invite=read_invite(reading.calendar) if reading.calendar else None,
        bounce=bounce,
    )
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
        text=seen.text,
        plain=seen.plain,
        html=seen.html,
        reply_body=findings.reply_text,
        preview=_preview(findings.reply_text),
        attachments=tuple(reading.attachments),
        headers=decoded,
        header_length=root.body_start,
        is_auto=is_auto,
        kind=found_kind,
        links=findings.links,
        envelope=envelope_facts(headers),
        structure=structure_facts(root),
        warnings=tuple(reading.warnings),
        est_tokens=-(-len(findings.reply_text if findings.quotes else seen.text) // 4),
        reading=findings.facts,
    )


def _preview(text: str) -> str:
    """The first words, on one line, without the numbers of links."""
    flat = _SPACES.sub(" ", _LINK_NUMBER.sub("", text[: 100 * PREVIEW])).strip()
    return flat[:PREVIEW].rstrip()


def parse_headers(content: bytes) -> tuple[tuple[str, str], ...]:
    """The decoded header fields of a message, in order; `content` may be its beginning alone. Never raises."""
    return _decoded(scan_headers(with_line_feeds(content), 0)[0])


def _decoded(headers: Sequence[Header], hint: str | None = None) -> tuple[tuple[str, str], ...]:
    return tuple((header.name, decode_header(header.raw, hint)) for header in headers)


def _charset_hint(root: Part) -> str | None:
    """The charset, other than UTF-8 and ASCII, that the message names first for a text, else for an encoded word."""
    for part in root.walk():
        charset = part.params.get("charset", "")
        if part.type == "text" and charset and not _TELLS_NOTHING.match(charset):
            return charset
    return first_word_charset(root.headers)


@dataclass(frozen=True, slots=True)
class AttachmentContent:
    """The decoded content of a part, and the charset its sender names for it (as it stands there, or None)."""

    octets: bytes
    charset: str | None


def extract_attachment(content: bytes, part: str) -> bytes:
    """The decoded content of the part with that section, as ParsedAttachment.part names it.

    Raises KeyError when the message has no such part.
    """
    return extract_attachments(content, [part])[part].octets


def extract_attachments(content: bytes, parts: Collection[str]) -> dict[str, AttachmentContent]:
    """Several parts at once; those that the message does not have are left out."""
    wanted: dict[str, list[str]] = {}
    for part in parts:
        wanted.setdefault(part.partition(_UU)[0], []).append(part)
    found: dict[str, AttachmentContent] = {}
    for candidate in analyse(content).walk():
        if candidate.type == "multipart" or candidate.path not in wanted:
            continue
        decoded = decode_transfer(content[candidate.body_start : candidate.body_end], candidate.encoding)[0]
        files: Sequence[tuple[str, int, int]] | None = None
        for part in wanted.pop(candidate.path):
            number = part.partition(_UU)[2]
            if not number:
                found[part] = AttachmentContent(decoded, candidate.params.get("charset"))
                continue
            files = find_uuencoded(decoded) if files is None else files
            if number.isdecimal() and 0 < int(number) <= len(files):
                _, start, end = files[int(number) - 1]
                found[part] = AttachmentContent(decode_uuencode(decoded[start:end])[0], None)
    return found


def _addresses(reading: _Reading, headers: Sequence[Header], name: str) -> tuple[Address, ...]:
    found, cut = read_address_fields((header.raw for header in headers if header.name.lower() == name), reading.hint)
    if cut:
        reading.warn("too many addresses")
    return found


def _bodies(reading: _Reading, part: Part, *, inside: str) -> Iterator[Stretch]:
    """The stretches of the body in order; what is a file goes to the attachments. Nested messages stay closed.

    A detached signature and the second best form of what is there in HTML are no files.
    """
    from daimon_mcp.mail.seen import Stretch

    reading.warn(_ODDITIES.get(part.content_type))
    if part.type != "multipart":
        yield from _leaf(reading, part, inside=inside)
        return
    if part.subtype != "alternative":
        for number, child in enumerate(part.children):
            if number and part.subtype == "signed" and child.content_type in _SIGNATURES:
                continue
            yield from _bodies(reading, child, inside=part.subtype)
        return
    plain: list[str] = []
    rich: list[str] = []
    for child in part.children:
        if child.content_type in _SAME_AGAIN and child.disposition != "attachment" and len(part.children) > 1:
            continue
        for body in _bodies(reading, child, inside="alternative"):
            if body.plain is not None:
                plain.append(body.plain)
            if body.html is not None:
                rich.append(body.html)
    yield Stretch("\n".join(plain) if plain else None, "\n".join(rich) if rich else None)


def _leaf(reading: _Reading, part: Part, *, inside: str) -> Iterator[Stretch]:
    from daimon_mcp.mail.seen import Stretch

    octets, warning = decode_transfer(reading.content[part.body_start : part.body_end], part.encoding)
    reading.warn(warning)
    name = _file_name(reading, part, octets)
    content_type = part.content_type
    is_body = content_type in {"text/plain", "text/html"} and part.disposition != "attachment"
    if content_type == "text/calendar":
        method = part.params.get("method", "") or next(iter(_METHOD.findall(octets[:20_000].decode("latin-1"))), "")
        reading.calendar_methods.append(method.lower())
        reading.calendar = reading.calendar or octets
    if not is_body or (name and inside != "alternative" and (inside or part.disposition)):
        if name.lower() == "winmail.dat":
            reading.warn(_ODDITIES["application/ms-tnef"])
        content_id = (part.id or "").strip("<> ") or None
        inline = part.disposition == "inline" or (part.disposition is None and content_id is not None)
        reading.attachments.append(
            ParsedAttachment(
                part=part.path,
                filename=safe_filename(name, part=part.path, content_type=content_type),
                content_type=content_type,
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
    label, hint = part.params.get("charset"), reading.hint
    if part.subtype == "html" and (told := html_charset(octets)):
        label, hint = (told, hint) if label is None else (label, told)
    text, warning = decode_text(octets, label, hint=hint)
    reading.warn(warning)
    if reading.hint is None and warning in {UNDECLARED, UNKNOWN}:
        reading.hint = guess_charset(octets)  # the header fields will be in the same
    yield Stretch(plain=text) if part.subtype == "plain" else Stretch(html=text)


def _file_name(reading: _Reading, part: Part, octets: bytes) -> str:
    """The name a part is given, "" without one; that of a message is its subject."""
    name = part.disposition_params.get("filename") or part.params.get("name") or ""
    if part.type == "text" and not name:
        return ""
    if not name.isascii() and reading.hint:
        # Perhaps 8-bit octets as they are: then they are in the charset that the message uses.
        for field, key in (("content-disposition", "filename"), ("content-type", "name")):
            raw = first(part.headers, field)
            if raw is not None and (found := parse_parameters(raw, reading.hint)[1].get(key)):
                return found
    if name or part.content_type not in {"message/rfc822", "message/global"}:
        return name
    if part.holds_message:
        subject = part.children[0].subject
    else:
        raw = first(scan_headers(octets, 0)[0], "subject")
        subject = decode_header(raw, reading.hint) if raw is not None else ""
    return f"{subject[:100]}.eml" if subject else ""


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

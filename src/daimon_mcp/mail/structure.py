"""The MIME tree with byte ranges, and the facts of ENVELOPE and BODYSTRUCTURE (RFC 2045, RFC 2046, RFC 3501 §7.4.2).

One pass over the bytes, linear in their number, whatever is nested in what. Never raises.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from daimon_mcp.mail.address_headers import RawAddress, scan_address_fields
from daimon_mcp.mail.headers import (
    Header,
    decode_header,
    first,
    parse_parameters,
    raw_text,
    scan_headers,
    with_line_feeds,
)
from daimon_mcp.mail.transfer import transfer_name

MAX_PARTS = 10_000
MAX_NESTING = 50

_DASHES = re.compile(rb"\n--([^\n]*)")
_TYPE = re.compile(r"([a-z0-9!#$%&'*+.^_`{|}~-]{1,127})/([a-z0-9!#$%&'*+.^_`{|}~-]{1,127})\Z")
_COMMENT = re.compile(r"\([^()]*\)")
_MAX_DELIMITER = 300
_WHITE = re.compile(rb"[ \t]+")
# What a delimiter looks like when the boundary is not told: a line with dashes, and a field of MIME below.
_UNTOLD = re.compile(rb"(?im)^--([^\r\n]{1,200}?)[ \t]{0,9}\r{0,9}\n(?=content-[a-z-]{1,40}[ \t]?:)")
_LOOK_AHEAD = 4096


@dataclass(frozen=True, slots=True)
class Part:
    """One part. Offsets count from the start of the content; ranges are [start, end).

    `path` is the IMAP section ("1.2"; "" for a multipart at the top). The header block runs from `header_start` to
    `body_start`, its blank line included. The line end before a boundary belongs to the boundary. `size` counts octets
    as transferred, `lines` line feeds (0 unless text or a message).
    A message/rfc822 part has the nested message as its only child and that message's ENVELOPE facts in `envelope`.
    `params` and `disposition_params` are decoded (RFC 2231), their names in lower case.
    `warnings` is filled at the top only and speaks of the whole tree.
    """

    path: str
    header_start: int
    body_start: int
    body_end: int
    type: str
    subtype: str
    params: dict[str, str]
    id: str | None
    description: str | None
    encoding: str
    size: int
    lines: int
    disposition: str | None
    disposition_params: dict[str, str]
    language: tuple[str, ...]
    location: str | None
    md5: str | None
    headers: tuple[Header, ...]
    children: tuple[Part, ...] = ()
    envelope: dict[str, Any] | None = None
    warnings: tuple[str, ...] = ()

    @property
    def content_type(self) -> str:
        return f"{self.type}/{self.subtype}"

    @property
    def holds_message(self) -> bool:
        """Whether a nested message was read out of this part."""
        return self.envelope is not None

    @property
    def subject(self) -> str:
        """The decoded Subject among this part's own headers (the message's, at its top), "" when there is none."""
        raw = first(self.headers, "subject")
        return decode_header(raw) if raw is not None else ""

    def walk(self) -> Iterator[Part]:
        """This part and all below it, in order."""
        stack: list[Part] = [self]
        while stack:
            part = stack.pop()
            yield part
            stack.extend(reversed(part.children))


@dataclass(slots=True)
class _Node:
    """A part while its end is not known."""

    header_start: int
    headers: list[Header]
    body_start: int
    type: str
    subtype: str
    params: dict[str, str]
    end: int = -1
    delimiters: tuple[bytes, ...] | None = None  # of a multipart: its boundary, in the forms that are accepted
    closed: bool = False
    children: list[_Node] = field(default_factory=list["_Node"])

    @property
    def is_message(self) -> bool:
        return self.type == "message" and self.subtype in {"rfc822", "global"}


def analyse(content: bytes) -> Part:
    """The tree of `content`. Beyond MAX_PARTS and MAX_NESTING the rest stays opaque inside its part, with a warning.

    Lines may end with CR alone if none ends otherwise.
    """
    lines = with_line_feeds(content)
    builder = _Builder(lines)
    root = builder.build()
    if root.delimiters and not root.children and (told := _untold_boundary(lines, root.body_start, len(lines))):
        builder = _Builder(lines, told)
        root = builder.build()
        builder.warnings["a multipart names a boundary that does not occur"] = None
    part = _freeze(content, root, "" if root.delimiters is not None else "1", "")
    if builder.warnings:
        part = replace(part, warnings=tuple(builder.warnings))
    return part


def _untold_boundary(content: bytes, start: int, end: int) -> bytes | None:
    match = _UNTOLD.search(content, start, end) if content.find(b"--", start, end) >= 0 else None
    return match[1] if match else None


class _Builder:
    """Keeps the chain of parts that are open at the current position, outermost first."""

    def __init__(self, content: bytes, boundary: bytes | None = None) -> None:
        self._content = content
        self._told = boundary  # of the outermost multipart, in place of the one it names
        self._open: list[_Node] = []
        self._boundaries: dict[bytes, list[int]] = {}  # boundary → positions in `_open`, innermost last
        self._spaced = False  # whether any boundary has a space
        self._count = 0
        self.warnings: dict[str, None] = {}  # in order, each once

    def build(self) -> _Node:
        content = self._content
        position = self._start(0, digest=False)
        root = self._open[0]
        while self._boundaries and self._count < MAX_PARTS:
            match = _DASHES.search(content, max(0, position - 1))
            if match is None:
                break
            position = match.end()
            found = self._delimiter(match[1])
            if found is None:
                continue
            index, closes = found
            end = match.start()
            if end > 0 and content[end - 1] == 13:
                end -= 1
            self._close(index + 1, end)
            parent = self._open[index]
            if closes:
                parent.closed = True
                self._forget(index)
            else:
                position = self._start(min(position + 1, len(content)), digest=parent.subtype == "digest")
        if self._count >= MAX_PARTS:
            self.warnings["too many parts"] = None
        for node in self._open:
            if node.delimiters is not None and not node.closed:
                self.warnings["a multipart has no end" if node.children else "a multipart has no parts"] = None
        self._close(0, len(content))
        return root

    def _delimiter(self, line: bytes) -> tuple[int, bool] | None:
        """Which open multipart a line (without its leading dashes) separates or closes."""
        if len(line) > _MAX_DELIMITER:
            return None
        token = line.rstrip(b" \t\r")
        if positions := self._boundaries.get(token):
            return positions[-1], False
        if token.endswith(b"--") and (positions := self._boundaries.get(token[:-2].rstrip())):
            return positions[-1], True
        if self._spaced and (single := _WHITE.sub(b" ", token)) != token:
            return self._delimiter(single)
        return None

    def _start(self, position: int, *, digest: bool) -> int:
        """Open the part at `position`, and the messages nested directly in it; return where its body starts."""
        while True:
            headers, body, warning = scan_headers(
                self._content,
                position,
                (lambda line: self._delimiter(line[2:]) is not None) if self._open else None,
                part=bool(self._open) and not self._open[-1].is_message,
            )
            if warning:
                self.warnings[warning] = None
            node = _new_node(position, headers, body, digest=digest)
            if self._open:
                self._open[-1].children.append(node)
            self._count += 1
            self._open.append(node)
            if node.type != "multipart" and not node.is_message:
                return body
            if len(self._open) > MAX_NESTING:
                self.warnings["nested too deeply"] = None
                node.type, node.subtype, node.params = "application", "octet-stream", {}
                return body
            if node.type == "multipart":
                node.delimiters = self._delimiters(node, body)
                for delimiter in node.delimiters:
                    self._spaced = self._spaced or b" " in delimiter
                    self._boundaries.setdefault(delimiter, []).append(len(self._open) - 1)
                return body
            if transfer_name(_encoding(node)) in {"base64", "quoted-printable"}:
                return body  # forbidden for messages (RFC 2046 §5.2.1) and seen: decoded it is an attachment
            position, digest = body, False

    def _delimiters(self, node: _Node, body: int) -> tuple[bytes, ...]:
        """The boundary as named and as it is often meant: a fold or quotes that do not belong to it, 8-bit octets."""
        named = node.params.get("boundary", "").rstrip()
        if self._told is not None and len(self._open) == 1:
            return (self._told,)
        if not named:
            told = _untold_boundary(self._content, body, body + _LOOK_AHEAD)
            return (told,) if told else ()
        forms = {named.encode("utf-8"): None}
        if " " in named:
            forms[named.replace(" ", "").encode("utf-8")] = None
        if named[0] == named[-1] == "'" and len(named) > 2:
            forms[named[1:-1].encode("utf-8")] = None
        if not named.isascii():
            forms[named.encode("cp1252", "ignore")] = None
        return tuple(forms)

    def _forget(self, index: int) -> None:
        for delimiter in self._open[index].delimiters or ():
            if (positions := self._boundaries.get(delimiter)) and index in positions:
                positions.remove(index)
                if not positions:
                    del self._boundaries[delimiter]

    def _close(self, index: int, end: int) -> None:
        """The parts from `index` on end at `end`.

        Or where their body starts if that is later: a header without a blank line holds the line end before the
        boundary, and so do all parts around it.
        """
        last = end
        while len(self._open) > index:
            self._forget(len(self._open) - 1)
            node = self._open.pop()
            node.end = last = max(node.body_start, last)


def _new_node(start: int, headers: list[Header], body: int, *, digest: bool) -> _Node:
    raw = first(headers, "content-type")
    default = ("message", "rfc822") if digest else ("text", "plain")
    if raw is None:
        return _Node(start, headers, body, *default, {} if digest else {"charset": "us-ascii"})
    value, params = parse_parameters(raw)
    match = _TYPE.match(value)
    if match is None:
        return _Node(start, headers, body, *default, params)  # RFC 2045 §5.2
    return _Node(start, headers, body, match[1], match[2], params)


def _encoding(node: _Node) -> str:
    raw = first(node.headers, "content-transfer-encoding")
    if raw is None:
        return "7bit"
    if raw.isalnum():
        return raw[:40].decode("ascii", "replace").lower()
    return _COMMENT.sub("", raw_text(raw[:400]).partition(";")[0]).strip().lower()[:40]


def _freeze(content: bytes, node: _Node, path: str, prefix: str) -> Part:
    """The finished part. `path` is its own section, `prefix` the section of the message it is the top of."""
    headers = node.headers
    inner = path or prefix
    if node.type == "multipart":
        children = tuple(
            _freeze(content, child, f"{inner}.{number}" if inner else str(number), "")
            for number, child in enumerate(node.children, 1)
        ) or (_words_without_boundary(content, node, f"{inner}.1" if inner else "1"),)
    elif node.children:
        message = node.children[0]
        # The multipart at the top of a nested message has the section of the message itself (RFC 3501 §6.4.5).
        children = (_freeze(content, message, path if message.type == "multipart" else f"{path}.1", path),)
    else:
        children = ()
    first_of: dict[str, bytes] = {}
    for header in headers:
        first_of.setdefault(header.name.lower(), header.raw)
    disposition_raw = first_of.get("content-disposition")
    disposition, disposition_params = parse_parameters(disposition_raw) if disposition_raw is not None else (None, {})
    language = first_of.get("content-language")
    counted = node.type == "text" or node.is_message
    return Part(
        path=path,
        header_start=node.header_start,
        body_start=node.body_start,
        body_end=node.end,
        type=node.type,
        subtype=node.subtype,
        params=node.params,
        id=_value(first_of, "content-id"),
        description=_value(first_of, "content-description"),
        encoding=_encoding(node),
        size=node.end - node.body_start,
        lines=content.count(b"\n", node.body_start, node.end) if counted else 0,
        disposition=disposition or None,
        disposition_params=disposition_params,
        language=tuple(tag.strip() for tag in raw_text(language).split(",")[:20] if tag.strip()) if language else (),
        location=_value(first_of, "content-location"),
        md5=_value(first_of, "content-md5"),
        headers=tuple(headers),
        children=children,
        envelope=envelope_facts(node.children[0].headers) if node.is_message and node.children else None,
    )


def _words_without_boundary(content: bytes, node: _Node, path: str) -> Part:
    """What a multipart without a single part holds, as one text: nothing of it is lost."""
    start, end = node.body_start, node.end
    blank = _Node(start, [], start, "text", "plain", {}, end)
    return _freeze(content, blank, path, "")


def _value(first_of: Mapping[str, bytes], name: str) -> str | None:
    raw = first_of.get(name) if first_of else None
    return (raw_text(raw) or None) if raw is not None else None


def envelope_facts(headers: Iterable[Header]) -> dict[str, Any]:
    """ENVELOPE as JSON: raw, unfolded values (encoded words left alone), None where the field is missing.

    Keys: date, subject, from, sender, reply_to, to, cc, bcc (lists of [name, route, mailbox, host], each at most
    MAX_ADDRESSES long), in_reply_to, message_id. `sender` and `reply_to` are `from` when missing or
    empty, as RFC 3501 §7.4.2 says.
    """
    all_of: dict[str, list[bytes]] = {}
    for header in headers:
        all_of.setdefault(header.name.lower(), []).append(header.raw)
    first_of = {name: raws[0] for name, raws in all_of.items()}

    def addresses(name: str) -> list[RawAddress]:
        return scan_address_fields(all_of[name])[0] if name in all_of else []

    author = addresses("from")
    return {
        "date": _value(first_of, "date"),
        "subject": _value(first_of, "subject"),
        "from": author,
        "sender": addresses("sender") or author,
        "reply_to": addresses("reply-to") or author,
        "to": addresses("to"),
        "cc": addresses("cc"),
        "bcc": addresses("bcc"),
        "in_reply_to": _value(first_of, "in-reply-to"),
        "message_id": _value(first_of, "message-id"),
    }


def structure_facts(part: Part) -> dict[str, Any]:
    """A tree as JSON, enough to answer BODYSTRUCTURE and BODY[section] from the content's byte ranges alone.

    `header` and `body` are [start, end); the header's range has the blank line in it.
    """
    facts: dict[str, Any] = {
        "path": part.path,
        "header": [part.header_start, part.body_start],
        "body": [part.body_start, part.body_end],
        "type": part.type,
        "subtype": part.subtype,
        "params": part.params,
        "id": part.id,
        "description": part.description,
        "encoding": part.encoding,
        "size": part.size,
        "lines": part.lines,
        "disposition": part.disposition,
        "disposition_params": part.disposition_params,
        "language": list(part.language),
        "location": part.location,
        "md5": part.md5,
        "children": [structure_facts(child) for child in part.children],
    }
    if part.envelope is not None:
        facts["envelope"] = part.envelope
    return facts

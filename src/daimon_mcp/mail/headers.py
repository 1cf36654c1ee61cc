"""Header fields of a message or part: finding them, unfolding, encoded words, parameters (RFC 5322, 2047, 2231)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from email.utils import mktime_tz, parsedate_tz
from urllib.parse import unquote_to_bytes

from daimon_mcp.domain.clock import SECOND
from daimon_mcp.mail.charsets import decode_text, decode_unlabelled
from daimon_mcp.mail.sanitize import clean_line
from daimon_mcp.mail.transfer import decode_base64, decode_transfer

MAX_FIELDS = 10_000
MAX_VALUE = 100_000
MAX_PARAMETERS = 200

_FIELD = re.compile(rb"([!-9;-~]{1,200}+)[ \t]*+:([^\n]*+(?:\n[ \t][^\n]*+)*+)(?:\n|\Z)")
_BLANK_LINE = re.compile(rb"\n\r?\n")
_FOLD = re.compile(rb"\r*\n")
_WORD = re.compile(rb"=\?([^?\s*]{1,60})(?:\*[^?\s]{0,40})?\?([bBqQ])\?([^?\n]*+)\?=")
_PARAMETER = re.compile(r"\s*+([^\s=;]{1,100})\s*+=\s*+")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*+)"', re.DOTALL)
_ESCAPED = re.compile(r'\\(["\\])')
_COMMENT = re.compile(r"\([^()]*\)")
_MESSAGE_ID = re.compile(r"<([^<>]{1,2000})>")
_LATEST = 253_402_300_799  # the last second of the year 9999


@dataclass(frozen=True, slots=True)
class Header:
    """One field: its name as written, its value as it stands (folds kept, no line end), its range in the content."""

    name: str
    raw: bytes
    start: int
    end: int


def scan_headers(
    content: bytes, start: int, is_delimiter: Callable[[bytes], bool] | None = None
) -> tuple[list[Header], int, str | None]:
    """The header block at `start` as (fields, where the body starts, warning or None).

    The blank line belongs to the block. A block also ends at the first line that is no field (unless more fields follow
    it) and at a line for which `is_delimiter` (given the line) holds: parts may have no blank line at all.
    """
    fields: list[Header] = []
    warning: str | None = None
    position, size = start, len(content)
    if content.startswith((b"From ", b">From "), start):  # the separator line of an mbox
        position = content.find(b"\n", start) + 1 or size
    while position < size:
        if content.startswith((b"\n", b"\r\n"), position):
            return fields, position + (1 if content[position] == 10 else 2), warning
        if is_delimiter is not None and content.startswith(b"--", position):
            line_end = content.find(b"\n", position)
            if is_delimiter(content[position : size if line_end < 0 else line_end]):
                return fields, position, warning
        if len(fields) >= MAX_FIELDS:
            blank = _BLANK_LINE.search(content, position)
            return fields, blank.end() if blank else size, "too many header fields"
        match = _FIELD.match(content, position)
        if match:
            fields.append(Header(match[1].decode("ascii"), match[2].rstrip(b"\r").strip(b" \t"), position, match.end()))
            position = match.end()
            continue
        line_end = content.find(b"\n", position)
        following = size if line_end < 0 else line_end + 1
        if fields and following < size and (content[following] in b" \t" or _FIELD.match(content, following)):
            warning = "a line among the headers is no header"
            position = following
            continue
        return fields, position, "the headers end without a blank line"
    return fields, size, warning


def first(fields: Iterable[Header], name: str) -> bytes | None:
    """The raw value of the first field called `name` (lower case), or None."""
    return next((field.raw for field in fields if field.name.lower() == name), None)


def unfold(raw: bytes) -> bytes:
    """A value on one line: line ends go, the white space after them stays (RFC 5322 §2.2.3)."""
    return _FOLD.sub(b"", raw[:MAX_VALUE]).strip() if b"\n" in raw else raw[:MAX_VALUE].strip()


def raw_text(raw: bytes) -> str:
    """A value as text with encoded words left alone, on one line, without NULs."""
    return decode_unlabelled(unfold(raw)).replace("\x00", "").replace("\r", " ")


def decode_words(raw: bytes) -> str:
    """RFC 2047 encoded words in `raw` decoded; text between is kept, neighbours in one charset are joined first."""
    pieces: list[str] = []
    charset = ""
    pending = bytearray()
    position = 0

    def flush() -> None:
        if pending:
            pieces.append(decode_text(bytes(pending), charset)[0])
            pending.clear()

    after_word = False
    for word in _WORD.finditer(raw):
        gap = raw[position : word.start()]
        if gap and not (after_word and not gap.strip()):
            flush()
            pieces.append(decode_unlabelled(gap))
        label = word[1].decode("latin-1").lower()
        if label != charset:
            flush()
            charset = label
        if word[2] in b"bB":
            pending += decode_base64(word[3])[0]
        else:
            pending += decode_transfer(word[3].replace(b"_", b" ").replace(b"=\r", b""), "quoted-printable")[0]
        position, after_word = word.end(), True
    flush()
    pieces.append(decode_unlabelled(raw[position:]))
    return "".join(pieces)


def decode_header(raw: bytes) -> str:
    """A value as people read it: unfolded, encoded words decoded, one clean line."""
    return clean_line(decode_words(unfold(raw)))


def parse_parameters(raw: bytes) -> tuple[str, dict[str, str]]:
    """A value such as `text/plain; charset="x"` as (first item lower-cased, parameters by lower-case name).

    RFC 2231 continuations are joined and decoded, RFC 2047 words decoded too (many write them). The first of two
    equal names wins. Quotes left open end with the value.
    """
    text = raw_text(raw)
    head, _, _ = text.partition(";")
    position = len(head) + 1
    plain: dict[str, str] = {}
    sections: dict[str, dict[int, tuple[str, bool]]] = {}
    for _ in range(MAX_PARAMETERS):
        if position >= len(text):
            break
        match = _PARAMETER.match(text, position)
        if match is None:
            semicolon = text.find(";", position)
            if semicolon < 0:
                break
            position = semicolon + 1
            continue
        name = match[1].lower()
        quoted = _QUOTED.match(text, match.end())
        if quoted:
            value = _ESCAPED.sub(r"\1", quoted[1])
            semicolon = text.find(";", quoted.end())
        else:
            semicolon = text.find(";", match.end())
            value = text[match.end() : semicolon if semicolon >= 0 else len(text)].strip().strip('"')
            if "(" in value:
                value = _COMMENT.sub("", value).strip() or value
        position = semicolon + 1 if semicolon >= 0 else len(text)
        base, star, rest = name.partition("*")
        if not star:
            plain.setdefault(name, value)
            continue
        number, encoded = (rest[:-1], True) if rest.endswith("*") else (rest, not rest)
        if number == "":
            number = "0"
        if number.isdecimal() and len(number) <= 3:
            sections.setdefault(base, {}).setdefault(int(number), (value, encoded))
    parameters = {name: clean_line(decode_words(value.encode("utf-8", "replace"))) for name, value in plain.items()}
    for name, numbered in sections.items():
        parameters[name] = _join_sections(numbered)
    return _COMMENT.sub("", head).strip().lower(), parameters


def _join_sections(numbered: dict[int, tuple[str, bool]]) -> str:
    """RFC 2231 §3: sections in order; octets of neighbours are joined before decoding (a character may be split)."""
    charset: str | None = None
    octets = bytearray()
    for number in sorted(numbered):
        value, encoded = numbered[number]
        if not encoded:
            octets += value.encode("utf-8", "replace")
            continue
        if charset is None:
            label, quote, rest = value.partition("'")
            _, second, tail = rest.partition("'")
            charset, value = (label, tail) if quote and second else ("", value)
        octets += unquote_to_bytes(value)
    return clean_line(decode_text(bytes(octets), charset or None)[0])


def parse_date(raw: bytes | None) -> int | None:
    """A Date value as epoch µs, or None when it cannot be read or lies outside 1970–9999."""
    if raw is None:
        return None
    try:
        moment = parsedate_tz(raw_text(raw)[:200])
        seconds = mktime_tz(moment) if moment else None
    except (ValueError, OverflowError, IndexError, TypeError):
        return None
    return None if seconds is None or not 0 <= seconds <= _LATEST else int(seconds) * SECOND


def message_ids(raw: bytes | None, limit: int = 500) -> tuple[str, ...]:
    """The ids of a Message-ID, In-Reply-To or References value, with angle brackets, no white space inside.

    More than `limit`: the first and the last ones are kept. A lone id without brackets is given them.
    """
    if raw is None:
        return ()
    text = decode_unlabelled(unfold(raw))
    bodies = [clean_line(body).replace(" ", "") for body in _MESSAGE_ID.findall(text)]
    if not bodies:
        word = clean_line(text)
        bodies = [word.strip("<>")] if "@" in word and " " not in word and len(word) <= 998 else []
    ids = list(dict.fromkeys(f"<{body}>" for body in bodies if body))
    return tuple(ids if len(ids) <= limit else [ids[0], *ids[1 - limit :]])

"""Header fields of a message or part: finding them, unfolding, encoded words, parameters (RFC 5322, 2047, 2231)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from email.utils import mktime_tz, parsedate_tz
from urllib.parse import unquote_to_bytes

from daimon_mcp.domain.clock import SECOND
from daimon_mcp.mail.charsets import decode_text, decode_unlabelled, find_codec
from daimon_mcp.mail.sanitize import clean_line
from daimon_mcp.mail.transfer import decode_base64, decode_transfer

MAX_FIELDS = 10_000
MAX_VALUE = 100_000
MAX_PARAMETERS = 200

_FIELD = re.compile(rb"([!-9;-~]{1,200}+)[ \t]*+:([^\n]*+(?:\n[ \t][^\n]*+)*+)(?:\n|\Z)")
_EMPTY_LINE = re.compile(rb"\r{0,9}\n")
_BLANK_LINE = re.compile(rb"\n\r{0,9}\n")
_EMPTY_BEFORE = re.compile(
    rb"(?:[ \t]{0,9}\r{0,9}\n){1,20}(?=(?:from|to|subject|date|received|return-path|message-id|mime-version"
    rb"|content-type|delivered-to|reply-to|dkim-signature|x-[a-z-]{1,40})[ \t]?:)",
    re.IGNORECASE,
)
_FOLD = re.compile(rb"\r*\n")
_WORD = re.compile(rb"=\?[ \t]?([^?\s*=]{1,60})(?:\*[^?\s]{0,40})?[ \t]?\?[ \t]?([bBqQ])[ \t]?\?")
_HEAD = re.compile(r"[\s;]*+([^\s;,=/]{1,127}+\s?/\s?[^\s;,=]{1,127}+|[^\s;,=]*+)")
_SPACE = re.compile(r"\s+")
_KNOWN = re.compile(r"\s(?=(?:charset|name|filename|boundary|format|type|method|report-type|protocol|size)\*?=)", re.I)
_EXTENDED = re.compile(r"([\w.:+-]{2,40})''(.*%[0-9A-Fa-f]{2}.*)\Z", re.DOTALL)
_PARAMETER = re.compile(r"\s*+([^\s=;]{1,100})\s*+=\s*+")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*+)"', re.DOTALL)
_ESCAPED = re.compile(r'\\(["\\])')
_COMMENT = re.compile(r"\([^()]*\)")
_ISO_DATE = re.compile(r"(\d{4}-\d\d-\d\d)[T ]+(\d\d:\d\d(?::\d\d)?)(?:[.,]\d{1,9})?\s?(Z|[+-]\d{4})?\s?\Z", re.I)
_OFFSET = re.compile(r"(?:\b(?:GMT|UTC?))?\s?([+-]\d\d):?(\d\d)\b(?=\s*\Z)")
_TIME_SPACES = re.compile(r"(?<=\d)\s{0,9}:\s{0,9}(?=\d)")
_HALF_DAY = re.compile(r"\b(\d{1,2}):\d\d(?::\d\d)?\s?([AP])M\b", re.I)
_MESSAGE_ID = re.compile(r"<([^<>]{1,2000})>")
_LATEST = 253_402_300_799  # the last second of the year 9999


@dataclass(frozen=True, slots=True)
class Header:
    """One field: its name as written, its value as it stands (folds kept, no line end), its range in the content."""

    name: str
    raw: bytes
    start: int
    end: int


def with_line_feeds(content: bytes) -> bytes:
    """The content with line ends that `scan_headers` knows: carriage returns become line feeds where there are only
    those. The length stays."""
    return content if b"\n" in content or b"\r" not in content else content.replace(b"\r", b"\n")


def scan_headers(
    content: bytes, start: int, is_delimiter: Callable[[bytes], bool] | None = None, *, part: bool = False
) -> tuple[list[Header], int, str | None]:
    """The header block at `start` as (fields, where the body starts, warning or None).

    The blank line belongs to the block. A block also ends at the first line that is no field (unless more fields follow
    it) and at a line for which `is_delimiter` (given the line) holds: parts may have no blank line at all. Unless it is
    a `part` of a multipart, for which a blank line means no fields, empty lines before the first fields are skipped.
    """
    fields: list[Header] = []
    warning: str | None = None
    position, size = start, len(content)
    if content.startswith((b"From ", b">From "), start):  # the separator line of an mbox
        position = content.find(b"\n", start) + 1 or size
    if not part and (empty := _EMPTY_BEFORE.match(content, position)):
        one = _FIELD.match(content, empty.end())
        if one and _FIELD.match(content, one.end()):
            position = empty.end()
    while position < size:
        if content[position] in b"\r\n" and (empty := _EMPTY_LINE.match(content, position)):
            return fields, empty.end(), warning
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


def raw_text(raw: bytes, hint: str | None = None) -> str:
    """A value as text with encoded words left alone, on one line, without NULs. `hint`: see `decode_unlabelled`."""
    return decode_unlabelled(unfold(raw), hint).replace("\x00", "").replace("\r", " ")


def decode_words(raw: bytes, hint: str | None = None) -> str:
    """RFC 2047 encoded words in `raw` decoded; text between is kept (8-bit text as `decode_unlabelled` reads it).

    Neighbours in one charset are joined before decoding: a character may be split between them, and base64 may be cut
    at any place. A word may have spaces and question marks in it, and end with the value or where the next begins.
    """
    if b"=?" not in raw:
        return decode_unlabelled(raw, hint)
    pieces: list[str] = []
    charset = ""
    pending = bytearray()  # decoded octets of neighbours
    carry = b""  # base64 of the word before that makes no whole octets

    def flush() -> None:
        if pending:
            pieces.append(decode_text(bytes(pending), charset, hint=hint)[0])
            pending.clear()

    nested = False
    position, end_mark = 0, -1  # `end_mark` is the first "?=" at or after the text of the word
    word = _WORD.search(raw)
    while word:
        gap = raw[position : word.start()]
        if gap.strip() or position == 0:
            flush()
            carry = b""
            pieces.append(decode_unlabelled(gap, hint))
        if end_mark < word.end():
            end_mark = raw.find(b"?=", word.end())
            end_mark = len(raw) if end_mark < 0 else end_mark
        following = _WORD.search(raw, word.end())
        if following and following.start() < end_mark:  # this word has no end, or holds another
            text, position = raw[word.end() : following.start()].rstrip(), following.start()
            nested = nested or not text
        elif end_mark == len(raw):
            text = raw[word.end() :].partition(b" ")[0]
            position = word.end() + len(text)
            text = text.removesuffix(b"?")
        else:
            text, position = raw[word.end() : end_mark], end_mark + 2
            if nested and raw.startswith(b"?=", position):
                position += 2
            nested = False
        label = word[1].decode("latin-1").lower()
        if label != charset:
            flush()
            charset, carry = label, b""
        if word[2] in b"bB":
            text = carry + bytes(text.translate(None, b" \t\r"))
            cut = len(text) % 4 if b"=" not in text else 0
            following_joins = following is not None and not raw[position : following.start()].strip()
            carry = text[len(text) - cut :] if cut and following_joins else b""
            pending += decode_base64(text[: len(text) - len(carry)])[0]
        else:
            carry = b""
            pending += decode_transfer(text.replace(b"_", b" ").replace(b"=\r", b""), "quoted-printable")[0]
        word = following
    flush()
    pieces.append(decode_unlabelled(raw[position:], hint))
    return "".join(pieces)


def first_word_charset(fields: Iterable[Header]) -> str | None:
    """The charset that the first encoded word of these fields names, other than UTF-8 and ASCII, or None."""
    for field in fields:
        if b"=?" in field.raw:
            for word in _WORD.finditer(field.raw[:MAX_VALUE]):
                label = word[1].decode("latin-1").lower()
                if not label.startswith("utf") and "ascii" not in label:
                    return label
    return None


def decode_header(raw: bytes, hint: str | None = None) -> str:
    """A value as people read it: unfolded, encoded words decoded, one clean line. `hint`: see `decode_unlabelled`."""
    return clean_line(decode_words(unfold(raw), hint))


def parse_parameters(raw: bytes, hint: str | None = None) -> tuple[str, dict[str, str]]:
    """A value such as `text/plain; charset="x"` as (first item lower-cased, parameters by lower-case name).

    RFC 2231 continuations are joined and decoded, RFC 2047 words decoded too (many write them). The first of two
    equal names wins. Quotes left open end with the value; semicolons may be missing before well-known names. `hint` is
    as for `decode_unlabelled`.
    """
    text = raw_text(raw, hint)
    if "(" in text[:100]:
        text = _COMMENT.sub("", text[:1000]) + text[1000:]
    head = _HEAD.match(text)
    assert head is not None  # it matches the empty string
    position = head.end()
    value = _SPACE.sub("", head[1]).lower()
    if text.startswith("=", position):  # parameters alone
        value, position = "", 0
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
        item, position = _parameter_value(text, match.end())
        base, star, rest = match[1].lower().partition("*")
        if not star:
            plain.setdefault(base, item)
            continue
        number, encoded = (rest[:-1], True) if rest.endswith("*") else (rest, not rest)
        number = number or "0"
        if number.isdecimal() and len(number) <= 3:
            sections.setdefault(base, {}).setdefault(int(number), (item, encoded))
    parameters = {name: _read_parameter(item) for name, item in plain.items()}
    for name, numbered in sections.items():
        parameters[name] = _join_sections(numbered)
    return value, parameters


def _parameter_value(text: str, start: int) -> tuple[str, int]:
    """The value at `start` and where the next parameter may begin."""
    semicolon = text.find(";", start)
    quoted = _QUOTED.match(text, start)
    if quoted is None:
        end = semicolon if semicolon >= 0 else len(text)
        known = _KNOWN.search(text, start, end)
        if known:
            return text[start : known.start()].strip().strip('"'), known.start()
        value = text[start:end].strip().strip('"')
        if "(" in value:
            value = _COMMENT.sub("", value).strip() or value
        return value, end + 1
    if semicolon < quoted.end():
        semicolon = text.find(";", quoted.end())
    end = semicolon if semicolon >= 0 else len(text)
    if not text[quoted.end() : end].strip():
        return _ESCAPED.sub(r"\1", quoted[1]), end + 1
    if _PARAMETER.match(text, quoted.end()):
        return _ESCAPED.sub(r"\1", quoted[1]), quoted.end()
    last = text.rfind('"', quoted.end(), end)  # quotes inside that are not escaped
    value = text[start + 1 : last] if last > 0 and "=" not in text[quoted.end() : last] else quoted[1]
    return _ESCAPED.sub(r"\1", value), end + 1


def _read_parameter(value: str) -> str:
    """A value without RFC 2231's asterisk: encoded words, and RFC 2231 by those who forgot the asterisk."""
    extended = _EXTENDED.match(value) if "''" in value else None
    if extended and find_codec(extended[1]):
        return clean_line(decode_text(unquote_to_bytes(extended[2]), extended[1])[0])
    return clean_line(decode_words(value.encode("utf-8", "replace")) if "=?" in value else value)


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
            language, second, tail = rest.partition("'")
            if quote and second:
                charset, value = label, tail
            elif quote and label and find_codec(label):
                charset, value = label, language  # one quote of the two
            else:
                charset = ""
        octets += unquote_to_bytes(value)
    if b"=?" in octets and octets.isascii():
        return clean_line(decode_words(bytes(octets)))
    return clean_line(decode_text(bytes(octets), charset or None)[0])


def parse_date(raw: bytes | None) -> int | None:
    """A Date value as epoch µs, or None when it cannot be read or lies outside 1970–9999.

    Reads RFC 5322 with its obsolete forms and comments, asctime, and ISO 8601.
    """
    if raw is None:
        return None
    text = raw_text(raw)[:200]
    if "(" in text:
        text = _COMMENT.sub(" ", text)
    text = _OFFSET.sub(r"\1\2", _TIME_SPACES.sub(":", text)).strip()
    try:
        iso = _ISO_DATE.match(text)
        if iso:
            moment = datetime.fromisoformat(f"{iso[1]}T{iso[2]}{iso[3] or '+0000'}")
            seconds = int(moment.timestamp())
        else:
            parsed = parsedate_tz(text)
            seconds = mktime_tz(parsed) if parsed else None
            if seconds is not None and (half := _HALF_DAY.search(text)):
                seconds += _half_day(int(half[1]), half[2].lower())
    except (ValueError, OverflowError, IndexError, TypeError):
        return None
    return None if seconds is None or not 0 <= seconds <= _LATEST else int(seconds) * SECOND


def _half_day(hour: int, mark: str) -> int:
    """Seconds to add for `AM` or `PM` behind a time on the clock of twelve hours."""
    if mark == "p":
        return 43_200 if hour < 12 else 0
    return -43_200 if hour == 12 else 0


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

"""Logging: the standard library's, to standard error, one line a record, UTC, and nothing secret in it.

Text is `key=value` (logfmt), or one JSON object a line. Both carry `cid`, which ties together what one connection or
call caused, and whatever a call gives in `extra`. A stranger's text can neither end a line nor start a field: control,
format and surrogate characters are escaped, and quotes with them.
"""

from __future__ import annotations

import json
import logging
import re
import secrets
import sys
import unicodedata
from contextvars import ContextVar
from datetime import UTC, datetime
from functools import lru_cache
from typing import Literal, TextIO

WIRE = "daimon_mcp.wire"
"""Logger of conversations: one record a line, `C: ` or `S: ` and what was said, at level debug."""

cid: ContextVar[str] = ContextVar("cid", default="")
"""What this task works for: set where a connection, call or job starts, and inherited by the tasks it starts."""

MAX_MESSAGE = 8_192  # characters of one field; a traceback is cut in the middle, because its end says what happened
_REDACTED = "…redacted"

_SECRETS = re.compile(
    r"""
      (?P<key>\b(?:dm_(?:free|live)_|smtp_secret_|imap_secret_|whsec_))[A-Za-z0-9_+/=-]+
    | (?P<auth>\bAUTH\ +(?:PLAIN|LOGIN|EXTERNAL|XOAUTH2|OAUTHBEARER|NTLM|(?:CRAM|DIGEST|SCRAM)-[\w-]+)\ +)[^\s'"\\]+
    | (?P<bearer>\bBearer\ +)[^\s'"\\,]+
    | (?P<basic>\bAuthorization:\ *Basic\ +)[^\s'"\\,]+
    | (?P<token>\beyJ[A-Za-z0-9_-]{4})[A-Za-z0-9_-]*\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+
    | (?P<answer>^C:\ )(?!(?:QUIT|DATA|RSET|NOOP|HELP|EHLO|HELO|STARTTLS)\s*$)[A-Za-z0-9+/]{4,}={0,2}(?=\s*$)
    """,
    re.VERBOSE | re.IGNORECASE | re.MULTILINE,
)
"""API keys, passwords, webhook secrets, AUTH lines, HTTP credentials, signed tokens (upgrade links) and, in a
conversation, a client's line that is base64 alone: its answer to `334` (RFC 4954 §4)."""

_MARKS = ("dm_", "_secret_", "whsec_", "auth", "bearer", "eyj", "c: ")
"""What every secret that `_SECRETS` finds has in it, in lower case."""

_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}
_BARE = re.compile(r"[^\s\"=\\]+")


def new_cid() -> str:
    """Start a new correlation id for this task, and what it starts; returns it (10 characters)."""
    value = secrets.token_hex(5)
    cid.set(value)
    return value


def redact(text: str) -> str:
    """`text` with every secret in it cut down to its kind: `dm_live_…redacted`, `AUTH PLAIN …redacted`."""
    lowered = text.lower()
    if not any(mark in lowered for mark in _MARKS):  # most lines, for a fraction of what the expression takes
        return text
    return _SECRETS.sub(lambda found: f"{found[found.lastgroup or 0]}{_REDACTED}", text)


def one_line(text: str) -> str:
    """`text` with all control, format, separator and surrogate characters as escapes, so that it stays one line."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_escape(char) if unicodedata.category(char) in _ESCAPED else char for char in text)


_ESCAPED = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def _escape(char: str) -> str:
    short = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}.get(char)
    code = ord(char)
    return short or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}")


def _shorten(text: str) -> str:
    if len(text) <= MAX_MESSAGE:
        return text
    half = MAX_MESSAGE // 2
    return f"{text[:half]} …{len(text) - 2 * half} characters… {text[-half:]}"


class Formatter(logging.Formatter):
    """Records as lines; `json_lines` chooses JSON. Redacts everything, tracebacks too."""

    def __init__(self, *, json_lines: bool) -> None:
        super().__init__()
        self._json = json_lines

    def format(self, record: logging.LogRecord) -> str:
        fields = self._fields(record)
        if self._json:
            return json.dumps(fields)  # ASCII: every other character is an escape
        return " ".join(f"{key}={_quoted(value)}" for key, value in fields.items())

    def _fields(self, record: logging.LogRecord) -> dict[str, str | int | float | bool]:
        fields: dict[str, str | int | float | bool] = {
            "time": f"{_second(int(record.created))}.{int(record.created % 1 * 1000):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
        }
        if value := cid.get():
            fields["cid"] = value
        fields["msg"] = _clean(_message(record))
        for key, value in record.__dict__.items():
            if key not in _STANDARD and value is not None:
                fields[_field_name(key)] = value if isinstance(value, int | float) else _clean(str(value))
        if record.exc_info and record.exc_info[0] is not None:
            fields["exc"] = _clean(self.formatException(record.exc_info))
        if record.stack_info:
            fields["stack"] = _clean(record.stack_info)
        return fields


@lru_cache(maxsize=4)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


@lru_cache(maxsize=256)
def _field_name(key: str) -> str:
    return re.sub(r"\W", "_", key, flags=re.ASCII)


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except (TypeError, ValueError, KeyError):  # our mistake, and no reason to lose what the record is about
        return f"{record.msg} {record.args!r}"


def _clean(text: str) -> str:
    return _shorten(redact(text))  # in this order: half a secret is not recognised


def _quoted(value: object) -> str:
    """A value as logfmt has it: bare if nothing in it could be misread, else in quotes."""
    text = str(value)
    if _BARE.fullmatch(text) and one_line(text) == text:
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{one_line(escaped)}"'


def configure(
    level: Literal["debug", "info", "warning", "error"] = "info",
    format: Literal["text", "json"] = "text",
    wire: bool = False,
    stream: TextIO | None = None,
) -> None:
    """Send all logging of the process to `stream` (standard error), and warnings with it. May be called again.

    `level` is ours; libraries speak from `warning` on only, because below it they quote what goes over the wire.
    `wire` turns on the conversations, whatever the level.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(Formatter(json_lines=format == "json"))
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(max(logging.WARNING, logging.getLevelNamesMapping()[level.upper()]))
    logging.getLogger("daimon_mcp").setLevel(level.upper())
    logging.getLogger(WIRE).setLevel(logging.DEBUG if wire else logging.CRITICAL)
    logging.captureWarnings(True)

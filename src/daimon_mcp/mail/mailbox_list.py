"""Mailboxes of a header value by the grammar (RFC 5322 §3.4, RFC 6854): where `address_headers` guesses, this refuses.

For the one question where guessing is dangerous, in whose name a mail is sent: two readers who recover differently from
the same mistake may see two different authors.
"""

from __future__ import annotations

import re
from typing import Final

from daimon_mcp.mail.addresses import normalise

MAX_VALUE: Final = 8192  # octets; longer ones are refused

_TOKEN = re.compile(
    r"[ \t]*+(?:"
    r'(?P<quoted>"(?:[^"\\]|\\.)*+")'
    r'|(?P<atom>[^ \t\r\n()<>\[\]:;@\\,"\x00-\x1f\x7f]++)'
    r"|(?P<literal>\[[^\[\]\\\x00-\x20\x7f]*+\])"
    r"|(?P<special>[<>,:;@])"
    r")[ \t]*+",
    re.DOTALL,
)
_COMMENT_MARK = re.compile(r'\\.|[()]|"(?:[^"\\]|\\.)*+"', re.DOTALL)
_INSIDE_COMMENT = re.compile(r"\\.|[()]", re.DOTALL)

_Token = tuple[str, str]  # the group of _TOKEN and what it matched
_COMMA, _COLON, _SEMICOLON, _OPEN, _CLOSE, _AT = (("special", mark) for mark in ",:;<>@")


def strict_mailboxes(value: bytes) -> tuple[str, ...] | None:
    """The addresses in a mailbox list or address list, as `normalise` writes them; None when it is not one.

    A quoted local part keeps its quotes. Linear, never raises; () for an empty list.

    Looser than the grammar only where readers agree: empty items, dots and brackets in a name that is not quoted, a
    group without its semicolon. An address that is all of a name (`b@y <a@x>`) counts as one more mailbox.
    """
    if len(value) > MAX_VALUE:
        return None
    text = _without_comments(value.decode("utf-8", "replace").replace("\r\n", ""))
    if text is None:
        return None
    tokens = _tokens(text.strip(" \t"))
    if tokens is None:
        return None
    found: list[str] = []
    item: list[_Token] = []
    in_group = after_group = False
    for token in [*tokens, _COMMA]:
        if token == _COLON:
            if in_group or after_group or not item or any(kind == "special" for kind, _ in item):
                return None
            in_group, item = True, []
        elif token in (_COMMA, _SEMICOLON):
            addresses = _addresses(item)
            if addresses is None or (token == _SEMICOLON and not in_group):
                return None
            found += addresses
            in_group, after_group, item = in_group and token == _COMMA, token == _SEMICOLON, []
        elif after_group:
            return None
        else:
            item.append(token)
    return tuple(found)


def _tokens(text: str) -> list[_Token] | None:
    """The words and marks of `text`, None when there is something in it that is neither."""
    found: list[_Token] = []
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None or match.lastgroup is None:
            return None
        found.append((match.lastgroup, match[match.lastgroup]))
        position = match.end()
    return found


def _addresses(item: list[_Token]) -> list[str] | None:
    """The address of one mailbox, after the one that stands where its name should be; [] for an empty item."""
    if not item:
        return []
    if _OPEN not in item:
        address = _address(item)
        return None if address is None else [address]
    opening = item.index(_OPEN)
    address = _address(item[opening + 1 : -1]) if item[-1] == _CLOSE else None
    if address is None:
        return None
    name = item[:opening]
    if all(kind != "special" for kind, _ in name):
        return None if name and name[0][1].startswith(".") else [address]
    in_name = _address(name)
    return None if in_name is None else [in_name, address]


def _address(tokens: list[_Token]) -> str | None:
    """`local @ domain`, nothing more and nothing less: no route, no words or comments inside the local part."""
    if len(tokens) != 3 or tokens[1] != _AT:
        return None
    (local_kind, local), _, (domain_kind, domain) = tokens
    if local_kind not in ("atom", "quoted") or domain_kind not in ("atom", "literal"):
        return None
    email = f"{local}@{domain}"
    return normalise(email) if email.isprintable() else None  # spaces and controls of Unicode are cut off by some


def _without_comments(text: str) -> str | None:
    """`text` with a space for every comment; None when one is not closed, or was never opened."""
    if "(" not in text and ")" not in text:
        return text
    pieces: list[str] = []
    depth = position = kept = 0
    while match := (_INSIDE_COMMENT if depth else _COMMENT_MARK).search(text, position):
        position = match.end()
        if match[0] == "(":
            if depth == 0:
                pieces.append(text[kept : match.start()])
            depth += 1
        elif match[0] == ")":
            depth -= 1
            if depth < 0:
                return None
            kept = position
    return " ".join([*pieces, text[kept:]]) if depth == 0 else None

"""Address headers as strangers write them: one lenient, linear pass (RFC 5322 §3.4, RFC 3501 §7.4.2)."""

from __future__ import annotations

import re
from collections.abc import Iterable

from daimon_mcp.mail.addresses import Address, is_local_part, normalise
from daimon_mcp.mail.headers import MAX_VALUE, decode_words, raw_text
from daimon_mcp.mail.sanitize import clean_line

MAX_ADDRESSES = 1000

_TOKEN = re.compile(r'([<>,;:@])|([^\s"()<>,;:@\[\]]+)|(\s+)|(\[[^\[\]]{0,255}\]?)|(["()\]])', re.DOTALL)
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*+)"', re.DOTALL)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_PARENTHESIS = re.compile(r"\\.|[()]", re.DOTALL)

RawAddress = list[str | None]
"""[name as written, source route, mailbox, host] of an ENVELOPE (RFC 3501 §7.4.2); a host of None marks a group."""


def scan_addresses(raw: bytes) -> list[RawAddress]:
    """The addresses of a header value, as ENVELOPE wants them: names undecoded; groups keep their markers.

    Lenient, linear, never raises; at most MAX_ADDRESSES. What has no `@` has the host "".
    """
    return _Scanner(raw_text(raw), MAX_ADDRESSES).run()


def scan_address_fields(raws: Iterable[bytes], hint: str | None = None) -> tuple[list[RawAddress], bool]:
    """All fields of one name as `scan_addresses` reads each, and whether there was more than is kept.

    At most MAX_ADDRESSES of all of them together, and no more than MAX_VALUE octets are looked at. `hint` is the
    charset of 8-bit octets that are not UTF-8.
    """
    found: list[RawAddress] = []
    room = MAX_VALUE
    for raw in raws:
        if room <= 0:
            return found, True
        found += _Scanner(raw_text(raw[:room], hint), MAX_ADDRESSES + 1 - len(found)).run()
        room -= len(raw)
        if len(found) > MAX_ADDRESSES:
            return found[:MAX_ADDRESSES], True
    return found, room < 0


class _Scanner:
    """One pass over an address list, which ends when `limit` addresses have been found."""

    def __init__(self, text: str, limit: int) -> None:
        self._text = text
        self._limit = limit
        self._found: list[RawAddress] = []
        self._before: list[str] = []  # items outside <>, white space between them as " "
        self._angle: list[str] | None = None
        self._closed = False
        self._comment = ""
        self._in_group = False
        # What these say could be read off the lists, but not at every mark: that would be quadratic.
        self._at = False  # whether `_before` has an @ (not one in quotes)
        self._routed = False  # whether `_angle` has a ":", the end of a route

    def run(self) -> list[RawAddress]:
        text, position = self._text, 0
        quotes = comments = True  # until one is found that never ends; then the character is skipped
        while position < len(text) and len(self._found) < self._limit:
            match = _TOKEN.match(text, position)
            if match is None:
                position += 1
                continue
            special, word, space, literal, mark = match.groups()
            position = match.end()
            if mark == '"' and quotes:
                quoted = _QUOTED.match(text, match.start())
                quotes = quoted is not None
                if quoted:
                    self._add(_ESCAPE.sub(r"\1", quoted[1]), quoted=True)
                    position = quoted.end()
            elif mark == "(" and comments:
                end = self._comment_end(match.start())
                comments = end is not None
                if end:
                    self._comment = self._comment or text[match.start() + 1 : end - 1]
                    position = end
            elif space:
                self._add(" ")
            elif word or literal:
                self._add(word or literal)
            elif special:
                self._special(special)
        self._flush()
        if self._in_group and len(self._found) < self._limit:
            self._found.append([None, None, None, None])
        return self._found

    def _comment_end(self, start: int) -> int | None:
        depth = 0
        for match in _PARENTHESIS.finditer(self._text, start):
            if match[0] == "(":
                depth += 1
            elif match[0] == ")":
                depth -= 1
                if depth == 0:
                    return match.end()
        return None

    def _add(self, item: str, *, quoted: bool = False) -> None:
        if self._angle is not None and not self._closed:
            if item != " ":
                self._angle.append(item)
        elif item != " " or (self._before and self._before[-1] != " "):
            # A quoted word is marked so that an @ in it is not taken for the one of the address.
            self._before.append("\x00" + item if quoted else item)

    def _special(self, character: str) -> None:
        inside = self._angle is not None and not self._closed
        if character == "<":
            if self._angle is None:
                self._angle = []
        elif character == ">":
            self._closed = self._angle is not None
        elif inside and (character in "@:" or self._in_route()):
            self._routed = self._routed or character == ":"
            self._add(character)
        elif character == "@":
            self._at = True
            self._add("@")
        elif character == ":":
            if not self._at and self._angle is None and not self._in_group:
                self._found.append([None, None, self._phrase(self._before), None])
                self._in_group = True
                self._before = []
            else:
                self._add(":")
        else:
            self._flush()
            if character == ";" and self._in_group:
                self._found.append([None, None, None, None])
                self._in_group = False

    def _in_route(self) -> bool:
        """Inside `<@a,@b:`, where a comma separates hosts and not addresses."""
        return bool(self._angle) and self._angle[0] == "@" and not self._routed

    @staticmethod
    def _phrase(items: list[str]) -> str:
        return "".join(item.removeprefix("\x00") for item in items).strip()

    def _flush(self) -> None:
        before, angle, comment = self._before, self._angle, self._comment
        self._before, self._angle, self._comment, self._closed = [], None, "", False
        self._at = self._routed = False
        if len(self._found) >= self._limit:
            return
        if angle is not None:
            route = None
            if angle[:1] == ["@"] and ":" in angle:
                colon = angle.index(":")
                route, angle = "".join(angle[:colon]), angle[colon + 1 :]
            name = self._phrase(before) or comment
            if angle or name:
                at = len(angle) - 1 - angle[::-1].index("@") if "@" in angle else len(angle)
                self._found.append([name or None, route, "".join(angle[:at]), "".join(angle[at + 1 :])])
            return
        items = [item for item in before if item != " "]
        if not items:
            return
        if "@" not in items:
            self._found.append([comment or None, None, self._phrase(before), ""])
            return
        at = items.index("@")
        mailbox = items[at - 1].removeprefix("\x00") if at else ""
        host = items[at + 1].removeprefix("\x00") if at + 1 < len(items) else ""
        name = " ".join(item.removeprefix("\x00") for item in items[: max(0, at - 1)]) or comment
        self._found.append([name or None, None, mailbox, host])


def read_addresses(raw: bytes | None) -> tuple[Address, ...]:
    """The mailboxes of a header value, names decoded, groups flattened, at most MAX_ADDRESSES. Never raises.

    `email` is cleaned of controls and spaces; a local part that needs quotes gets them. Without a host it is the bare
    word.
    """
    return _mailboxes(scan_addresses(raw)) if raw is not None else ()


def read_address_fields(raws: Iterable[bytes], hint: str | None = None) -> tuple[tuple[Address, ...], bool]:
    """The mailboxes of all fields of one name, as `read_addresses` gives them, and whether some were left off.

    The limits and `hint` are those of `scan_address_fields`.
    """
    found, cut = scan_address_fields(raws, hint)
    return _mailboxes(found), cut


def _mailboxes(scanned: list[RawAddress]) -> tuple[Address, ...]:
    found: list[Address] = []
    for name, _, mailbox, host in scanned:
        if host is None or not mailbox:
            continue
        local = clean_line(mailbox)
        if not local:
            continue
        if not host:
            email = local
        else:
            if not is_local_part(local):
                escaped = local.strip('"').replace("\\", "\\\\").replace('"', '\\"')
                local = f'"{escaped}"'
            email = normalise(f"{local}@{clean_line(host).replace(' ', '')}")
        found.append(Address(email, clean_line(decode_words((name or "").encode("utf-8", "replace")))))
    return tuple(found)

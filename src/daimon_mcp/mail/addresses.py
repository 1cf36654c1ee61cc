"""Addresses: what a user writes (strict), what a header says (lenient), what a header gets (safe)."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

import idna
from email_validator import EmailNotValidError, validate_email

from daimon_mcp.mail.encode import encoded_words
from daimon_mcp.mail.headers import decode_words, raw_text
from daimon_mcp.mail.sanitize import clean_line

MAX_ADDRESSES = 1000

_ATOM = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*\Z")
_PHRASE = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~ -]+\Z")
_LOCAL = re.compile(r'(?:[^\s@<>()\[\]\\,;:"\x00-\x1f\x7f-\x9f]+|"(?:[^"\\\x00-\x1f\x7f-\x9f]|\\[ -~])*")\Z')
_DOMAIN = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?|\[[0-9A-Za-z.:-]+\])\Z")
# RFC 6761 and RFC 6762 names: used on one machine and in tests, and there they work.
_LOCAL_NAMES = frozenset({"localhost", "test", "example", "local"})
_TOKEN = re.compile(r'([<>,;:@])|([^\s"()<>,;:@\[\]]+)|(\s+)|(\[[^\[\]]{0,255}\]?)|(["()\]])', re.DOTALL)
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*+)"', re.DOTALL)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_PARENTHESIS = re.compile(r"\\.|[()]", re.DOTALL)

RawAddress = list[str | None]
"""[name as written, source route, mailbox, host] of an ENVELOPE (RFC 3501 §7.4.2); a host of None marks a group."""


class BadAddress(ValueError):
    """An address that cannot be used; the message names it and says why."""


@dataclass(frozen=True, slots=True)
class Address:
    """A mailbox: `email` as local@domain, `name` as people read it (decoded, "" when there is none)."""

    email: str
    name: str = ""

    def header(self) -> str:
        """The form for a header: `Ann <a@x.org>`, the name quoted or encoded as needed, the domain as A-label.

        ASCII, except that a local part may need SMTPUTF8. Raises BadAddress when `email` is no address.
        """
        email = header_email(self.email)
        name = clean_line(self.name)
        if not name:
            return email
        if not name.isascii() or "=?" in name or len(name) > 200:
            return f"{encoded_words(name)} <{email}>"
        if _PHRASE.match(name):
            return f"{name} <{email}>"
        escaped = name.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}" <{email}>'


def header_email(email: str) -> str:
    """`email` normalised and checked for use in a header or a path. Raises BadAddress."""
    local, at, domain = normalise(email).rpartition("@")
    if not at or len(local) > 320 or len(domain) > 253 or not _LOCAL.match(local) or not _DOMAIN.match(domain):
        raise BadAddress(f"{shown(email)} is not an email address")
    return f"{local}@{domain}"


def shown(text: str) -> str:
    """A stranger's text as it may stand in a message: cut, on one line, controls escaped."""
    return repr(text if len(text) <= 100 else text[:100] + "…")


def normalise(email: str) -> str:
    """`email` with its domain in lower case and as A-labels; the local part is kept. Never raises."""
    local, at, domain = email.strip().rpartition("@")
    if not at:
        return local or domain
    domain = domain.lower()
    if not domain.isascii():
        try:
            domain = idna.encode(domain, uts46=True).decode("ascii")
        except (idna.IDNAError, UnicodeError):
            domain = unicodedata.normalize("NFC", domain)
    return f"{unicodedata.normalize('NFC', local)}@{domain}"


def same_mailbox(a: str, b: str) -> bool:
    """Whether two addresses reach one mailbox, as mail is in practice: case does not matter, anywhere."""
    return normalise(a).casefold() == normalise(b).casefold()


def parse_address_list(text: str) -> list[Address]:
    """Addresses as a user writes them: `Ann <a@x.org>, b@y.org`; empty items between commas are skipped.

    Raises BadAddress naming the first item that is no address, and why. No DNS is asked.
    """
    for character in text:
        if unicodedata.category(character) in {"Cc", "Cs", "Zl", "Zp"} and character != "\t":
            raise BadAddress(f"{shown(text)} has a control character or line end in it")
    return [_one(item.strip()) for item in _split(text) if item.strip()]


def _split(text: str) -> list[str]:
    """At the commas that are neither in quotes nor in angle brackets."""
    items: list[str] = []
    current: list[str] = []
    quoted = angle = escaped = False
    for character in text:
        if escaped:
            escaped = False
        elif quoted and character == "\\":
            escaped = True
        elif character == '"':
            quoted = not quoted
        elif not quoted and character in "<>":
            angle = character == "<"
        elif character == "," and not quoted and not angle:
            items.append("".join(current))
            current = []
            continue
        current.append(character)
    if quoted:
        raise BadAddress(f"{shown(text)} has a quote that is not closed")
    items.append("".join(current))
    return items


def _one(item: str) -> Address:
    name, email = "", item
    if "<" in item or ">" in item:
        name, opening, rest = item.rpartition("<")
        name = name.strip()
        if not opening or not rest.endswith(">") or ">" in rest[:-1]:
            raise BadAddress(f"{shown(item)} does not look like Name <name@domain>")
        email = rest[:-1].strip()
        if name.startswith('"') and name.endswith('"') and len(name) > 1:
            name = _ESCAPE.sub(r"\1", name[1:-1])
        elif "<" in name or ">" in name or '"' in name:
            raise BadAddress(f"{shown(item)} does not look like Name <name@domain>")
    local, at, domain = email.rpartition("@")
    if not at or not local or not domain:
        raise BadAddress(
            f"{shown(item)} is not an email address: it has no {'local part' if domain and at else 'domain'}"
        )
    last_label = domain.lower().rstrip(".").rpartition(".")[2]
    local_name = last_label in _LOCAL_NAMES and ("." in domain or last_label == "localhost")
    try:
        valid = validate_email(
            email,
            check_deliverability=False,
            allow_smtputf8=True,
            allow_quoted_local=False,
            allow_domain_literal=False,
            allow_display_name=False,
            test_environment=True,
            globally_deliverable=not local_name,
        )
    except EmailNotValidError as error:
        raise BadAddress(f"{shown(item)} is not an email address: {clean_line(str(error))}") from None
    return Address(normalise(f"{valid.local_part}@{valid.ascii_domain}"), clean_line(name))


def scan_addresses(raw: bytes) -> list[RawAddress]:
    """The addresses of a header value, as ENVELOPE wants them: names undecoded; groups keep their markers.

    Lenient, linear, never raises; at most MAX_ADDRESSES. What has no `@` has the host "".
    """
    return _Scanner(raw_text(raw)).run()


class _Scanner:
    """One pass over an address list."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._found: list[RawAddress] = []
        self._before: list[str] = []  # tokens outside <>, white space between them as " "
        self._angle: list[str] | None = None
        self._closed = False
        self._comment = ""
        self._in_group = False

    def run(self) -> list[RawAddress]:
        text, position = self._text, 0
        quotes = comments = True  # until one is found that never ends; then the character is skipped
        while position < len(text) and len(self._found) < MAX_ADDRESSES:
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
        if self._in_group and len(self._found) < MAX_ADDRESSES:
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

    def _add(self, token: str, *, quoted: bool = False) -> None:
        if self._angle is not None and not self._closed:
            if token != " ":
                self._angle.append(token)
        elif token != " " or (self._before and self._before[-1] != " "):
            # A quoted word is marked so that an @ in it is not taken for the one of the address.
            self._before.append("\x00" + token if quoted else token)

    def _special(self, character: str) -> None:
        inside = self._angle is not None and not self._closed
        if character == "<":
            if self._angle is None:
                self._angle = []
        elif character == ">":
            self._closed = self._angle is not None
        elif inside and (
            character in "@:"
            or self._angle == []
            or ((self._angle or [""])[0] == "@" and ":" not in (self._angle or []))
        ):
            self._add(character)
        elif character == "@":
            self._add("@")
        elif character == ":":
            if "@" not in self._before and self._angle is None and not self._in_group:
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

    @staticmethod
    def _phrase(tokens: list[str]) -> str:
        return "".join(token.removeprefix("\x00") for token in tokens).strip()

    def _flush(self) -> None:
        before, angle, comment = self._before, self._angle, self._comment
        self._before, self._angle, self._comment, self._closed = [], None, "", False
        if len(self._found) >= MAX_ADDRESSES:
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
        tokens = [token for token in before if token != " "]
        if not tokens:
            return
        if "@" not in tokens:
            self._found.append([comment or None, None, self._phrase(before), ""])
            return
        at = tokens.index("@")
        mailbox = tokens[at - 1].removeprefix("\x00") if at else ""
        host = tokens[at + 1].removeprefix("\x00") if at + 1 < len(tokens) else ""
        name = " ".join(token.removeprefix("\x00") for token in tokens[: max(0, at - 1)]) or comment
        self._found.append([name or None, None, mailbox, host])


def read_addresses(raw: bytes | None) -> tuple[Address, ...]:
    """The mailboxes of a header value, names decoded, groups flattened. Never raises.

    `email` is cleaned of controls and spaces; a local part that needs quotes gets them. Without a host it is the bare word.
    """
    if raw is None:
        return ()
    found: list[Address] = []
    for name, _, mailbox, host in scan_addresses(raw):
        if host is None or not mailbox:
            continue
        local = clean_line(mailbox)
        if not host:
            email = local
        else:
            if local.isascii() and not _ATOM.match(local) and not _LOCAL.match(local):
                escaped = local.strip('"').replace("\\", "\\\\").replace('"', '\\"')
                local = f'"{escaped}"'
            email = normalise(f"{local}@{clean_line(host).replace(' ', '')}")
        found.append(Address(email, clean_line(decode_words((name or "").encode("utf-8", "replace")))))
    return tuple(found)

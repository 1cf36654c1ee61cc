"""Addresses: what a user writes (strict) and what a header gets (safe). What a header says: address_headers.py."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

import idna
from email_validator import EmailNotValidError, validate_email

from daimon_mcp.mail.encode import encoded_words
from daimon_mcp.mail.sanitize import clean_line, clean_text

_PHRASE = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~ -]+\Z")
_LOCAL = re.compile(r'(?:[^\s@<>()\[\]\\,;:"\x00-\x1f\x7f-\x9f]+|"(?:[^"\\\x00-\x1f\x7f-\x9f]|\\[ -~])*")\Z')
_DOMAIN = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?|\[[0-9A-Za-z.:-]+\])\Z")
# RFC 6761 and RFC 6762 names: used on one machine and in tests, and there they work.
_LOCAL_NAMES = frozenset({"localhost", "test", "example", "local"})
_FIELD = len("Reply-To: ")  # the longest that may stand before the first name
_ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")
_QUOTES_INPUT = re.compile(r"[:(].*", re.DOTALL)  # the validator repeats input behind these two and nowhere else
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)


class BadAddress(ValueError):
    """An address that cannot be used; the message says why, and which one of several, and repeats nothing of it."""


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
            return f"{encoded_words(name, _FIELD)} <{email}>"
        if _PHRASE.match(name):
            return f"{name} <{email}>"
        escaped = name.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}" <{email}>'


def header_email(email: str) -> str:
    """`email` normalised and checked for use in a header or a path. Raises BadAddress, for what cannot be seen too."""
    local, at, domain = normalise(email).rpartition("@")
    plausible = at and len(local) <= 320 and len(domain) <= 253 and clean_text(local) == local
    if not plausible or not is_local_part(local) or not _DOMAIN.match(domain):
        raise BadAddress("the address is not an email address")
    return f"{local}@{domain}"


def is_local_part(text: str) -> bool:
    """Whether `text` may stand before the @: a run of harmless characters, or a quoted string."""
    return bool(_LOCAL.match(text))


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

    Raises BadAddress for the first item that is no address, with its place among them. No DNS is asked.
    """
    for character in text:
        if unicodedata.category(character) in {"Cc", "Cs", "Zl", "Zp"} and character != "\t":
            raise BadAddress("the text has a control character or line end in it")
    items = [item.strip() for item in _split(text) if item.strip()]
    return [_one(item, _which(number, len(items))) for number, item in enumerate(items)]


def _which(number: int, of: int) -> str:
    """What to call the address with that number, from 0."""
    if of == 1:
        return "the address"
    return f"the {_ORDINALS[number]} address" if number < len(_ORDINALS) else f"address {number + 1}"


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
        raise BadAddress("the text has a quote that is not closed")
    items.append("".join(current))
    return items


def _one(item: str, which: str) -> Address:
    name, email = "", item
    if "<" in item or ">" in item:
        name, opening, rest = item.rpartition("<")
        name = name.strip()
        if not opening or not rest.endswith(">") or ">" in rest[:-1]:
            raise BadAddress(f"{which} does not look like Name <name@domain>")
        email = rest[:-1].strip()
        if name.startswith('"') and name.endswith('"') and len(name) > 1:
            name = _ESCAPE.sub(r"\1", name[1:-1])
        elif "<" in name or ">" in name or '"' in name:
            raise BadAddress(f"{which} does not look like Name <name@domain>")
    local, at, domain = email.rpartition("@")
    if not at or not local or not domain:
        missing = "local part" if at and domain else "domain"
        raise BadAddress(f"{which} has no {missing}")
    # The validator refuses the names of one machine and of tests, whose mail we do carry: it sees them as under a
    # public name, which leaves every other rule in force.
    last_label = domain.lower().rpartition(".")[2]
    local_name = last_label in _LOCAL_NAMES and ("." in domain or last_label == "localhost")
    suffix = ".com" if local_name else ""
    try:
        valid = validate_email(
            email + suffix,
            check_deliverability=False,
            allow_smtputf8=True,
            allow_quoted_local=False,
            allow_domain_literal=False,
            allow_display_name=False,
            test_environment=True,
        )
    except EmailNotValidError as error:
        reason = _QUOTES_INPUT.sub("", str(error)).strip(" .")
        raise BadAddress(f"{which} is not an email address: {reason}") from None
    host = valid.ascii_domain or valid.domain
    return Address(normalise(f"{valid.local_part}@{host.removesuffix(suffix)}"), clean_line(name))

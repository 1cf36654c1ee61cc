"""Allow and block lists: who may write to an inbox, and whom it may write to.

Each scope, the account and the inbox, is asked by itself, and both must agree: an inbox can be narrower than its
account, never wider. In a scope a matching block entry refuses. An empty allow list allows everybody; one that is not
empty allows only those who are on it. An entry is an address (`ann@example.com`), a domain (`example.com`: that domain
alone) or a domain with all below it (`.example.com`).

Directions: `receive` is asked of the sender of incoming mail, `send` of every recipient of outgoing mail, `reply` of
every recipient of an answer; where a scope has no reply list at all, its send lists decide about answers too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import idna


class Direction(StrEnum):
    """What is asked about."""

    RECEIVE = "receive"
    SEND = "send"
    REPLY = "reply"


class ListKind(StrEnum):
    """What an entry says."""

    ALLOW = "allow"
    BLOCK = "block"


class Hold(StrEnum):
    """Why mail was refused or put aside."""

    BLOCKED = "on_block_list"
    NOT_ALLOWED = "not_on_allow_list"
    FAILED_DMARC = "failed_dmarc"


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a list; `inbox_no` 0 is the whole account."""

    inbox_no: int
    direction: str
    kind: str
    entry: str


_DOMAIN = re.compile(r"\.?(?:[a-z0-9_](?:[a-z0-9_-]{0,62})\.)*[a-z0-9](?:[a-z0-9-]{0,62})\Z")
MAX_ENTRY = 320


def clean_entry(text: str) -> str | None:
    """An entry as it is kept: lower case, domains as A-labels, without `@`, `*@` or `*` before one; None for what is
    neither an address nor a domain."""
    entry = text.strip().lower()
    if entry.startswith("*."):
        entry = entry[1:]
    elif entry.startswith("*@"):
        entry = entry[2:]
    elif entry.startswith("@"):
        entry = entry[1:]
    if not entry or len(entry) > MAX_ENTRY or any(character.isspace() for character in entry):
        return None
    local, at, domain = entry.rpartition("@")
    ascii_domain = _a_labels(domain)
    if not _DOMAIN.match(ascii_domain) or (at and (not _is_local_part(local) or ascii_domain.startswith("."))):
        return None
    return f"{local}@{ascii_domain}" if at else ascii_domain


def _a_labels(domain: str) -> str:
    """A domain in lower case as servers ask for it (IDNA 2008, UTS 46); one that has no such form stays."""
    if domain.isascii():
        return domain.lower()
    dot = "." if domain.startswith(".") else ""
    try:
        return dot + idna.encode(domain.removeprefix("."), uts46=True).decode()
    except (idna.IDNAError, UnicodeError):
        return domain.lower()


def _is_local_part(local: str) -> bool:
    """Whether a local part can be meant: not one that holds a wildcard, which would never match."""
    quoted = len(local) > 2 and local.startswith('"') and local.endswith('"')
    return quoted or (bool(local) and not any(character in '@*<>"(),:;\\[]' for character in local))


def matches(entry: str, address: str) -> bool:
    """Whether an entry is about an address; a `+tag` in the address does not hide it."""
    local, _, domain = address.lower().rpartition("@")
    # `evil.example.` is the same domain, and empty labels are none.
    domain = _a_labels(".".join(label for label in domain.split(".") if label))
    if "@" in entry:
        return entry in (f"{local}@{domain}", f"{local.partition('+')[0]}@{domain}")
    return domain.endswith(entry) or domain == entry[1:] if entry.startswith(".") else domain == entry


def verdict(entries: Iterable[Entry], addresses: Sequence[str]) -> Hold | None:
    """Why mail with these addresses is held, or None if every scope lets all of them pass.

    `entries` are of one direction. For incoming mail the first address is the author's, which an allow list is about;
    any of them may be blocked.
    """
    known = list(entries)
    if any(each.kind == ListKind.BLOCK and matches(each.entry, address) for each in known for address in addresses):
        return Hold.BLOCKED
    for scope in {each.inbox_no for each in known}:
        allowed = [each.entry for each in known if each.inbox_no == scope and each.kind == ListKind.ALLOW]
        if allowed and not any(matches(entry, addresses[0]) for entry in allowed if addresses):
            return Hold.NOT_ALLOWED
    return None


def deciding(entries: Sequence[Entry], *, is_reply: bool) -> list[Entry]:
    """Of send and reply entries, those that decide about outgoing mail: scope by scope, reply lists before send."""
    if not is_reply:
        return [each for each in entries if each.direction == Direction.SEND]
    own = {each.inbox_no for each in entries if each.direction == Direction.REPLY}
    return [each for each in entries if (each.direction == Direction.REPLY) == (each.inbox_no in own)]
